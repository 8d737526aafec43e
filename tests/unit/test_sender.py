"""The sender: whatever links, routes and peers do, every entry is settled once and in its order.

The edge is faked: a node that dials nobody, links that keep what they are sent, and servers that
answer when they are told to. Routes, windows and messages are the real ones.
"""

import contextlib
import math
import random
import unittest
from collections import Counter, deque
from collections.abc import Sequence
from unittest import mock

from barker.delivery import batches, lanes
from barker.delivery.batches import MAX_BATCH_BYTES, Batch
from barker.delivery.lanes import SEND_CHUNK
from barker.delivery.sender import Sender, report_refusal
from barker.manifold.push import Push
from barker.process import peers
from barker.routing.routes import CONSISTENT, ORDERED, Target
from barker.wire import protocol, strictjson
from barker.wire.fields import addresses_in
from barker.wire.messages import decode, put_tail
from barker.wire.ops import Ack, Item, Put, Refuse
from barker.wire.protocol import FULL, MOVED, UNKNOWN_USER, ProtocolError
from tests.tools.fakes import FakeDialer, FakeLink, FakeNode, Sent, stamped
from tests.tools.fleet import SLOW

ITEM = stamped("0123456789abcdef", 1)


class FakeJob:
    """Knows to which addresses its entries go, and which of them have had an answer."""

    def __init__(self, *to: str) -> None:
        self.to = to
        self.void = False
        self.settled: Counter[str] = Counter()
        self.refusals: list[tuple[str, str, tuple[str, ...]]] = []

    @property
    def pending(self) -> int:
        return len(self.to) - self.settled.total()

    def settle(self, addresses: Sequence[str]) -> None:
        self.settled.update(addresses)
        assert self.settled <= Counter(self.to), "settled once too often"


def target(name: str, since: int = 1) -> Target:
    return Target(name, "127.0.0.1", 5000 + ord(name[-1]), since)


def items_of(*numbers: int) -> list[Item]:
    return [stamped("0" * 16, n) for n in numbers]


class SenderCase(unittest.TestCase):
    service = "inbox"
    policy = CONSISTENT

    def setUp(self) -> None:
        self.enterContext(mock.patch.object(peers, "Dialer", FakeDialer))
        self.begin()

    def begin(self) -> None:
        self.node = FakeNode()
        self.changes = 0
        self.sender: Sender[FakeJob] = Sender(
            self.node,  # type: ignore[arg-type]
            self.service,
            self.done,
            self.refused,
            is_void=lambda job: job.void,
            changed=self.changed,
        )

    def changed(self) -> None:
        self.changes += 1

    def done(self, batches: Sequence[Batch[FakeJob]]) -> None:
        for batch in batches:
            for job, to in zip(batch.all_jobs, batch.put().entries(), strict=True):
                job.settle(addresses_in(to))

    def refused(self, one: Batch[FakeJob], refusal: Refuse) -> None:
        (job,), (to,) = one.jobs, one.to
        job.refusals.append((refusal.code, refusal.reason, tuple(refusal.addresses)))
        job.settle(addresses_in(to))

    def route(self, *names: str) -> None:
        """The directory tells of these, in this order of starting."""
        targets = [target(name, since) for since, name in enumerate(names)]
        self.node.told(self.service, self.policy, targets)

    def up(self, name: str) -> FakeLink:
        link = FakeLink(name)
        self.sender.link_up(link)  # type: ignore[arg-type]
        return link

    def down(self, link: FakeLink) -> None:
        link.closed = True
        self.sender.link_down(link)  # type: ignore[arg-type]

    def put(self, *addresses: str, item: Item = ITEM) -> FakeJob:
        job = FakeJob(*addresses)
        self.sender.put(" ".join(addresses), item, job)
        self.sender.pump()
        return job

    def ack(self, link: FakeLink, seq: int) -> None:
        self.sender.on_ack(link, Ack(seq))  # type: ignore[arg-type]

    def refuse(self, link: FakeLink, seq: int, code: str, *addresses: str) -> None:
        self.sender.on_refuse(link, Refuse(seq, code, "because", addresses))  # type: ignore[arg-type]

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

    def oldest(self) -> list[FakeJob]:
        return [job for batch in self.sender.oldest() for job in batch.jobs]

    def assertGot(self, link: FakeLink, *puts: tuple[int, str]) -> None:
        """What the link was sent since the last time: numbers and addresses."""
        self.assertEqual([(m.seq, " ".join(m.addresses)) for m in link.take_puts()], list(puts))
        self.assertEqual(link.flushed, len(link.lines))

    def assertSaid(self, link: FakeLink, *numbers: int) -> None:
        """What it was sent since the last time: counters."""
        self.assertEqual([p.n for p in link.take_puts()], [*numbers])
        self.assertEqual(link.flushed, len(link.lines))

    def assertDone(self, *jobs: FakeJob) -> None:
        self.assertEqual([job.settled for job in jobs], [Counter(job.to) for job in jobs])


