"""Delays from barked to shown: of each second, the mean and the longest."""

import unittest

from barker.manifold.delays import MAX_DELAY_MS, PERIOD_MS, Delays

NOW = 1_700_000_000_000


class DelaysTest(unittest.TestCase):
    def setUp(self) -> None:
        self.delays = Delays()

    def assertDelays(
        self, mean: float | None, longest: int | None, left_out: int = 0, at: int = NOW
    ) -> None:
        found = self.delays.gauges(at)
        wanted = {"delay_ms": mean, "delay_max_ms": longest, "delay_over": left_out}
        self.assertEqual(found, wanted)

    def test_the_mean_and_the_longest_of_all_batches_since_the_last_sample(self) -> None:
        self.assertDelays(None, None)
        self.delays.add([NOW - 1, NOW - 2, NOW - 9], NOW)
        self.delays.add([NOW - 3], NOW)
        self.assertDelays(3.75, 9)
        self.assertDelays(3.75, 9)
        self.delays.begin()
        self.assertDelays(None, None)
        self.delays.add([NOW + 400], NOW + 407)
        self.assertDelays(7.0, 7, at=NOW + 407)

    def test_a_clock_that_is_ahead_makes_no_delay_negative_and_hides_no_other(self) -> None:
        self.delays.add([NOW + 60_000, NOW - 10], NOW)
        self.assertDelays(5.0, 10)

    def test_a_bark_that_its_page_kept_for_an_hour_is_counted_apart(self) -> None:
        self.delays.add([NOW - 3_600_000, NOW - 4, NOW - MAX_DELAY_MS - 1], NOW)
        self.assertDelays(4.0, 4, left_out=2)
        self.delays.add([NOW - 3_600_000], NOW)
        self.assertDelays(4.0, 4, left_out=3)
        self.delays.add([NOW - MAX_DELAY_MS], NOW)
        self.assertDelays(300_002.0, MAX_DELAY_MS, left_out=3)
        self.delays.begin()
        self.delays.add([0], NOW)
        self.assertDelays(None, None, left_out=1)

    def test_without_samples_no_period_is_longer_than_its_limit(self) -> None:
        """The first sample after an hour without a monitor would be the mean of that hour."""
        self.delays.add([NOW - 500], NOW)
        later = NOW + PERIOD_MS + 1
        self.delays.add([later - 2], later)
        self.assertDelays(2.0, 2, at=later)
        self.assertDelays(None, None, at=later + PERIOD_MS + 1)
        # A clock that was put back begins anew, too.
        self.delays.add([NOW - 3], NOW)
        self.delays.add([NOW - 90_001], NOW - 90_000)
        self.assertDelays(1.0, 1, at=NOW - 90_000)
