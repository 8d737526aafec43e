"""Delivery: whatever links, routes and peers do, every put is settled once and stays in its order.

The edge is faked: a node that dials nobody, links that keep what they are sent, and servers that
answer when they are told to. Routes, windows and messages are the real ones.
"""

import random
import unittest
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from barker import delivery, wire
from barker.delivery import Delivery
from barker.routing import CONSISTENT, ORDERED, RouteTable, Target
from barker.wire import FULL, MOVED, UNKNOWN_USER, ProtocolError

END = wire.stamped(b"0123456789abcdef", 1, b"{}")


class FakeLink:
    """Keeps every message that it is sent, from the put on that nobody has read."""

    def __init__(self, name: str) -> None:
        self.peer = {"name": name}
        self.busy = False
        self.closed = False
        self.sent: list[dict[str, Any]] = []
        self.read = 0
        self.flushed = 0

    def send(self, message: bytes) -> None:
        if not self.closed:
            self.sent.append(wire.decode(message))

    def flush(self) -> None:
        self.flushed = len(self.sent)

    def abort(self, reason: str = "") -> None:
        self.closed = True

    def take(self) -> list[dict[str, Any]]:
        """What was sent since the last time."""
        new, self.read = self.sent[self.read :], len(self.sent)
        return new


class FakeDialer:
    """Instead of the real one: remembers whom it should dial."""

    def __init__(self, node: Any, host: str, port: int, _: object, expect: str) -> None:
        self.place = (host, port)
        self.expect = expect
        node.dialers.append(self)
        self._node = node

    def close(self) -> None:
        self._node.dialers.remove(self)


class FakeNode:
    """Routes, timers that are fired by hand, and the dialers that are at work."""

    def __init__(self) -> None:
        self.routes = RouteTable()
        self.dialers: list[FakeDialer] = []
        self.timers: list[Callable[[], None]] = []
        self._watchers: dict[str, Callable[[], None]] = {}

    def watch(self, service: str, changed: Callable[[], None]) -> None:
        self._watchers[service] = changed

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        self.timers.append(work)

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for work in timers:
            work()

    def told(self, service: str, policy: str, targets: Sequence[Target]) -> None:
        """The directory says so."""
        if self.routes.update(service, policy, targets):
            self._watchers[service]()


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

    def refused(self, job: Any, code: str, reason: str, addresses: Sequence[str]) -> None:
        job.refusals.append((code, reason, tuple(addresses)))
        job.settle()


def target(name: str, since: int = 1) -> Target:
    return Target(name, "127.0.0.1", 5000 + ord(name[-1]), since)


class DeliveryCase(unittest.TestCase):
    service = "inbox"
    policy = CONSISTENT

    def setUp(self) -> None:
        self.enterContext(mock.patch.object(delivery, "Dialer", FakeDialer))
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

    def put(self, *addresses: str, end: bytes = END) -> FakeJob:
        job = FakeJob()
        self.delivery.put(addresses, end, job)
        self.delivery.pump()
        return job

    def ack(self, link: FakeLink, seq: int) -> None:
        self.delivery.on_ack(link, {"op": "ack", "seq": seq})  # type: ignore[arg-type]

    def refuse(self, link: FakeLink, seq: int, code: str, *addresses: str) -> None:
        message = {"op": "refuse", "seq": seq, "code": code, "reason": "because"}
        self.delivery.on_refuse(link, {**message, "addresses": list(addresses)})  # type: ignore[arg-type]

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
        self.assertEqual([(m["seq"], " ".join(m["to"])) for m in link.take()], list(puts))
        self.assertEqual(link.flushed, len(link.sent))

    def assertDone(self, *jobs: FakeJob) -> None:
        self.assertEqual([(j.pending, j.done) for j in jobs], [(0, 1)] * len(jobs))