class OrderedTest(SenderCase):
    service = "bizlogic"
    policy = ORDERED

    def say(self, *numbers: int) -> list[FakeJob]:
        return [self.put("bizlogic", item=item) for item in items_of(*numbers)]

    def assertNumbered(self, link: FakeLink, *numbers: int, first: int = 1) -> None:
        """These barks, numbered on this link from `first` on."""
        self.assertEqual([(m.seq, m.n) for m in link.take_puts()], list(enumerate(numbers, first)))
        self.assertEqual(link.flushed, len(link.lines))

    def test_puts_wait_until_there_is_a_route_and_a_link(self) -> None:
        jobs = self.say(1)
        self.route("a", "b")
        jobs += self.say(2)
        self.assertEqual(len(self.sender), 2)
        a = self.up("a")
        self.assertNumbered(a, 1, 2)
        self.assertEqual((len(self.sender), self.sender.unacked), (2, 2))
        self.ack(a, 2)
        self.assertDone(*jobs)
        self.assertEqual(len(self.sender), 0)

    def test_many_at_once_are_what_they_would_be_one_by_one(self) -> None:
        jobs = []

        def put_all(*numbers: int) -> None:
            put = Put.of(0, ["outbox/x"], items_of(*numbers))
            to = ["bizlogic"] * len(numbers)
            jobs.append(FakeJob(*to))
            self.sender.put_all(put, to, jobs[-1])
            jobs.extend(FakeJob("bizlogic") for _ in numbers)
            self.sender.add(Batch.of(put._replace(to=to), jobs[-len(to) :]))
            self.sender.pump()

        put_all(1, 2, 3)  # no instance serves it yet
        jobs += self.say(4)
        self.route("a")
        a = self.up("a")
        put_all(5, 6)
        self.assertNumbered(a, 1, 2, 3, 1, 2, 3, 4, 5, 6, 5, 6)
        self.assertEqual(len(self.sender), 11)
        self.ack(a, 2)
        self.assertEqual([job.pending for job in jobs], [1, *[1] * 3, 1, 2, 1, 1])
        self.ack(a, 11)
        self.assertDone(*jobs)
        self.assertEqual(len(self.sender), 0)

    def test_a_service_that_nobody_serves_yet_keeps_the_order_of_its_puts(self) -> None:
        self.node.told("bizlogic", CONSISTENT, [])  # what a directory says that knows no policy
        jobs = self.say(1, 2)
        self.route("a")
        jobs += self.say(3)
        a = self.up("a")
        self.assertNumbered(a, 1, 2, 3)
        self.down(a)
        self.node.told("bizlogic", CONSISTENT, [])
        jobs += self.say(4)
        self.route("b")
        jobs += self.say(5)
        b = self.up("b")
        self.assertNumbered(b, 1, 2, 3, 4, 5)
        self.ack(b, 5)
        self.assertDone(*jobs)

    def test_all_goes_to_the_first_and_nothing_to_the_spare(self) -> None:
        self.route("a", "b")
        b, a = self.up("b"), self.up("a")
        self.say(1, 2)
        self.assertNumbered(a, 1, 2)
        self.assertNumbered(b)

    def test_the_spare_is_sent_all_that_is_unacked_in_order_before_anything_new(self) -> None:
        self.route("a", "b")
        a, b = self.up("a"), self.up("b")
        jobs = self.say(1, 2, 3, 4)
        self.ack(a, 2)
        self.down(a)
        jobs += self.say(5)
        self.assertNumbered(b, 3, 4, 5)
        self.assertEqual(self.sender.gauges()["again"], 2)  # 3 and 4
        self.ack(b, 3)
        self.assertDone(*jobs)
        self.down(b)
        self.assertEqual(self.sender.gauges()["again"], 2)  # nothing was on its way

    def test_one_that_comes_back_is_the_first_again_and_the_spare_is_abandoned(self) -> None:
        self.route("a", "b")
        b = self.up("b")
        jobs = self.say(1, 2)
        a = self.up("a")
        self.assertTrue(b.closed)
        self.assertNumbered(a, 1, 2)
        self.ack(b, 2)  # what it says now is settled otherwise
        self.assertEqual([j.pending for j in jobs], [1, 1])
        self.refuse(b, 1, UNKNOWN_USER, "bizlogic")
        self.ack(a, 2)
        self.assertDone(*jobs)
        self.assertEqual(jobs[0].refusals, [])
        self.down(b)
        b = self.up("b")
        self.assertNumbered(b)

    def test_a_link_that_went_down_late_takes_nothing_with_it(self) -> None:
        self.route("a")
        old = self.up("a")
        self.say(1)
        new = self.up("a")
        self.assertTrue(old.closed)
        self.assertNumbered(new, 1)
        self.down(old)
        self.say(2)
        self.assertNumbered(new, 2, first=2)

    def test_a_first_one_that_leaves_is_abandoned_although_its_link_is_up(self) -> None:
        self.route("a", "b")
        a, b = self.up("a"), self.up("b")
        self.say(1)
        self.route("b")
        self.assertTrue(a.closed)
        self.assertNumbered(b, 1)
        self.assertEqual([d.expect for d in self.node.dialers], ["b"])

    def test_a_place_that_changed_is_dialled_anew(self) -> None:
        self.route("a")
        self.up("a")
        before = self.node.dialers[0]
        self.node.told(self.service, self.policy, [target("a")._replace(port=1)])
        self.assertEqual([d.place for d in self.node.dialers], [("127.0.0.1", 1)])
        self.assertIsNot(self.node.dialers[0], before)
        self.assertEqual(self.sender.peers, {})

    def test_a_route_that_changes_nothing_for_us_sends_nothing_again(self) -> None:
        self.route("a")
        a = self.up("a")
        self.say(1, 2)
        self.assertNumbered(a, 1, 2)
        self.route("a", "b")
        self.up("b")
        self.say(3)
        self.assertNumbered(a, 3, first=3)

    def test_no_more_than_the_window_is_sent_and_acks_open_it(self) -> None:
        self.route("a")
        a = self.up("a")
        count = protocol.UNACKED_WINDOW + 3
        job = FakeJob(*["bizlogic"] * count)
        for _ in range(count):
            self.sender.put("bizlogic", ITEM, job)
        self.sender.pump()
        for acked, more in ((0, protocol.UNACKED_WINDOW), (2, 0), (3, 3)):  # a batch goes whole
            self.ack(a, acked)
            self.assertEqual(len(a.take_puts()), more)
        self.assertEqual((job.pending, len(self.sender)), (count - 3,) * 2)

    def test_a_busy_link_is_sent_nothing_until_it_says_something(self) -> None:
        self.route("a")
        a = self.up("a")
        self.say(1)
        a.room = 0
        self.say(2)
        self.assertNumbered(a, 1)
        a.room = math.inf
        self.ack(a, 1)
        self.assertNumbered(a, 2, first=2)

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

    def test_a_queue_that_waited_for_room_is_in_order_and_its_first_is_the_oldest(self) -> None:
        self.route("a")
        a = self.up("a")
        first, *_ = jobs = self.say(*range(5))
        for seq in range(1, 6):
            self.refuse(a, seq, FULL, "bizlogic")
        self.ack(a, 5)
        self.node.fire()
        jobs += self.say(5)
        self.assertEqual(self.oldest(), [first])
        self.ack(a, 11)
        self.assertDone(*jobs)

    def test_what_nobody_waits_for_any_more_is_forgotten(self) -> None:
        jobs = self.say(1)  # has no home
        self.route("a")
        jobs += self.say(2)  # waits for a link
        a = self.up("a")
        jobs += self.say(3)  # is on its way
        self.assertNumbered(a, 1, 2, 3)
        self.refuse(a, 3, FULL, "bizlogic")  # is to be asked again
        for job in jobs:
            job.void = True
        self.down(a)
        self.sender.forget_void()
        self.node.fire()
        self.say(4)
        a = self.up("a")
        self.assertNumbered(a, 4)
        self.assertEqual(len(self.sender), 1)

    def test_what_is_void_does_not_wait_for_a_route_for_ever(self) -> None:
        # bizlogic without any inbox: outboxes come, bring their window, and go, again and again.
        for job in self.say(1, 2, 3):
            job.void = True
        self.say(4)
        self.sender.forget_void()
        self.assertEqual(len(self.sender), 1)


