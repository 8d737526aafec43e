"""Very many sockets, of which a look finds a few; with a selector that is no file, too."""

import selectors
import socket
import unittest
from unittest import mock

from barker.links.benches import SEATS, Benches


class Seated(unittest.TestCase):
    def setUp(self) -> None:
        self.benches = Benches[int]()
        self.addCleanup(lambda: self.benches.close())
        self.ends: list[socket.socket] = []
        self.others: list[socket.socket] = []

    def seat(self, count: int) -> None:
        for _ in range(count):
            here, there = socket.socketpair()
            self.addCleanup(here.close)
            self.addCleanup(there.close)
            self.benches.seat(here, len(self.ends))
            self.ends.append(here)
            self.others.append(there)

    def talk(self, *which: int) -> None:
        for i in which:
            self.others[i].send(b"x")

    def found(self, most: int = 1000) -> list[int]:
        """The next ones, at most so many."""
        self.benches.look()
        some: list[int] = []
        while len(some) < most and (guest := self.benches.next()) is not None:
            some.append(guest)
        return some


class BenchesTest(Seated):
    def test_only_those_that_talk(self) -> None:
        self.seat(3 * SEATS)
        self.assertEqual(self.found(), [])
        self.talk(1, SEATS + 1, 2 * SEATS + 5)
        self.assertEqual(sorted(self.found()), [1, SEATS + 1, 2 * SEATS + 5])

    def test_each_comes_once_a_round_however_few_come_at_a_time(self) -> None:
        self.seat(3 * SEATS)
        self.talk(*range(3 * SEATS))  # and they are not read, so that they stay ready
        rounds = [guest for _ in range(2 * 3 * SEATS // 8) for guest in self.found(8)]
        for begin in (0, 3 * SEATS):
            self.assertEqual(len({*rounds[begin : begin + 3 * SEATS]}), 3 * SEATS)

    def test_one_that_has_left_does_not_come_and_its_seat_is_free(self) -> None:
        self.seat(SEATS)
        self.talk(*range(SEATS))
        self.assertEqual(len(self.found(1)), 1)
        for here in self.ends:
            self.benches.unseat(here)
            self.benches.unseat(here)  # it has left already
        self.assertEqual(self.found(), [])
        self.seat(1)
        self.assertEqual(len(self.benches._benches), 1)

    def test_benches_that_nobody_needs_go(self) -> None:
        self.seat(10 * SEATS)
        self.talk(*range(10 * SEATS))
        self.benches.look()
        for here in self.ends:
            self.benches.unseat(here)
        self.assertEqual(len(self.benches._benches), 1)
        self.assertEqual(self.found(), [])

    def test_doors_are_told_apart(self) -> None:
        door = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(door.close)
        self.benches.watch_door(door)
        self.benches.watch_door(door)
        self.assertEqual(self.benches.look(), [])
        with socket.create_connection(door.getsockname()):
            self.assertEqual(self.benches.look(), [door])
            self.benches.ignore_door(door)
            self.benches.ignore_door(door)
            self.assertEqual(self.benches.look(), [])


class LookTest(Seated):
    def test_a_look_costs_a_bench_and_not_all_of_them(self) -> None:
        self.seat(5 * SEATS)
        self.talk(*range(5 * SEATS))
        seen = []
        select = selectors.DefaultSelector.select

        def counted(selector: selectors.DefaultSelector, timeout: float) -> object:
            found = select(selector, timeout)
            seen.append(len(found))
            return found

        with mock.patch.object(selectors.DefaultSelector, "select", counted):
            self.assertEqual(len(self.found(3)), 3)
        self.assertEqual(seen, [5, SEATS])


class NoFileTest(BenchesTest):
    """Windows has a selector that is none."""

    def setUp(self) -> None:
        self.enterContext(mock.patch.object(selectors, "DefaultSelector", selectors.SelectSelector))
        super().setUp()

    def test_it_has_no_number(self) -> None:
        with self.assertRaises(AttributeError):
            self.benches.fileno()


if __name__ == "__main__":
    unittest.main()
