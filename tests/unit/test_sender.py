"""Delivery: whatever links, routes and peers do, every put is settled once and stays in its order.

The edge is faked: a node that dials nobody, links that keep what they are sent, and servers that
answer when they are told to. Routes, windows and messages are the real ones.
"""

import math
import random
import unittest
from collections import deque
from collections.abc import Sequence
from typing import Any
from unittest import mock

from barker.delivery.sender import Delivery
from barker.process import peers
from barker.routing.routes import CONSISTENT, ORDERED, Target
from barker.wire import protocol, strictjson
from barker.wire.messages import MAX_GROUP_BYTES, decode
from barker.wire.ops import Ack, Item, Put, Refuse
from barker.wire.protocol import FULL, MOVED, UNKNOWN_USER, ProtocolError
from tests.tools.fakes import FakeDialer, FakeLink, FakeNode, Sent, stamped
from tests.tools.fleet import SLOW

ITEM = stamped("0123456789abcdef", 1)


class FakeJob:
    """A job that counts down as the real ones do, and notes when it is done."""

    def __init__(self) -> None:
        self.pending = 0
        self.void = False
        self.done = 0
        self.refusals: list[tuple[str, str, tuple[str, ...]]] = []

    def settle(self) -> None:
        assert self.pending > 0, "settled once too often"
        self.pending -= 1
        self.done += not self.pending


class FakeDelivery(Delivery):
    def settled(self, jobs: list[Any]) -> None:
        for job in jobs:
            job.settle()

    def refused(self, queued: Any, refusal: Refuse) -> None:
        queued.job.refusals.append((refusal.code, refusal.reason, tuple(refusal.addresses)))
        queued.job.settle()


def target(name: str, since: int = 1) -> Target:
    return Target(name, "127.0.0.1", 5000 + ord(name[-1]), since)


class DeliveryCase(unittest.TestCase):
    service = "inbox"
    policy = CONSISTENT

    def setUp(self) -> None:
        self.enterContext(mock.patch.object(peers, "Dialer", FakeDialer))
        self.begin()

    def begin(self) -> None:
        self.node = FakeNode()
        self.delivery = FakeDelivery(self.node, self.service)  # type: ignore[arg-type]

    def route(self, *names: str) -> None:
        """The directory tells of these, in this order of starting."""
        targets = [target(name, since) for since, name in enumerate(names)]
        self.node.told(self.service, self.policy, targets)

    def up(self, name: str) -> FakeLink:
        link = FakeLink(name)
        self.delivery.link_up(link)  # type: ignore[arg-type]
        return link

    def down(self, link: FakeLink) -> None:
        link.closed = True
        self.delivery.link_down(link)  # type: ignore[arg-type]

    def put(self, *addresses: str, item: Item = ITEM) -> FakeJob:
        job = FakeJob()
        self.delivery.put(addresses, item, job)
        self.delivery.pump()
        return job

    def ack(self, link: FakeLink, seq: int) -> None:
        self.delivery.on_ack(link, Ack(seq))  # type: ignore[arg-type]

    def refuse(self, link: FakeLink, seq: int, code: str, *addresses: str) -> None:
        self.delivery.on_refuse(link, Refuse(seq, code, "because", addresses))  # type: ignore[arg-type]

    def owned(self, name: str, count: int = 1) -> list[str]:
        """Addresses that `name` owns as routes are now."""
        found: list[str] = []
        i = 0
        while len(found) < count:
            address = f"{self.service}/user{i}"
            owner = self.node.routes.choose(address)
            if owner and owner.name == name:
                found.append(address)
            i += 1
        return found

    def assertGot(self, link: FakeLink, *puts: tuple[int, str]) -> None:
        """What the link was sent since the last time: numbers and addresses."""
        self.assertEqual([(m.seq, " ".join(m.addresses)) for m in link.take_puts()], list(puts))
        self.assertEqual(link.flushed, len(link.lines))

    def assertDone(self, *jobs: FakeJob) -> None:
        self.assertEqual([(j.pending, j.done) for j in jobs], [(0, 1)] * len(jobs))