class ConsistentTest(SenderCase):
    def setUp(self) -> None:
        super().setUp()
        self.route("a", "b")
        self.a, self.b = self.up("a"), self.up("b")

    def test_one_put_for_each_owner_with_all_its_addresses(self) -> None:
        a1, a2 = self.owned("a", 2)
        (b1,) = self.owned("b")
        for _ in range(2):  # the second time it remembers the split
            job = self.put(a1, b1, a2)
            self.assertEqual(job.pending, 3)
        self.assertGot(self.a, (1, f"{a1} {a2}"), (2, f"{a1} {a2}"))
        self.assertGot(self.b, (1, b1), (2, b1))
        self.ack(self.a, 2)
        self.assertEqual(job.pending, 1)
        self.ack(self.b, 2)
        self.assertDone(job)

    def test_a_put_names_no_more_addresses_than_the_protocol_allows(self) -> None:
        addresses = self.owned("a", protocol.MAX_ADDRESSES + 1)
        job = self.put(*addresses)
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
        self.assertEqual(self.sender.unacked, 40)
        self.ack(self.a, 40)
        self.assertEqual(len(self.sender), 0)

    def test_what_was_not_sent_is_placed_anew_when_the_ring_changes_in_order(self) -> None:
        addresses = self.owned("a", 40)
        self.down(self.a)
        jobs = [self.put(a, item=item) for item in items_of(1, 2) for a in addresses]
        self.route("a", "b", "c")
        c, a = self.up("c"), self.up("a")
        for name, link in (("a", a), ("c", c)):
            mine = [x for x in addresses if x in self.owned(name, 400)]
            self.assertTrue(mine)
            got = [(m.addresses[0], m.n) for m in link.take_puts()]
            self.assertEqual(got, [(x, n) for n in (1, 2) for x in mine])
            self.ack(link, len(got))
        self.assertDone(*jobs)

    def test_what_a_gone_target_held_goes_to_the_new_owner_in_order(self) -> None:
        (a1,) = self.owned("a")
        jobs = [self.put(a1, item=item) for item in items_of(1, 2, 3)]
        self.ack(self.a, 1)
        self.a.room = 0
        jobs.append(self.put(a1, item=items_of(4)[0]))
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
        self.assertEqual(len(self.sender), 3)
        self.route("c")
        c = self.up("c")
        self.assertEqual([j.pending for j in jobs], [2, 2])
        self.ack(c, 3)
        self.assertDone(*jobs)

    def test_what_was_moved_is_asked_again_at_its_new_owner_and_counts_once(self) -> None:
        first, second = self.owned("a", 2)
        job = self.put(first, second)
        self.refuse(self.a, 1, MOVED, second)
        self.assertEqual((job.pending, len(self.node.timers)), (2, 1))
        self.ack(self.a, 1)
        self.assertEqual(job.pending, 1)
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
        self.assertEqual(len(self.sender), 1)

    def test_a_refusal_that_nothing_follows_from_is_one_line_in_the_log(self) -> None:
        one = Batch.of(Put.of(0, ["inbox/a"], [ITEM]), [""])
        with self.assertLogs("barker", "ERROR") as logs:
            report_refusal(one, Refuse(1, UNKNOWN_USER, "because", ["inbox/a"]))
        words = "refused for good by inbox/a: because (unknown-user)"
        self.assertEqual([record.getMessage() for record in logs.records], [words])

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
        first, second, third = self.put(a1), self.put(a1), self.put(a2)
        self.assertEqual(self.oldest(), [first])
        self.refuse(self.a, 1, FULL, a1)
        self.assertEqual(self.oldest(), [first])
        self.refuse(self.a, 2, UNKNOWN_USER, a1)
        self.ack(self.a, 3)
        self.assertEqual((self.sender.done, self.sender.reached), (2, 1))
        self.node.fire()
        self.ack(self.a, 4)
        self.assertDone(first, second, third)
        self.assertEqual((self.sender.done, self.oldest()), (3, []))

    def test_a_final_refusal_is_told_once_and_never_asked_again(self) -> None:
        (a1,) = self.owned("a")
        job = self.put(a1)
        for _ in range(2):
            self.refuse(self.a, 1, UNKNOWN_USER, a1)
        self.assertEqual(job.refusals, [(UNKNOWN_USER, "because", (a1,))])
        self.ack(self.a, 1)
        self.assertDone(job)
        self.assertEqual(self.node.timers, [])

    def test_what_has_moved_behind_newer_ones_is_among_the_oldest(self) -> None:
        (a1,) = self.owned("a")
        old, new = self.put(a1), self.put(a1)
        self.refuse(self.a, 1, MOVED, a1)
        self.assertEqual(self.oldest(), [new, old])
        self.node.fire()
        self.assertEqual(self.oldest(), [new, old])
        self.ack(self.a, 2)
        self.assertEqual(self.oldest(), [old])

    def test_what_is_void_is_forgotten_while_it_waits_for_room(self) -> None:
        (a1,) = self.owned("a")
        jobs = [self.put(a1, item=item) for item in items_of(1, 2)]
        self.a.take_puts()
        for seq in (1, 2):
            self.refuse(self.a, seq, FULL, a1)
        self.ack(self.a, 2)
        jobs[0].void = True
        self.sender.forget_void()
        self.assertEqual(len(self.sender), 1)
        self.node.fire()
        self.assertSaid(self.a, 2)

    def test_what_is_void_in_a_batch_that_is_divided_is_left_out(self) -> None:
        (a1,), (b1,) = self.owned("a"), self.owned("b")
        self.route()
        jobs = [FakeJob(a1), FakeJob(b1), FakeJob(a1)]
        for to, item, job in zip((a1, b1, a1), items_of(1, 2, 3), jobs, strict=True):
            self.sender.put(to, item, job)
        self.sender.pump()
        jobs[1].void = True
        self.route("a", "b")
        self.assertEqual(len(self.sender), 2)
        self.assertSaid(self.up("a"), 1, 3)

    def test_what_moves_of_a_batch_leaves_the_rest_in_its_order(self) -> None:
        addresses = self.owned("a", 40)
        self.down(self.a)
        self.route("a", "b", "c")
        stays, moves = (
            next(x for x in addresses if x in self.owned(name, 400)) for name in ("a", "c")
        )
        self.route("a", "b")
        jobs = []
        for n, tos in ((1, (stays, moves)), (2, (stays,)), (3, (moves,))):
            for to in tos:
                jobs.append(FakeJob(to))
                self.sender.put(to, items_of(n)[0], jobs[-1])
            self.sender.pump()
        self.route("a", "b", "c")
        for name, numbers in (("a", (1, 2)), ("c", (1, 3))):
            link = self.up(name)
            self.assertSaid(link, *numbers)
            self.ack(link, 2)
        self.assertDone(*jobs)

    def test_an_ack_of_what_was_all_refused_opens_the_window(self) -> None:
        (a1,) = self.owned("a")
        with mock.patch.object(protocol, "UNACKED_WINDOW", 2):
            self.route()
            self.route("a", "b")
            a = self.up("a")
            jobs = [self.put(a1), self.put(a1)]
            for seq in (1, 2):
                self.refuse(a, seq, MOVED, a1)
            self.ack(a, 2)
            self.node.fire()
            self.assertGot(a, *((seq, a1) for seq in range(1, 5)))
            self.ack(a, 4)
        self.assertDone(*jobs)

    def test_its_owner_is_told_when_links_routes_or_what_was_deferred_have_changed(self) -> None:
        (a1,) = self.owned("a")
        self.put(a1)
        self.refuse(self.a, 1, MOVED, a1)
        before = self.changes
        self.down(self.b)
        self.route("a")
        self.node.fire()
        self.assertEqual(self.changes, before + 3)

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
                self.assertEqual(len(self.sender), 0)