class OrderedTest(DeliveryCase):
    service = "bizlogic"
    policy = ORDERED

    def say(self, *numbers: int) -> list[FakeJob]:
        return [self.put("bizlogic", end=wire.stamped(b"0" * 16, n, b"{}")) for n in numbers]

    def assertSaid(self, link: FakeLink, *numbers: int, first: int = 1) -> None:
        """These barks, numbered on this link from `first` on."""
        expected = list(enumerate(numbers, first))
        self.assertEqual([(m["seq"], m["n"]) for m in link.take()], expected)
        self.assertEqual(link.flushed, len(link.sent))

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
        self.ack(b, 3)
        self.assertDone(*jobs)

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
        for _ in range(wire.UNACKED_WINDOW + 3):
            self.delivery.put(("bizlogic",), END, job)
        self.delivery.pump()
        self.assertEqual(len(a.take()), wire.UNACKED_WINDOW)
        self.ack(a, 2)
        self.assertEqual(len(a.take()), 2)
        self.ack(a, wire.UNACKED_WINDOW)
        self.assertEqual(len(a.take()), 1)
        self.assertEqual((job.pending, len(self.delivery)), (3, 3))

    def test_a_busy_link_is_sent_nothing_until_it_says_something(self) -> None:
        self.route("a")
        a = self.up("a")
        self.say(1)
        a.busy = True
        self.say(2)
        self.assertSaid(a, 1)
        a.busy = False
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
        self.delivery.on_ack(a, {"op": "ack"})  # type: ignore[arg-type]
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
        addresses = self.owned("a", wire.MAX_ADDRESSES + 1)
        job = self.put(*addresses)
        self.assertEqual(job.pending, 2)
        self.assertEqual([m["to"] for m in self.a.take()], [addresses[:-1], addresses[-1:]])
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
        self.a.take()
        self.route("a", "b", "c")
        c = self.up("c")
        self.assertGot(c)
        self.assertEqual(self.delivery.unacked, 40)
        self.ack(self.a, 40)
        self.assertEqual(len(self.delivery), 0)

    def test_what_was_not_sent_is_placed_anew_when_the_ring_changes_in_order(self) -> None:
        addresses = self.owned("a", 40)
        self.down(self.a)
        jobs = [self.put(a, end=self.stamp(n)) for n in (1, 2) for a in addresses]
        self.route("a", "b", "c")
        c, a = self.up("c"), self.up("a")
        for name, link in (("a", a), ("c", c)):
            mine = [x for x in addresses if x in self.owned(name, 400)]
            self.assertTrue(mine)
            got = [(m["to"][0], m["n"]) for m in link.take()]
            self.assertEqual(got, [(x, n) for n in (1, 2) for x in mine])
            self.ack(link, len(got))
        self.assertDone(*jobs)

    def stamp(self, n: int) -> bytes:
        return wire.stamped(b"0" * 16, n, b"{}")

    def test_what_a_gone_target_held_goes_to_the_new_owner_in_order(self) -> None:
        (a1,) = self.owned("a")
        jobs = [self.put(a1, end=self.stamp(n)) for n in (1, 2, 3)]
        self.ack(self.a, 1)
        self.a.busy = True
        jobs.append(self.put(a1, end=self.stamp(4)))
        self.route("b")
        self.assertTrue(self.a.closed)
        self.assertEqual([m["n"] for m in self.b.take()], [2, 3, 4])
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
        for seq in (1, 3, 4):
            self.refuse(self.a, seq, FULL, a1)
            self.assertEqual((job.pending, len(self.node.timers)), (1, 1))
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
        self.node.fire()
        self.ack(self.a, 4)
        self.assertDone(*jobs)

    def test_a_refused_put_is_counted_once(self) -> None:
        (a1,) = self.owned("a")
        self.put(a1)
        self.refuse(self.a, 1, FULL, a1)
        self.assertEqual(len(self.delivery), 1)

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
        self.assertEqual([p.job for p in self.delivery.oldest()], [second, first])
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
        job = self.put(a1)
        self.a.take()
        self.refuse(self.a, 1, FULL, a1)
        job.void = True
        self.node.fire()
        self.assertGot(self.a)
        self.assertEqual(len(self.delivery), 0)


class Server:
    """The far end of a link: reads what was sent, takes or refuses it, acks when it likes."""

    def __init__(self, link: FakeLink, dialer: FakeDialer) -> None:
        self.link = link
        self.dialer = dialer
        self.taken = self.acked = 0


class ModelTest(DeliveryCase):
    """Random routes, links, answers; at the end all is well, and every put must be settled."""

    SEEDS = 60
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

    def run_all(self, service: str, policy: str, refusals: bool) -> None:
        self.service, self.policy = service, policy
        self.addresses = (
            [f"inbox/user{i}" for i in range(8)] if policy == CONSISTENT else ["bizlogic"]
        )
        for seed in range(self.SEEDS):
            with self.subTest(seed=seed):
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
        self.delivery.put(to, wire.stamped(b"0" * 16, n, b"{}"), job)
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
        for put in link.sent[server.taken : server.taken + count]:
            server.taken += 1
            self.assertEqual(put["seq"], server.taken)
            self.take(link, put, refusals)
        if server.acked < server.taken and not link.closed and self.dice.random() < 0.7:
            server.acked = server.taken
            self.ack(link, server.acked)

    def take(self, link: FakeLink, put: dict[str, Any], refusals: bool) -> None:
        n, to = put["n"], put["to"]
        if refusals and self.dice.random() < 0.3:
            no = self.dice.sample(to, self.dice.randint(1, len(to)))
            code = self.dice.choice((FULL, MOVED, MOVED, UNKNOWN_USER))
            self.upset.update((a, n) for a in no)
            if code == UNKNOWN_USER:
                self.final.update((a, n) for a in no)
            to = [a for a in to if a not in no]
            if not link.closed:
                self.refuse(link, put["seq"], code, *no)
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


if __name__ == "__main__":
    unittest.main()
