"""What is missing is told once, soon, and again when it is something else."""

import asyncio
import unittest
from typing import Any
from unittest import mock

from barker.process.dialing import Dialer
from barker.process.waiting import PATIENCE_OF_FLEETS_S, PATIENCE_S, Waiting, no_directory


class WaitingTest(unittest.TestCase):
    def told(self, lacks: str, *, is_in_fleet: bool = False) -> list[tuple[int, str]]:
        """What is told of this, a letter for what is missing in each half of a second."""
        waiting = Waiting(is_in_fleet)
        looks = [(i, waiting.look(lack.strip(), i / 2)) for i, lack in enumerate(lacks)]
        return [(i, text) for i, text in looks if text]

    def test_a_lack_is_told_once_after_the_patience(self) -> None:
        self.assertEqual(self.told("a" * 100), [(int(2 * PATIENCE_S), "a")])
        fleet = self.told("a" * 100, is_in_fleet=True)
        self.assertEqual(fleet, [(int(2 * PATIENCE_OF_FLEETS_S), "a")])

    def test_the_patience_begins_when_all_of_a_fleet_is_ready(self) -> None:
        waiting = Waiting(is_in_fleet=True)
        self.assertEqual(waiting.look("a", 0.0), "")
        waiting.begin(5.0)
        self.assertEqual(waiting.look("a", 5.0 + PATIENCE_S - 0.1), "")
        self.assertEqual(waiting.look("a", 5.0 + PATIENCE_S), "a")

    def test_what_is_found_in_time_is_not_told(self) -> None:
        self.assertEqual(self.told("aaaa    aaaa  aaaa"), [])

    def test_another_reason_is_told_and_the_same_one_after_it_was_over(self) -> None:
        self.assertEqual(self.told("a" * 10 + "b" * 10), [(4, "a"), (14, "b")])
        self.assertEqual(self.told("a" * 10 + " " + "a" * 10), [(4, "a"), (15, "a")])
        self.assertEqual(self.told("a" * 10 + "ba" * 10), [(4, "a")])

    def test_it_says_what_to_do(self) -> None:
        text = no_directory("x:1", "")
        for word in ("no directory at x:1", "launch.py", "--directory"):
            self.assertIn(word, text)
        self.assertRegex(no_directory("x:1", "bad-proof: you"), "another secret.*--secret-file")


class ReasonTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_dialer_knows_which_reason_is_news(self) -> None:
        def start(work: Any, name: str) -> Any:
            return asyncio.create_task(work, name=name)

        node = mock.Mock(start=start)
        dialer = Dialer(node, "127.0.0.1", 1, mock.Mock(), expect=None)
        self.addCleanup(dialer.close)
        news = [dialer.is_news(reason) for reason in "aabba"]
        self.assertEqual(news, [True, False, True, False, True])
