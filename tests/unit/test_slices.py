"""Long work in slices; and what arrives, in turns."""

import asyncio
import functools
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
    async def test_what_has_had_its_time_is_over_and_the_next_turn_begins_anew(self) -> None:
        with mock.patch.object(turns, "TURN_S", 0.0):
            turn = Turns()
            for _ in range(3):
                self.assertFalse(turn.taken)
                turn.begin()
                self.assertTrue(turn.over)
                turn.end()
                self.assertTrue(turn.taken)
                await asyncio.sleep(0)

    async def test_within_its_time_it_is_not_over(self) -> None:
        with mock.patch.object(turns, "TURN_S", 60.0):
            turn = Turns()
            for _ in range(100):
                turn.begin()
                self.assertFalse(turn.over)
                turn.end()
            self.assertFalse(turn.taken)

    async def test_turns_that_are_short_cost_no_turn(self) -> None:
        turn = Turns()
        with mock.patch.object(turn._loop, "call_soon", mock.Mock()) as soon:
            for _ in range(10):
                turn.begin()
                turn.end()
        soon.assert_not_called()

    async def test_those_that_wait_have_their_turns_one_after_the_other(self) -> None:
        with mock.patch.object(turns, "TURN_S", 0.0):
            turn, order = Turns(), ""

            def work(name: str, left: int) -> None:
                nonlocal order
                turn.begin()
                order += name
                turn.end()
                if left:
                    turn.wait(lambda: work(name, left - 1))

            for name in "abc":
                turn.wait(functools.partial(work, name, 2))
            self.assertTrue(turn.taken)
            while turn.taken:
                await asyncio.sleep(0)
            self.assertEqual(order, "abcabcabc")


if __name__ == "__main__":
    unittest.main()
