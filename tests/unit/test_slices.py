"""Long work in slices; and what arrives, in turns."""

import asyncio
import logging
import unittest
from collections.abc import Iterator
from unittest import mock

from barker.links import turns
from barker.links.turns import Turns
from barker.process import slices
from barker.process.slices import Slices
from tests.tools.fakes import FakeNode


class SlicesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.enterContext(mock.patch.object(slices, "SLICE_S", 0.0))  # one step each
        self.node = FakeNode()
        self.done: list[str] = []

    def work(self, name: str, steps: int) -> Iterator[None]:
        for i in range(steps):
            self.done.append(f"{name}{i}")
            yield

    def test_the_first_slice_is_now_and_the_others_come_later(self) -> None:
        work = Slices(self.node)
        work.add(self.work("a", 3))
        self.assertEqual((self.done, len(work)), (["a0"], 1))
        for _ in range(3):
            self.assertEqual(len(self.node.timers), 1)
            self.node.fire()
        self.assertEqual((self.done, len(work), self.node.timers), (["a0", "a1", "a2"], 0, []))

    def test_a_short_work_is_done_at_once(self) -> None:
        with mock.patch.object(slices, "SLICE_S", 60.0):
            work = Slices(self.node)
            work.add(self.work("a", 1000))
        self.assertEqual((len(self.done), len(work), self.node.timers), (1000, 0, []))

    def test_several_have_their_turns(self) -> None:
        work = Slices(self.node)
        work.add(self.work("a", 2))
        work.add(self.work("b", 2))
        while work:
            self.node.fire()
        self.assertEqual(self.done, ["a0", "a1", "b0", "b1"])

    def test_one_that_adds_another_does_not_run_it_within_itself(self) -> None:
        work = Slices(self.node)

        def first() -> Iterator[None]:
            work.add(self.work("b", 1))
            self.done.append("a0")
            yield

        work.add(first())
        while work:
            self.node.fire()
        self.assertEqual(self.done, ["a0", "b0"])

    def test_a_fault_ends_one_of_them_and_is_logged(self) -> None:
        work = Slices(self.node)

        def faulty() -> Iterator[None]:
            yield
            raise ValueError("a bug")

        work.add(faulty())
        work.add(self.work("b", 2))
        with self.assertLogs("barker.process.faults", logging.ERROR) as said:
            while work:
                self.node.fire()
        self.assertIn("a bug", said.output[0])
        self.assertEqual(self.done, ["b0", "b1"])


class TurnsTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_turn_begins_when_the_first_asks_and_the_next_one_begins_anew(self) -> None:
        with mock.patch.object(turns, "TURN_S", 0.0):
            turn = Turns()
            self.assertFalse(turn.over)
            self.assertTrue(turn.over)
            self.assertTrue(turn.over)
            await asyncio.sleep(0)
            self.assertFalse(turn.over)
            self.assertTrue(turn.over)

    async def test_within_its_time_it_is_not_over(self) -> None:
        with mock.patch.object(turns, "TURN_S", 60.0):
            turn = Turns()
            self.assertEqual([turn.over for _ in range(100)], 100 * [False])


if __name__ == "__main__":
    unittest.main()
