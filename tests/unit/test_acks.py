"""Acks: the first at once, the others at a distance, and none forgotten."""

import itertools
import unittest
from typing import Any

from barker.delivery import acks
from barker.delivery.acks import APART_S, AT_ONCE, Acks
from barker.wire import protocol
from tests.tools.fakes import FakeLink, FakeNode


def acks_to(link: FakeLink) -> list[int]:
    return [message["seq"] for message in link.sent]


class AcksTest(unittest.TestCase):
    def setUp(self) -> None:
        self.node = FakeNode()
        self.acks = Acks(self.node)  # type: ignore[arg-type]
        self.link = FakeLink()

    def receive(self, link: FakeLink, count: int = 1) -> None:
        link.committed += count
        self.acks.owe(link)  # type: ignore[arg-type]

    def test_whoever_comes_after_a_pause_is_acked_at_once(self) -> None:
        for seq in (1, 2, 3):
            self.receive(self.link)
            self.assertEqual((acks_to(self.link)[-1], self.link.acked), (seq, seq))
            self.node.pass_time(APART_S)
        self.assertEqual(self.node.timers, [])

    def test_what_comes_soon_after_an_ack_shares_the_next_one(self) -> None:
        for _ in range(5):
            self.receive(self.link)
            self.node.pass_time(APART_S / 10)
        self.assertEqual((acks_to(self.link), self.link.acked), ([1], 1))
        self.assertEqual(len(self.node.timers), 1)
        self.node.pass_time(APART_S)
        self.assertEqual((acks_to(self.link), self.link.acked), ([1, 5], 5))

    def test_a_stream_of_puts_has_acks_at_that_distance_and_the_last_of_it_one_of_its_own(
        self,
    ) -> None:
        times = 100
        for _ in range(times):
            self.receive(self.link)
            self.node.pass_time(APART_S / 4)
        self.assertLessEqual(len(acks_to(self.link)), times // 4 + 1)
        self.assertGreater(len(acks_to(self.link)), times // 8)
        self.node.pass_time(APART_S)
        self.assertEqual(acks_to(self.link)[-1], times)
        self.assertEqual(self.node.timers, [])

    def test_links_do_not_wait_for_each_other(self) -> None:
        self.receive(self.link)
        other = FakeLink()
        self.receive(other)
        self.assertEqual(acks_to(other), [1])

    def test_they_are_that_far_apart_whatever_others_do(self) -> None:
        links = [FakeLink() for _ in range(3)]
        times: dict[FakeLink, list[float]] = {link: [] for link in links}
        for i in range(600):
            self.receive(links[i % 7 % 3])
            self.node.pass_time(APART_S / 16)
            for link in links:
                times[link] += [self.node.clock] * (len(acks_to(link)) - len(times[link]))
        for some in times.values():
            gaps = [b - a for a, b in itertools.pairwise(some)]
            self.assertGreater(len(gaps), 20)
            self.assertGreaterEqual(min(gaps), APART_S * 0.999)
            self.assertLessEqual(max(gaps), APART_S * 1.5)

    def test_nobody_comes_near_the_end_of_its_window(self) -> None:
        self.receive(self.link)
        self.receive(self.link, AT_ONCE)
        self.assertEqual(acks_to(self.link), [1, 1 + AT_ONCE])
        self.assertLess(acks.AT_ONCE, protocol.UNACKED_WINDOW)

    def test_nothing_is_said_twice(self) -> None:
        self.receive(self.link)
        self.receive(self.link)
        self.acks.say(self.link)  # type: ignore[arg-type]
        self.acks.owe(self.link)  # type: ignore[arg-type]
        self.node.pass_time(10 * APART_S)
        self.assertEqual(acks_to(self.link), [1, 2])

    def test_whoever_has_gone_is_forgotten(self) -> None:
        self.receive(self.link)
        self.receive(self.link)
        self.acks.link_down(self.link)  # type: ignore[arg-type]
        self.link.committed += 1
        self.node.pass_time(APART_S)
        self.assertEqual(acks_to(self.link), [1, 2])  # it may have ended at the other side only
        held: list[Any] = [*self.acks._waiting, *self.acks._due]
        self.assertEqual(held, [])
