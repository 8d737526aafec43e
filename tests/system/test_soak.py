"""The soak itself: does it see what it is there to see? A long one is `python -m tests.soak`."""

import pathlib
import unittest
from collections.abc import Callable
from unittest import mock

from tests.soak import MARGIN_BYTES, MARGIN_DISK_BYTES, MARGIN_FILES, Sample, Slot, Soak
from tests.tools.fleet import SLOW, Process

MIB = 2**20


class JudgeTest(unittest.TestCase):
    def judged(
        self,
        resident: Callable[[float], float],
        files: Callable[[float], float],
        disk: Callable[[float], float] = lambda s: 0,
    ) -> str:
        """What is said of a process that needs this at any second."""
        soak = Soak(90.0, 1.0)
        soak.phases = (0.0, 30.0, 60.0, 90.0)
        slot = Slot("x", mock.Mock(spec=Process))
        slot.samples = [Sample(s, int(resident(s)), int(files(s)), int(disk(s))) for s in range(90)]
        soak.slots.append(slot)
        soak._judge()
        return " ".join(soak.faults)

    def test_what_fills_up_first_and_then_stays_is_flat(self) -> None:
        self.assertEqual(self.judged(lambda s: min(s, 30) * 10 * MIB, lambda s: min(s, 30)), "")

    def test_what_comes_back_after_every_restart_is_flat(self) -> None:
        self.assertEqual(self.judged(lambda s: s % 15 * 10 * MIB, lambda s: s % 15), "")

    def test_a_leak_of_memory_or_of_files_is_seen(self) -> None:
        slow = MARGIN_BYTES / 30 * 2
        self.assertIn("x grows", self.judged(lambda s: 40 * MIB + s * slow, lambda _: 9))
        self.assertIn("more files", self.judged(lambda _: MIB, lambda s: s * MARGIN_FILES / 25))
        self.assertEqual(self.judged(lambda s: 40 * MIB + s * slow / 3, lambda s: s / 30), "")
        fast = MARGIN_DISK_BYTES / 30 * 2
        self.assertIn("longer journal", self.judged(lambda _: MIB, lambda _: 9, lambda s: s * fast))

    @unittest.skipUnless(SLOW and pathlib.Path("/proc/self/statm").exists(), "BARKER_SLOW=1")
    def test_a_short_one_restarts_everybody_and_ends_with_every_bark_acked(self) -> None:
        with (
            mock.patch("tests.soak.RESTART_EVERY_S", 2.0),
            mock.patch("tests.soak.FREEZE_EVERY_S", 5.0),
        ):
            soak = Soak(26.0, 100.0)
            soak.run()
        self.assertEqual(soak.faults, [], soak.table())
        self.assertTrue(all(s.lives > 1 for s in soak.slots if s.name in soak.victims))
        churn = soak.churn
        self.assertGreater(min(churn.events, churn.unknown, churn.deaf), 0)