class OrderedTest(DeliveryCase):
    service = "bizlogic"
    policy = ORDERED

    def say(self, *numbers: int) -> list[FakeJob]:
        return [self.put("bizlogic", item=stamped("0" * 16, n)) for n in numbers]

    def assertSaid(self, link: FakeLink, *numbers: int, first: int = 1) -> None:
        """These barks, numbered on this link from `first` on."""
        expected = list(enumerate(numbers, first))
        self.assertEqual([(m.seq, m.n) for m in link.take_puts()], expected)
        self.assertEqual(link.flushed, len(link.lines))

    def test_puts_wait_until_there_is_a_route_and_a_link(self) -> None:
        jobs = self.say(1)
        self.route("a", "b")
        jobs += self.say(2)
        self.assertEqual(len(self.delivery), 2)
        a = self.up("a")
        self.assertSaid(a, 1, 2)
        self.assertEqual((len(self.delivery), self.delivery.unacked), (2, 2))
        self.ack(a, 2)
        self.assertDone(*jobs)
        self.assertEqual(len(self.delivery), 0)

    def test_many_at_once_are_what_they_would_be_one_by_one(self) -> None:
        jobs = [FakeJob() for _ in range(5)]

        def put_all(first: int) -> None:
            items = [stamped("0" * 16, n) for n in range(first, first + len(jobs))]
            self.delivery.put_all(("bizlogic",), items, jobs)
            self.delivery.pump()

        put_all(1)  # nobody serves it yet
        self.assertEqual([job.pending for job in jobs], [1] * 5)
        self.say(6)
        self.route("a")
        a = self.up("a")
        put_all(7)
        self.assertEqual([job.pending for job in jobs], [2] * 5)
        self.assertSaid(a, *range(1, 12))
        self.ack(a, 11)
        self.assertEqual([job.pending for job in jobs], [0] * 5)
        self.assertEqual(len(self.delivery), 0)

    def test_a_service_that_nobody_serves_yet_keeps_the_order_of_its_puts(self) -> None:
        self.node.told("bizlogic", CONSISTENT, [])  # what a directory says that knows no policy
        jobs = self.say(1, 2)
        self.route("a")
        jobs += self.say(3)
        a = self.up("a")
        self.assertSaid(a, 1, 2, 3)
        self.down(a)
        self.node.told("bizlogic", CONSISTENT, [])
        jobs += self.say(4)
        self.route("b")
        jobs += self.say(5)
        b = self.up("b")
        self.assertSaid(b, 1, 2, 3, 4, 5)
        self.ack(b, 5)
        self.assertDone(*jobs)

    def test_all_goes_to_the_first_and_nothing_to_the_spare(self) -> None:
        self.route("a", "b")
        b, a = self.up("b"), self.up("a")
        self.say(1, 2)
        self.assertSaid(a, 1, 2)
        self.assertSaid(b)

    def test_the_spare_is_sent_all_that_is_unacked_in_order_before_anything_new(self) -> None:
        self.route("a", "b")
        a, b = self.up("a"), self.up("b")
        jobs = self.say(1, 2, 3, 4)
        self.ack(a, 2)
        self.down(a)
        jobs += self.say(5)
        self.assertSaid(b, 3, 4, 5)
        self.assertEqual(self.delivery.gauges()["again"], 2)  # 3 and 4
        self.ack(b, 3)
        self.assertDone(*jobs)
        self.down(b)
        self.assertEqual(self.delivery.gauges()["again"], 2)  # nothing was on its way

    def test_one_that_comes_back_is_the_first_again_and_the_spare_is_abandoned(self) -> None:
        self.route("a", "b")
        b = self.up("b")
        jobs = self.say(1, 2)
        a = self.up("a")
        self.assertTrue(b.closed)
        self.assertSaid(a, 1, 2)
        self.ack(b, 2)  # what it says now is settled otherwise
        self.assertEqual([j.pending for j in jobs], [1, 1])
        self.refuse(b, 1, UNKNOWN_USER, "bizlogic")
        self.ack(a, 2)
        self.assertDone(*jobs)
        self.assertEqual(jobs[0].refusals, [])
        self.down(b)
        b = self.up("b")
        self.assertSaid(b)

    def test_a_link_that_went_down_late_takes_nothing_with_it(self) -> None:
        self.route("a")
        old = self.up("a")
        self.say(1)
        new = self.up("a")
        self.assertTrue(old.closed)
        self.assertSaid(new, 1)
        self.down(old)
        self.say(2)
        self.assertSaid(new, 2, first=2)

    def test_a_first_one_that_leaves_is_abandoned_although_its_link_is_up(self) -> None:
        self.route("a", "b")
        a, b = self.up("a"), self.up("b")
        self.say(1)
        self.route("b")
        self.assertTrue(a.closed)
        self.assertSaid(b, 1)
        self.assertEqual([d.expect for d in self.node.dialers], ["b"])

    def test_a_place_that_changed_is_dialled_anew(self) -> None:
        self.route("a")
        self.up("a")
        before = self.node.dialers[0]
        self.node.told(self.service, self.policy, [target("a")._replace(port=1)])
        self.assertEqual([d.place for d in self.node.dialers], [("127.0.0.1", 1)])
        self.assertIsNot(self.node.dialers[0], before)
        self.assertEqual(self.delivery.peers, {})

    def test_a_route_that_changes_nothing_for_us_sends_nothing_again(self) -> None:
        self.route("a")
        a = self.up("a")
        self.say(1, 2)
        self.assertSaid(a, 1, 2)
        self.route("a", "b")
        self.up("b")
        self.say(3)
        self.assertSaid(a, 3, first=3)

    def test_no_more_than_the_window_is_sent_and_acks_open_it(self) -> None:
        self.route("a")
        a = self.up("a")
        job = FakeJob()
        for _ in range(protocol.UNACKED_WINDOW + 3):
            self.delivery.put(("bizlogic",), ITEM, job)
        self.delivery.pump()
        self.assertEqual(len(a.take_puts()), protocol.UNACKED_WINDOW)
        self.ack(a, 2)
        self.assertEqual(len(a.take_puts()), 2)
        self.ack(a, protocol.UNACKED_WINDOW)
        self.assertEqual(len(a.take_puts()), 1)
        self.assertEqual((job.pending, len(self.delivery)), (3, 3))

    def test_a_busy_link_is_sent_nothing_until_it_says_something(self) -> None:
        self.route("a")
        a = self.up("a")
        self.say(1)
        a.room = 0
        self.say(2)
        self.assertSaid(a, 1)
        a.room = math.inf
        self.ack(a, 1)
        self.assertSaid(a, 2, first=2)

    def test_an_ack_or_refusal_of_what_was_never_sent_is_a_protocol_error(self) -> None:
        self.route("a")
        a = self.up("a")
        job = self.say(1)[0]
        for seq in (2, 2**53 - 1):
            with self.assertRaises(ProtocolError):
                self.ack(a, seq)
            with self.assertRaises(ProtocolError):
                self.refuse(a, seq, MOVED, "bizlogic")
        self.assertEqual(job.pending, 1)
        self.ack(a, 1)
        self.ack(a, 1)
        self.ack(a, 0)
        self.assertDone(job)

    def test_what_nobody_waits_for_any_more_is_forgotten(self) -> None:
        jobs = self.say(1)  # has no home
        self.route("a")
        jobs += self.say(2)  # waits for a link
        a = self.up("a")
        jobs += self.say(3)  # is on its way
        self.assertSaid(a, 1, 2, 3)
        self.refuse(a, 3, FULL, "bizlogic")  # is to be asked again
        for job in jobs:
            job.void = True
        self.down(a)
        self.delivery.forget_void()
        self.node.fire()
        self.say(4)
        a = self.up("a")
        self.assertSaid(a, 4)
        self.assertEqual(len(self.delivery), 1)

    def test_what_is_void_does_not_wait_for_a_route_for_ever(self) -> None:
        # bizlogic without any inbox: outboxes come, bring their window, and go, again and again.
        for job in self.say(1, 2, 3):
            job.void = True
        self.say(4)
        self.delivery.forget_void()
        self.assertEqual(len(self.delivery), 1)


