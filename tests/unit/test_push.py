"""Push: which of a queue is the oldest; ages, since when it waits."""

import random
import unittest
from collections import deque
from unittest import mock

from barker.delivery.batches import Batch
from barker.manifold import push
from barker.manifold.push import Ages, Push
from barker.wire.ops import Put
from tests.tools.fakes import FakeNode, stamped


class AgesTest(unittest.TestCase):
    """Against a queue that knows the time of each entry."""

    def test_nothing_waits_at_first_and_at_last(self) -> None:
        ages = Ages()
        self.assertIsNone(ages.oldest)
        ages.added(3, 1.0)
        self.assertEqual(ages.oldest, 1.0)
        ages.settled(3)
        self.assertIsNone(ages.oldest)

    def test_an_entry_that_comes_later_does_not_inherit_the_age_of_one_before(self) -> None:
        ages = Ages()
        ages.added(1, 0.0)
        ages.added(4, 3600.0)  # one batch of three
        ages.settled(1)
        self.assertEqual(ages.oldest, 3600.0)

    def test_it_is_never_too_young_and_at_most_a_grain_too_old(self) -> None:
        dice = random.Random(4)
        ages, truth = Ages(grain=0.1), deque[float]()
        now, added, settled = 0.0, 0, 0
        for _ in range(20_000):
            now += dice.expovariate(20)
            if dice.random() < 0.5:
                count = dice.randrange(1, 20)
                added += count
                truth.extend([now] * count)
                ages.added(added, now)
            else:
                count = dice.randint(0, min(len(truth), 30))
                settled += count
                for _ in range(count):
                    truth.popleft()
                ages.settled(settled)
            if truth:
                assert ages.oldest is not None
                self.assertLessEqual(ages.oldest, truth[0])
                self.assertLess(truth[0] - ages.oldest, 0.1)
            else:
                self.assertIsNone(ages.oldest)

    def test_a_queue_that_nobody_empties_costs_a_bounded_number_of_marks(self) -> None:
        ages = Ages(grain=0.1, max_marks=64)
        for second in range(10_000):
            ages.added(second + 1, float(second))
        self.assertEqual(ages.oldest, 0.0)
        self.assertLessEqual(len(ages._marks), 65)
        ages.settled(7000)
        assert ages.oldest is not None
        self.assertLessEqual(ages.oldest, 7000.0)
        self.assertGreater(ages.oldest, 6500.0)

    def test_the_peak_is_that_of_the_second(self) -> None:
        ages = Ages()
        ages.added(10, 0.0)
        ages.settled(8)
        self.assertEqual(ages.peak, 10)
        ages.new_second()
        self.assertEqual(ages.peak, 2)
        ages.added(11, 0.2)
        self.assertEqual(ages.peak, 3)


class PushTest(unittest.TestCase):
    def test_no_line_of_a_long_queue_is_parsed_to_find_its_oldest(self) -> None:
        push = Push(FakeNode(), "bizlogic", lambda: None, lambda letter, parked: None)  # type: ignore[arg-type]
        self.assertEqual(push.oldest_n(99), 99)
        for first in (7, 9):
            items = [stamped("ab" * 8, n, b'{"n":[1]}') for n in (first, first + 1)]
            push.add(Put.of(0, ["bizlogic"], items), 1, b"")
        with mock.patch.object(Batch, "put", side_effect=AssertionError):
            self.assertEqual(push.oldest_n(99), 7)

    def test_promise_5_authors_of_whom_nothing_waits_are_forgotten(self) -> None:
        queue = Push(FakeNode(), "bizlogic", mock.Mock(), mock.Mock())  # type: ignore[arg-type]
        waits = Batch.of(Put.of(0, ["bizlogic"], [stamped("a", 1)]), ["ark3"])
        queue._add(waits)
        with mock.patch.object(push, "MAX_DONE_AUTHORS", 10):
            for i in range(100):
                one = waits._replace(jobs=[f"dog{i % 30}"])
                queue._add(one)
                queue._done([one])
                self.assertLessEqual(len(queue._done_by_author), 10)
                self.assertLessEqual(len(queue._put_by_author), 10 + 2)
        waiting = {author: queue.waiting_of(author) for author in queue.authors}
        self.assertEqual({a: n for a, n in waiting.items() if n}, {"ark3": 1})

    def test_promise_5_bytes_that_wait_are_counted_also_of_lines_that_are_cut(self) -> None:
        queue = Push(FakeNode(), "bizlogic", mock.Mock(), mock.Mock())  # type: ignore[arg-type]
        items = [stamped("ab" * 8, n, b'{"x":"%b"}' % (b"x" * 1000)) for n in range(1, 5)]
        batch = Batch.of(Put.of(0, ["bizlogic"] * 4, items), ["ark3"] * 4)
        for _ in range(2):
            queue._add(batch)
        self.assertEqual(queue.waiting_bytes, 2 * len(batch.tail))
        queue._done([batch])
        self.assertEqual(queue.waiting_bytes, len(batch.tail))
        queue._done([batch.select([0])])
        self.assertAlmostEqual(queue.waiting_bytes, 3100, delta=300)
        queue._done([batch.select([1, 2, 3])])
        self.assertEqual(queue.waiting_bytes, 0)