class LinesTest(SenderCase):
    """How many entries make one line."""

    def setUp(self) -> None:
        super().setUp()
        self.route("a")
        self.a = self.up("a")

    def sent(self, *items: Item, addresses: Sequence[str] = ("inbox/ark3",)) -> list[int]:
        """How many entries are in each line, if these are put at once."""
        job = FakeJob(*[*addresses] * len(items))
        for item in items:
            self.sender.put(" ".join(addresses), item, job)
        self.sender.pump()
        counts = self.counts(items, addresses)
        self.assertDone(job)
        return counts

    def counts(self, items: Sequence[Item], addresses: Sequence[str]) -> list[int]:
        """How many entries are in each line that has come; they are these, and are acked."""
        lines: list[Put] = list(map(decode, self.a.lines))  # type: ignore[arg-type]
        got = self.a.take_puts()
        self.assertEqual([sent.item for sent in got], list(items))
        for sent in got:
            self.assertEqual(list(sent.addresses), list(addresses))
        self.a.lines.clear()
        self.ack(self.a, got[-1].seq)
        return [len(put.bodies) for put in lines]

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
        for to in (first, f"{second} {third}", first):
            self.sender.put(to, ITEM, FakeJob(*to.split(" ")))
        self.sender.pump()
        self.assertEqual(len(self.a.lines), 1)
        self.assertGot(self.a, (1, first), (2, f"{second} {third}"), (3, first))

    def test_a_line_has_so_many_entries_or_bytes_and_is_at_least_half_full(self) -> None:
        self.assertEqual(self.sent(*items_of(*range(300))), [SEND_CHUNK, SEND_CHUNK, 44])
        body = strictjson.dumps({"a": "x" * 1000})
        counts = self.sent(*(stamped("a" * 16, n, body) for n in range(100)))
        most = MAX_BATCH_BYTES // len(body)
        self.assertTrue(all(most // 2 - 1 <= count <= most for count in counts), counts)

    def test_what_an_outbox_has_taken_as_one_line_is_cut_if_its_stamps_make_it_too_long(
        self,
    ) -> None:
        """A stamp has the author, the id and the names of a bark once more."""
        body = strictjson.dumps({"a": "x" * 480})
        names = " ".join(f"u{i:02}" for i in range(70))
        items = [Item(body, "f" * 16, n, "u" * 20, "i" * 64, 1, names) for n in range(1, 129)]
        put = Put.of(0, ["bizlogic"], items)
        for recovers in (False, True):
            self.service, self.policy = "bizlogic", ORDERED
            self.begin()
            push = Push(self.node, "bizlogic", self.changed, lambda *_: None)  # type: ignore[arg-type]
            if recovers:
                push.recover(put, 1)
                push.was_settled(3)
                push.take_recovered()
            else:
                push.add(put, 1, put_tail(put))
            self.sender = push.sender  # type: ignore[assignment]
            self.route("a")
            self.a = self.up("a")
            self.counts(items[3:] if recovers else items, ["bizlogic"])
            self.assertEqual((len(push), +push.by_author), (0, Counter()))
            self.assertEqual(push.oldest_n(129), 129)

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


class FullTest(SenderCase):
    """Whoever is full refuses all that comes behind, until we can have heard of it."""

    def setUp(self) -> None:
        super().setUp()
        self.route("a", "b")
        self.a, self.b = self.up("a"), self.up("b")

    def say(self, address: str, *numbers: int) -> list[FakeJob]:
        return [self.put(address, item=item) for item in items_of(*numbers)]

    def refuse_all(self, link: FakeLink, first: int, last: int, *addresses: str) -> None:
        for seq in range(first, last + 1):
            self.refuse(link, seq, FULL, *addresses)
        self.ack(link, last)

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
        self.assertEqual((len(self.sender), [j.pending for j in jobs]), (5, [0, 1, 1, 1, 1, 1]))
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
        self.assertEqual(len(self.sender), 80)
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
        self.assertEqual(len(self.sender), 3)
        self.route("c")
        c = self.up("c")
        self.assertSaid(c, 1, 2, 3)
        self.ack(c, 3)
        self.assertDone(*jobs)

    def test_it_counts_and_is_among_the_oldest_while_it_waits(self) -> None:
        (a1,) = self.owned("a")
        jobs = self.say(a1, 1, 2, 3)
        self.refuse_all(self.a, 1, 2, a1)
        self.assertEqual(len(self.sender), 3)
        self.assertIn(jobs[0], self.oldest())
        self.ack(self.a, 3)
        self.node.fire()
        jobs += self.say(a1, 4)
        self.assertEqual(self.oldest()[0], jobs[0])
        self.assertEqual(len(self.sender), 3)

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


class FullBatchTest(FullTest):
    """The same, where all that is said at once is one batch."""

    def say(self, address: str, *numbers: int) -> list[FakeJob]:
        jobs = [FakeJob(address) for _ in numbers]
        for item, job in zip(items_of(*numbers), jobs, strict=True):
            self.sender.put(address, item, job)
        self.sender.pump()
        return jobs


class Server:
    """The far end of a link: reads what was sent, takes or refuses it, acks when it likes."""

    def __init__(self, link: FakeLink, dialer: FakeDialer) -> None:
        self.link = link
        self.dialer = dialer
        self.taken = self.acked = 0
        self.full = False  # refuses all until a pong
        self.pongs: deque[int] = deque()  # behind how many puts they come
        self.said: deque[tuple[str, int]] = deque()  # what our side has not heard yet


class ModelTest(SenderCase):
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
        small = mock.patch.multiple(protocol, UNACKED_WINDOW=8)
        chunks = (
            mock.patch.object(batches, "MAX_BATCH", 4),
            mock.patch.object(lanes, "SEND_CHUNK", 3),
        )
        for seed in range(self.SEEDS):
            with self.subTest(seed=seed), contextlib.ExitStack() as stack:
                if seed % 2:
                    for limit in (small, *chunks):
                        stack.enter_context(limit)
                self.may_be_full = full
                self.run_one(random.Random(seed), refusals)

    def run_one(self, dice: random.Random, refusals: bool) -> None:
        self.begin()
        self.dice = dice
        self.style = dice.choice(("put", "put", "put_all", "add"))  # an owner has one of these
        self.jobs: list[FakeJob] = []
        self.said: list[tuple[str, ...]] = []  # by counter, to which addresses
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
        self.sender.pump()
        self.change_route(*self.NAMES[: dice.randint(1, 4)])
        self.may_be_full = False
        for _ in range(100):
            self.settle_all()
            if not len(self.sender):
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
        first = len(self.said)
        for _ in range(1 if self.style == "put" else self.dice.randint(1, 4)):
            to = tuple(self.dice.sample(self.addresses, self.dice.randint(1, len(self.addresses))))
            for address in to:
                self.put_in[address, len(self.said)] = self.period[address]
            self.said.append(to)
        entries = [" ".join(to) for to in self.said[first:]]
        put = Put.of(0, ["x"], items_of(*range(first, len(self.said))))
        if self.style == "put_all":
            self.jobs.append(FakeJob(*(address for to in self.said[first:] for address in to)))
            self.sender.put_all(put, entries, self.jobs[-1])
        else:
            jobs = [FakeJob(*to) for to in self.said[first:]]
            self.jobs += jobs
            if self.style == "add":
                self.sender.add(Batch.of(put._replace(to=entries), jobs))
            else:
                self.sender.put(entries[0], next(put.items()), jobs[0])
        if self.dice.random() < 0.7:
            self.sender.pump()

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
        self.assertEqual((len(self.sender), self.sender.unacked), (0, 0))
        self.assertDone(*self.jobs)
        for n, to in enumerate(self.said):
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