class ConsistentTest(DeliveryCase):
    def setUp(self) -> None:
        super().setUp()
        self.route("a", "b")
        self.a, self.b = self.up("a"), self.up("b")

    def test_one_put_for_each_owner_with_all_its_addresses(self) -> None:
        a1, a2 = self.owned("a", 2)
        (b1,) = self.owned("b")
        for _ in range(2):  # the second time it remembers the split
            job = self.put(a1, b1, a2)
            self.assertEqual(job.pending, 2)
        self.assertGot(self.a, (1, f"{a1} {a2}"), (2, f"{a1} {a2}"))
        self.assertGot(self.b, (1, b1), (2, b1))
        self.ack(self.a, 2)
        self.assertEqual((job.pending, job.done), (1, 0))
        self.ack(self.b, 2)
        self.assertDone(job)

    def test_a_put_names_no_more_addresses_than_the_protocol_allows(self) -> None:
        addresses = self.owned("a", protocol.MAX_ADDRESSES + 1)
        job = self.put(*addresses)
        self.assertEqual(job.pending, 2)
        self.assertEqual(
            [list(m.addresses) for m in self.a.take_puts()], [addresses[:-1], addresses[-1:]]
        )
        self.ack(self.a, 2)
        self.assertDone(job)

    def test_a_dead_owner_is_waited_for_and_nobody_else_is_asked(self) -> None:
        (a1,) = self.owned("a")
        job = self.put(a1)
        self.down(self.a)
        later = self.put(a1)
        self.a = self.up("a")
        self.assertGot(self.a, (1, a1), (2, a1))
        self.assertGot(self.b)
        self.ack(self.a, 2)
        self.assertDone(job, later)

    def test_what_was_sent_stays_with_a_living_owner_when_the_ring_changes(self) -> None:
        addresses = self.owned("a", 40)
        for address in addresses:
            self.put(address)
        self.a.take_puts()
        self.route("a", "b", "c")
        c = self.up("c")
        self.assertGot(c)
        self.assertEqual(self.delivery.unacked, 40)
        self.ack(self.a, 40)
        self.assertEqual(len(self.delivery), 0)

    def test_what_was_not_sent_is_placed_anew_when_the_ring_changes_in_order(self) -> None:
        addresses = self.owned("a", 40)
        self.down(self.a)
        jobs = [self.put(a, item=self.stamp(n)) for n in (1, 2) for a in addresses]
        self.route("a", "b", "c")
        c, a = self.up("c"), self.up("a")
        for name, link in (("a", a), ("c", c)):
            mine = [x for x in addresses if x in self.owned(name, 400)]
            self.assertTrue(mine)
            got = [(m.addresses[0], m.n) for m in link.take_puts()]
            self.assertEqual(got, [(x, n) for n in (1, 2) for x in mine])
            self.ack(link, len(got))
        self.assertDone(*jobs)

    def stamp(self, n: int) -> Item:
        return stamped("0" * 16, n)

    def test_what_a_gone_target_held_goes_to_the_new_owner_in_order(self) -> None:
        (a1,) = self.owned("a")
        jobs = [self.put(a1, item=self.stamp(n)) for n in (1, 2, 3)]
        self.ack(self.a, 1)
        self.a.room = 0
        jobs.append(self.put(a1, item=self.stamp(4)))
        self.route("b")
        self.assertTrue(self.a.closed)
        self.assertEqual([m.n for m in self.b.take_puts()], [2, 3, 4])
        self.ack(self.b, 3)
        self.assertDone(*jobs)

    def test_without_any_target_puts_wait_and_count(self) -> None:
        addresses = (*self.owned("a"), *self.owned("b"))
        jobs = [self.put(*addresses)]
        self.route()
        jobs.append(self.put(*addresses))
        self.assertEqual([j.pending for j in jobs], [2, 1])
        self.assertEqual(len(self.delivery), 3)
        self.route("c")
        c = self.up("c")
        self.assertEqual([j.pending for j in jobs], [2, 1])
        self.ack(c, 3)
        self.assertDone(*jobs)

    def test_what_was_moved_is_asked_again_at_its_new_owner_and_counts_once(self) -> None:
        first, second = self.owned("a", 2)
        job = self.put(first, second)
        self.refuse(self.a, 1, MOVED, second)
        self.assertEqual((job.pending, len(self.node.timers)), (1, 1))
        self.ack(self.a, 1)
        self.assertEqual(job.pending, 1)  # the half that was taken is settled with the other one
        self.route("b")
        self.node.fire()
        self.assertGot(self.b, (1, second))
        self.ack(self.b, 1)
        self.assertDone(job)

    def test_what_was_refused_as_full_is_asked_again_as_often_as_it_takes(self) -> None:
        a1, a2 = self.owned("a", 2)
        job, other = self.put(a1), self.put(a2)
        for seq, last in ((1, 2), (3, 3), (4, 4)):
            self.refuse(self.a, seq, FULL, a1)
            self.assertEqual((job.pending, len(self.node.timers)), (1, 1))
            self.ack(self.a, last)
            self.node.fire()
        self.assertGot(self.a, (1, a1), (2, a2), (3, a1), (4, a1), (5, a1))
        self.assertEqual(len(self.node.timers), 0)
        self.ack(self.a, 5)
        self.assertDone(job, other)

    def test_one_timer_asks_again_for_all_that_was_refused_meanwhile(self) -> None:
        (a1,) = self.owned("a")
        jobs = [self.put(a1), self.put(a1)]
        self.refuse(self.a, 1, FULL, a1)
        self.refuse(self.a, 2, MOVED, a1)
        self.assertEqual(len(self.node.timers), 1)
        self.ack(self.a, 2)
        self.node.fire()
        self.assertEqual(self.node.timers, [])
        self.ack(self.a, 4)
        self.assertDone(*jobs)

    def test_a_refused_put_is_counted_once(self) -> None:
        (a1,) = self.owned("a")
        self.put(a1)
        self.refuse(self.a, 1, FULL, a1)
        self.assertEqual(len(self.delivery), 1)

    def test_who_says_nothing_of_refusals_has_them_logged_and_done(self) -> None:
        (a1,) = self.owned("a")
        job = self.put(a1)
        self.a.take_puts()
        with (
            mock.patch.object(FakeDelivery, "refused", Delivery.refused),
            self.assertLogs("barker", "ERROR") as logs,
        ):
            self.refuse(self.a, 1, UNKNOWN_USER, a1)
        words = f"inbox will never take this for {a1}: because (unknown-user)"
        self.assertEqual([record.getMessage() for record in logs.records], [words])
        self.assertDone(job)

    def test_only_what_was_asked_can_be_asked_again(self) -> None:
        first, second, third = self.owned("a", 3)
        job = self.put(first, second)
        self.refuse(self.a, 1, MOVED, second, third)
        self.node.fire()
        self.assertGot(self.a, (1, f"{first} {second}"), (2, second))
        self.ack(self.a, 2)
        self.assertDone(job)

    def test_it_counts_what_was_done_and_shows_what_is_oldest(self) -> None:
        a1, a2 = self.owned("a", 2)
        first, second, third = self.put(a1, a2), self.put(a1), self.put(a2)
        self.assertEqual([p.job for p in self.delivery.oldest()], [first])
        self.refuse(self.a, 1, FULL, a2)
        self.assertEqual([p.job for p in self.delivery.oldest()], [first])
        self.refuse(self.a, 2, UNKNOWN_USER, a1)
        self.ack(self.a, 3)
        self.assertEqual((self.delivery.done, self.delivery.reached), (2, 1))
        self.node.fire()
        self.ack(self.a, 4)
        self.assertDone(first, second, third)
        self.assertEqual((self.delivery.done, [*self.delivery.oldest()]), (3, []))

    def test_a_final_refusal_is_told_once_and_never_asked_again(self) -> None:
        (a1,) = self.owned("a")
        job = self.put(a1)
        for _ in range(2):
            self.refuse(self.a, 1, UNKNOWN_USER, a1)
        self.assertEqual(job.refusals, [(UNKNOWN_USER, "because", (a1,))])
        self.ack(self.a, 1)
        self.assertDone(job)
        self.assertEqual(self.node.timers, [])

    def test_a_void_job_is_not_asked_again(self) -> None:
        (a1,) = self.owned("a")
        for code in (FULL, MOVED):
            with self.subTest(code=code):
                job = self.put(a1)
                (put,) = self.a.take_puts()
                self.refuse(self.a, put.seq, code, a1)
                self.ack(self.a, put.seq)
                job.void = True
                self.node.fire()
                self.assertGot(self.a)
                self.assertEqual(len(self.delivery), 0)


class LinesTest(DeliveryCase):
    """How many puts make one line."""

    def setUp(self) -> None:
        super().setUp()
        self.route("a")
        self.a = self.up("a")
        self.job = FakeJob()

    def sent(self, *items: Item, addresses: Sequence[str] = ("inbox/ark3",)) -> list[int]:
        """How many entries are in each line, if these are put at once."""
        before = len(self.a.lines)
        for item in items:
            self.delivery.put(tuple(addresses), item, self.job)
        self.delivery.pump()
        got = self.a.take_puts()
        self.assertEqual([sent.item for sent in got], list(items))
        for sent in got:
            self.assertEqual(list(sent.addresses), list(addresses))
        counts = []
        for line in self.a.lines[before:]:
            put = decode(line)
            assert isinstance(put, Put)
            counts.append(len(put.bodies))
        self.ack(self.a, got[-1].seq)
        return counts

    def test_many_of_one_origin_are_one_line(self) -> None:
        self.assertEqual(self.sent(*(stamped("a" * 16, n) for n in range(9))), [9])
        self.assertEqual(self.sent(stamped("a" * 16, 9)), [1])
        self.assertEqual(self.sent(*[Item(b"{}")] * 3), [3])

    def test_a_line_has_one_origin(self) -> None:
        a, b = (stamped(origin * 16, 1) for origin in "ab")
        old = stamped("a" * 16, 1, old=True)
        none = Item(b"{}")
        loads = [a, a, b, a, none, none, none, old, old, a]
        self.assertEqual(self.sent(*loads), [2, 1, 1, 3, 2, 1])

    def test_different_addresses_are_no_reason_for_another_line(self) -> None:
        first, second, third = self.owned("a", 3)
        self.delivery.put((first,), ITEM, self.job)
        self.delivery.put((second, third), ITEM, self.job)
        self.delivery.put((first,), ITEM, self.job)
        self.delivery.pump()
        self.assertEqual(len(self.a.lines), 1)
        self.assertGot(self.a, (1, first), (2, f"{second} {third}"), (3, first))

    def test_a_line_is_about_as_long_as_a_reader_likes_it(self) -> None:
        body = strictjson.dumps({"a": "x" * 1000})
        counts = self.sent(*(stamped("a" * 16, n, body) for n in range(100)))
        most = MAX_GROUP_BYTES // len(body)
        self.assertEqual(sum(counts), 100)
        self.assertTrue(all(most - 2 <= count <= most for count in counts[:-1]), counts)

    def test_no_line_is_too_long_whatever_is_in_it(self) -> None:
        """`FakeLink.send` compares each line with the limit."""

        def largest(body: bytes, old: bool) -> Item:
            names = " ".join([f"u{i:02}" for i in range(70)])  # of a bark with nothing but names
            who = ("u" * 20, "i" * 64, protocol.MAX_COUNT)
            return Item(body, "f" * 64, protocol.MAX_COUNT, *who, names, old)

        large = strictjson.dumps({"a": "x" * (protocol.MAX_BODY_BYTES - 8)})
        self.assertEqual(len(large), protocol.MAX_BODY_BYTES)
        many = [f"{'a' * 20}/{i:03}{'b' * 61}" for i in range(protocol.MAX_ADDRESSES)]
        for body in (large, b"{}"):
            for addresses in (many, many[:1], many[:60]):
                for old in (False, True):
                    items = [largest(body, old)] * 20
                    self.assertEqual(sum(self.sent(*items, addresses=addresses)), 20)
                self.assertEqual(sum(self.sent(*[Item(body)] * 20, addresses=addresses)), 20)
        dice = random.Random(1)
        for _ in range(100 if SLOW else 30):
            loads = [
                dice.choice((largest(body, True), Item(body)))
                for body in dice.choices((large, b"{}", strictjson.dumps({"a": "x" * 6000})), k=20)
            ]
            self.sent(*loads, addresses=many[: dice.choice((1, 3, 200, 500))])


class FullTest(DeliveryCase):
    """Whoever is full refuses all that comes behind, until we can have heard of it."""

    def setUp(self) -> None:
        super().setUp()
        self.route("a", "b")
        self.a, self.b = self.up("a"), self.up("b")

    def say(self, address: str, *numbers: int) -> list[FakeJob]:
        return [self.put(address, item=stamped("0" * 16, n)) for n in numbers]

    def refuse_all(self, link: FakeLink, first: int, last: int, *addresses: str) -> None:
        for seq in range(first, last + 1):
            self.refuse(link, seq, FULL, *addresses)
        self.ack(link, last)

    def assertSaid(self, link: FakeLink, *numbers: int) -> None:
        self.assertEqual([p.n for p in link.take_puts()], list(numbers))
        self.assertEqual(link.flushed, len(link.lines))

    def test_nothing_overtakes_what_is_to_be_sent_again(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3, 4)
        self.assertSaid(self.a, 1, 2, 3, 4)
        self.refuse(self.a, 2, FULL, a1)
        jobs += self.say(a1, 5)
        self.refuse(self.a, 3, FULL, a1)
        self.refuse(self.a, 4, FULL, a1)
        self.assertSaid(self.a)
        self.ack(self.a, 4)
        jobs += self.say(a1, 6)
        self.assertSaid(self.a)
        self.assertEqual((len(self.delivery), [j.pending for j in jobs]), (5, [0, 1, 1, 1, 1, 1]))
        self.node.fire()
        self.assertSaid(self.a, 2, 3, 4, 5, 6)
        self.ack(self.a, 9)
        self.assertDone(*jobs)

    def test_it_waits_for_the_answers_to_all_that_is_on_the_way(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3)
        self.a.take_puts()
        self.refuse(self.a, 1, FULL, a1)
        for _ in range(3):
            self.node.fire()
            self.assertSaid(self.a)
            self.assertEqual(len(self.node.timers), 1)
        self.refuse_all(self.a, 2, 3, a1)
        self.node.fire()
        self.assertSaid(self.a, 1, 2, 3)
        self.assertEqual(self.node.timers, [])
        self.ack(self.a, 6)
        self.assertDone(*jobs)

    def test_it_is_put_off_in_order_as_often_as_it_takes(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3)
        self.assertSaid(self.a, 1, 2, 3)
        last = 3
        for n in (4, 5, 6):
            self.refuse_all(self.a, last - n + 2, last, a1)
            jobs += self.say(a1, n)
            self.node.fire()
            self.assertSaid(self.a, *range(1, n + 1))
            last += n
        self.ack(self.a, last)
        self.assertDone(*jobs)

    def test_what_was_taken_of_it_meanwhile_is_not_sent_again(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3)
        self.refuse_all(self.a, 1, 3, a1)
        self.node.fire()
        self.a.take_puts()
        self.ack(self.a, 4)
        self.refuse_all(self.a, 5, 6, a1)
        self.node.fire()
        self.assertSaid(self.a, 2, 3)
        self.ack(self.a, 8)
        self.assertDone(*jobs)

    def test_one_lane_that_waits_holds_up_no_other(self) -> None:
        (a1,), (b1,) = self.owned("a"), self.owned("b")
        jobs = self.say(a1, 1) + self.say(b1, 2)
        self.refuse_all(self.a, 1, 1, a1)
        jobs += self.say(a1, 3) + self.say(b1, 4)
        self.assertSaid(self.a, 1)
        self.assertSaid(self.b, 2, 4)
        self.ack(self.b, 2)
        self.node.fire()
        self.assertSaid(self.a, 1, 3)
        self.ack(self.a, 3)
        self.assertDone(*jobs)

    def test_one_timer_looks_after_all_lanes_that_wait(self) -> None:
        (a1,), (b1,) = self.owned("a"), self.owned("b")
        jobs = self.say(a1, 1, 2) + self.say(b1, 3)
        self.refuse(self.a, 1, FULL, a1)
        self.refuse_all(self.b, 1, 1, b1)
        self.assertEqual(len(self.node.timers), 1)
        self.node.fire()  # b may go, a not yet
        self.assertSaid(self.b, 3, 3)
        self.assertSaid(self.a, 1, 2)
        self.assertEqual(len(self.node.timers), 1)
        self.refuse_all(self.a, 2, 2, a1)
        self.node.fire()
        self.assertSaid(self.a, 1, 2)
        self.ack(self.a, 4)
        self.ack(self.b, 2)
        self.assertDone(*jobs)

    def test_only_for_the_addresses_that_were_refused(self) -> None:
        first, second = self.owned("a", 2)
        job = self.put(first, second)
        self.a.take_puts()
        self.refuse_all(self.a, 1, 1, second)
        self.node.fire()
        self.assertGot(self.a, (2, second))
        self.ack(self.a, 2)
        self.assertDone(job)

    def test_refusals_may_come_in_any_order(self) -> None:
        # An outbox's queue is full for the third, and then its disk for the first two.
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3)
        self.a.take_puts()
        for seq in (3, 1, 2):
            self.refuse(self.a, seq, FULL, a1)
        self.ack(self.a, 3)
        self.node.fire()
        self.assertSaid(self.a, 1, 2, 3)
        self.ack(self.a, 6)
        self.assertDone(*jobs)

    def test_a_new_link_gets_it_at_once_in_order_before_anything_newer(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3)
        self.refuse_all(self.a, 1, 2, a1)
        jobs += self.say(a1, 4)
        self.down(self.a)
        jobs += self.say(a1, 5)
        a = self.up("a")
        self.assertSaid(a, 1, 2, 3, 4, 5)
        self.node.fire()  # the timer of the old link
        self.assertSaid(a)
        self.ack(a, 5)
        self.assertDone(*jobs)

    def test_what_was_sent_before_a_refusal_stays_before_it_when_the_link_breaks(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3)
        self.refuse(self.a, 2, FULL, a1)
        self.down(self.a)
        a = self.up("a")
        self.assertSaid(a, 1, 2, 3)
        self.ack(a, 3)
        self.assertDone(*jobs)

    def test_when_its_owner_leaves_the_ring_the_next_one_gets_it_in_order(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3)
        self.refuse_all(self.a, 1, 3, a1)
        jobs += self.say(a1, 4)
        self.route("b")
        self.assertSaid(self.b, 1, 2, 3, 4)
        self.node.fire()
        self.assertSaid(self.b)
        self.ack(self.b, 4)
        self.assertDone(*jobs)

    def test_when_the_ring_gives_it_to_another_while_it_waits_that_one_is_asked(self) -> None:
        addresses = self.owned("a", 40)
        jobs = [job for n in (1, 2) for a in addresses for job in self.say(a, n)]
        self.a.take_puts()
        for seq, address in enumerate((*addresses, *addresses), 1):
            self.refuse(self.a, seq, FULL, address)
        self.ack(self.a, 80)
        self.route("a", "b", "c")
        c = self.up("c")
        self.assertEqual(len(self.delivery), 80)
        self.node.fire()
        for name, link in (("a", self.a), ("c", c)):
            mine = [x for x in addresses if x in self.owned(name, 400)]
            self.assertTrue(mine)
            got = link.take_puts()
            self.assertEqual(
                [(g.addresses[0], g.n) for g in got], [(x, n) for n in (1, 2) for x in mine]
            )
            self.ack(link, got[-1].seq)
        self.assertDone(*jobs)

    def test_without_any_target_it_waits_with_all_others(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2)
        self.refuse_all(self.a, 1, 2, a1)
        self.route()
        self.node.fire()
        jobs += self.say(a1, 3)
        self.assertEqual(len(self.delivery), 3)
        self.route("c")
        c = self.up("c")
        self.assertSaid(c, 1, 2, 3)
        self.ack(c, 3)
        self.assertDone(*jobs)

    def test_it_counts_and_is_among_the_oldest_while_it_waits(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3)
        self.refuse_all(self.a, 1, 2, a1)
        self.assertEqual(len(self.delivery), 3)
        self.assertIn(jobs[0], [p.job for p in self.delivery.oldest()])
        self.ack(self.a, 3)
        self.node.fire()
        jobs += self.say(a1, 4)
        self.assertEqual(next(self.delivery.oldest()).job, jobs[0])
        self.assertEqual(len(self.delivery), 3)

    def test_nobody_waits_for_what_is_void(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2)
        self.a.take_puts()
        self.refuse_all(self.a, 1, 2, a1)
        jobs[0].void = True
        self.delivery.forget_void()
        self.assertEqual(len(self.delivery), 1)
        self.node.fire()
        self.assertSaid(self.a, 2)

    def test_what_has_moved_does_not_keep_a_lane_waiting(self) -> None:
        first, second = self.owned("a", 2)
        jobs = self.say(first, 1)
        self.a.take_puts()
        self.refuse(self.a, 1, MOVED, first)
        jobs += self.say(second, 2)
        self.assertSaid(self.a, 2)
        self.ack(self.a, 2)
        self.node.fire()
        self.assertSaid(self.a, 1)
        self.ack(self.a, 3)
        self.assertDone(*jobs)


class Server:
    """The far end of a link: reads what was sent, takes or refuses it, acks when it likes."""

    def __init__(self, link: FakeLink, dialer: FakeDialer) -> None:
        self.link = link
        self.dialer = dialer
        self.taken = self.acked = 0
        self.full = False  # refuses all until a pong
        self.pongs: deque[int] = deque()  # behind how many puts they come
        self.said: deque[tuple[str, int]] = deque()  # what our side has not heard yet


class ModelTest(DeliveryCase):
    """Random routes, links, answers; at the end all is well, and every put must be settled."""

    SEEDS = 60 if SLOW else 25
    STEPS = 150
    NAMES = "abcd"

    def test_consistent_puts_are_settled_once_and_in_order(self) -> None:
        self.run_all("inbox", CONSISTENT, refusals=False)

    def test_consistent_puts_are_settled_once_whatever_is_refused(self) -> None:
        self.run_all("inbox", CONSISTENT, refusals=True)

    def test_ordered_puts_are_settled_once_and_in_order(self) -> None:
        self.run_all("bizlogic", ORDERED, refusals=False)

    def test_ordered_puts_are_settled_once_whatever_is_refused(self) -> None:
        self.run_all("bizlogic", ORDERED, refusals=True)

    def test_consistent_puts_stay_in_order_whoever_is_full(self) -> None:
        self.run_all("inbox", CONSISTENT, refusals=False, full=True)

    def test_ordered_puts_stay_in_order_whoever_is_full(self) -> None:
        self.run_all("bizlogic", ORDERED, refusals=False, full=True)

    def run_all(self, service: str, policy: str, refusals: bool, full: bool = False) -> None:
        self.service, self.policy = service, policy
        self.addresses = (
            [f"inbox/user{i}" for i in range(8)] if policy == CONSISTENT else ["bizlogic"]
        )
        for seed in range(self.SEEDS):
            with self.subTest(seed=seed):
                self.may_be_full = full
                self.run_one(random.Random(seed), refusals)

    def run_one(self, dice: random.Random, refusals: bool) -> None:
        self.begin()
        self.dice = dice
        self.jobs: list[tuple[FakeJob, tuple[str, ...]]] = []
        self.servers: list[Server] = []  # of links that are up, or whose end is not known yet
        # For each address: which owner it has, for the how manieth time; and for each put the
        # period it was put in. A put that was first taken in that same period has kept its owner.
        self.period = dict.fromkeys(self.addresses, 0)
        self.put_in: dict[tuple[str, int], int] = {}
        self.first: dict[str, dict[int, int]] = {a: {} for a in self.addresses}
        self.upset: set[tuple[str, int]] = set()  # refused once: comes when it comes,
        self.final: set[tuple[str, int]] = set()  # or, refused for good, perhaps never
        for _ in range(self.STEPS):
            self.step(refusals)
        self.delivery.pump()
        self.change_route(*self.NAMES[: dice.randint(1, 4)])
        self.may_be_full = False
        for _ in range(100):
            self.settle_all()
            if not len(self.delivery):
                break
        self.check()

    def step(self, refusals: bool) -> None:
        dice = self.dice
        match dice.randrange(12):
            case 0 | 1 | 2 | 3:
                self.say()
            case 4:
                self.dial_one()
            case 5 if self.servers:
                self.lose(dice.choice(self.servers))
            case 6 if dice.random() < 0.3:
                count = dice.choice((0, 1, 2, 2, 3, 3, 4))
                self.change_route(*dice.sample(self.NAMES, count))
            case 7:
                self.node.fire()
            case 8 | 9 | 10 | 11 if self.servers:
                self.serve(dice.choice(self.servers), dice.randint(1, 9), refusals)

    def say(self) -> None:
        to = tuple(self.dice.sample(self.addresses, self.dice.randint(1, len(self.addresses))))
        n = len(self.jobs)
        for address in to:
            self.put_in[address, n] = self.period[address]
        job = FakeJob()
        self.jobs.append((job, to))
        self.delivery.put(to, stamped("0" * 16, n), job)
        if self.dice.random() < 0.7:
            self.delivery.pump()

    def change_route(self, *names: str) -> None:
        before = {a: self.node.routes.choose(a) for a in self.addresses}
        self.route(*names)
        for address, owner in before.items():
            now = self.node.routes.choose(address)
            if self.policy == CONSISTENT and (owner and owner.name) != (now and now.name):
                self.period[address] += 1

        for server in self.servers:
            server.link.closed |= server.dialer not in self.node.dialers

    def dial_one(self) -> None:
        busy = [s.dialer for s in self.servers if not s.link.closed]
        idle = [d for d in self.node.dialers if d not in busy]
        if idle:
            dialer = self.dice.choice(idle)
            self.servers.append(Server(self.up(dialer.expect), dialer))

    def lose(self, server: Server) -> None:
        """The link is down at last; before, the far end may read what was on its way to it."""
        self.servers.remove(server)
        server.link.closed = True
        self.serve(server, self.dice.randint(0, 99), refusals=False)
        self.down(server.link)

    def serve(self, server: Server, count: int, refusals: bool) -> None:
        """Read and answer; what a closed link says is not heard."""
        link = server.link
        for put in link.puts[server.taken : server.taken + count]:
            self.hear_pongs(server)
            server.taken += 1
            self.assertEqual(put.seq, server.taken)
            if server.full or (self.may_be_full and self.dice.random() < 0.1):
                server.said.append(("refuse", put.seq))
                if not server.full:
                    server.said.append(("ping", 0))
                    server.full = True
            else:
                self.take(link, put, refusals)
        self.hear_pongs(server)
        if server.acked < server.taken and self.dice.random() < 0.7:
            server.acked = server.taken
            server.said.append(("ack", server.acked))
        self.be_heard(server, self.dice.randint(0, 9) if self.may_be_full else 10**9)

    def hear_pongs(self, server: Server) -> None:
        """A keeper takes puts again after the pong of the ping that it sent with its refusal."""
        while server.pongs and server.pongs[0] <= server.taken:
            server.pongs.popleft()
            server.full = False

    def be_heard(self, server: Server, count: int) -> None:
        """Our side reads so many answers; of a closed link none."""
        link = server.link
        while server.said and count and not link.closed:
            op, seq = server.said.popleft()
            count -= 1
            if op == "ping":
                server.pongs.append(len(link.puts))
            elif op == "ack":
                self.ack(link, seq)
            else:
                self.refuse(link, seq, FULL, *link.puts[seq - 1].addresses)

    def take(self, link: FakeLink, put: Sent, refusals: bool) -> None:
        n, to = put.n, put.addresses
        if refusals and self.dice.random() < 0.3:
            no = self.dice.sample(to, self.dice.randint(1, len(to)))
            code = self.dice.choice((FULL, MOVED, MOVED, UNKNOWN_USER))
            self.upset.update((a, n) for a in no)
            if code == UNKNOWN_USER:
                self.final.update((a, n) for a in no)
            to = [a for a in to if a not in no]
            if not link.closed:
                self.refuse(link, put.seq, code, *no)
        for address in to:
            self.first[address].setdefault(n, self.period[address])

    def settle_all(self) -> None:
        """Everybody is up, reads all, takes all, acks all."""
        for server in [s for s in self.servers if s.link.closed]:
            self.lose(server)
        for _ in self.NAMES:
            self.dial_one()
        for server in self.servers:
            self.serve(server, 10**9, refusals=False)
        self.node.fire()

    def check(self) -> None:
        self.assertEqual((len(self.delivery), self.delivery.unacked), (0, 0))
        for n, (job, to) in enumerate(self.jobs):
            self.assertDone(job)
            for address in to:
                if (address, n) not in self.final:
                    self.assertIn(n, self.first[address], address)
        for address, taken in self.first.items():
            kept: dict[int, list[int]] = {}
            for n, period in taken.items():
                if (address, n) not in self.upset and self.put_in[address, n] == period:
                    kept.setdefault(period, []).append(n)
            for numbers in kept.values():
                self.assertEqual(numbers, sorted(numbers), address)
