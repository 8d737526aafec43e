"""The sender: whatever links, routes and peers do, every entry is settled once and in its order.

The edge is faked: a node that dials nobody, links that keep what they are sent, and servers that
answer when they are told to. Routes, windows and messages are the real ones.
"""

import contextlib
import math
import random
import re
import unittest
from collections import Counter, deque
from collections.abc import Sequence
from unittest import mock

from barker.delivery import batches, lanes, placing
from barker.delivery.batches import MAX_BATCH_BYTES, Batch
from barker.delivery.lanes import SEND_CHUNK
from barker.delivery.sender import Sender, report_refusal
from barker.delivery.window import Window
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
CODES = {"full": FULL, "moved": MOVED, "never": UNKNOWN_USER}


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
    together = False  # what is put at once is one batch

    def setUp(self) -> None:
        self.enterContext(mock.patch.object(peers, "Dialer", FakeDialer))
        self.begin()

    def begin(self) -> None:
        self.node = FakeNode()
        self.links: dict[str, FakeLink] = {}
        self.jobs: list[FakeJob] = []
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

    def put(self, *to: str, item: Item = ITEM) -> None:
        self.jobs.append(FakeJob(*to))
        self.sender.put(" ".join(to), item, self.jobs[-1])

    def ack(self, link: FakeLink, seq: int) -> None:
        self.sender.handlers[Ack](link, Ack(seq))  # type: ignore[arg-type]

    def refuse(self, link: FakeLink, seq: int, code: str, *addresses: str) -> None:
        refusal = Refuse(seq, code, "because", addresses)
        self.sender.handlers[Refuse](link, refusal)  # type: ignore[arg-type]

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

    def assertSaid(self, link: FakeLink, *numbers: int) -> None:
        """What it was sent since the last time: counters."""
        self.assertEqual([p.n for p in link.take_puts()], [*numbers])
        self.assertEqual(link.flushed, len(link.lines))

    def assertDone(self, *jobs: FakeJob) -> None:
        self.assertEqual([job.settled for job in jobs], [Counter(job.to) for job in jobs])

    # --- stories: steps with a semicolon or a line between them ---

    @property
    def names(self) -> dict[str, str]:
        """What a story calls addresses: "a2" is the second one that "a" owns."""
        return {"it": "bizlogic"}

    def play(self, story: str) -> None:
        for step in re.split(r"[;\n]", story):
            try:
                self.do(*step.split())
            except Exception as fault:
                fault.add_note(f"in the step: {step.strip()}")
                raise

    def do(self, verb: str = "", *words: str) -> None:
        addresses = [[self.names[n] for n in w.split("+") if n in self.names] for w in words]
        numbers = [int(word) for word in words if word.isdecimal()]
        link = self.links.get(words[0], FakeLink()) if words else FakeLink()
        match verb:
            case "route":
                self.route(*words)
            case "up":  # the second word is what the story calls the link
                self.links[words[-1]] = self.up(words[0])
            case "down":
                self.down(link)
            case "busy" | "free":
                link.room = 0 if verb == "busy" else math.inf
            case "put":  # to these addresses, entries with these counters
                for item in items_of(*numbers):
                    self.put(*addresses[0], item=item)
                    if not self.together:
                        self.sender.pump()
                self.sender.pump()
            case "ack":
                self.ack(link, *numbers)
            case "full" | "moved" | "never":  # the link refuses from the first number to the last
                for seq in range(numbers[0], numbers[-1] + 1):
                    self.refuse(link, seq, CODES[verb], *addresses[-1])
            case "fire":
                self.node.fire()
            case "void":
                for job in self.jobs:
                    job.void = True
            case "forget":
                self.sender.forget_void()
            case "gets":  # counters; or after "at", numbers and counters
                got = link.take_puts()
                if "at" in words:
                    self.assertEqual(
                        [sent.seq for sent in got], [*range(numbers.pop(0), 1 + got[-1].seq)]
                    )
                self.assertEqual([sent.n for sent in got], numbers)
                self.assertEqual(link.flushed, len(link.lines))
            case "reads":  # addresses
                self.assertEqual([[*sent.addresses] for sent in link.take_puts()], addresses[1:])
            case "closed":
                self.assertTrue(link.closed)
            case "holds":  # so many entries
                self.assertEqual([len(self.sender)], numbers)
            case "pending":  # by job, addresses without an answer
                self.assertEqual([job.pending for job in self.jobs], numbers)
            case "timers":
                self.assertEqual([len(self.node.timers)], numbers)
            case "oldest":  # jobs, by the order in which they were put
                self.assertEqual(sorted(map(self.jobs.index, self.oldest())), numbers)
            case "done":
                self.assertDone(*self.jobs)
                self.assertEqual(len(self.sender), 0)
            case _:
                self.assertEqual(verb, "")


class OrderedTest(SenderCase):
    service = "bizlogic"
    policy = ORDERED

    def test_puts_wait_until_there_is_a_route_and_a_link(self) -> None:
        self.play("put it 1; route a b; put it 2; holds 2; up a; gets a at 1 1 2; holds 2")
        self.assertEqual(self.sender.unacked, 2)
        self.play("ack a 2; done")

    def test_many_at_once_are_what_they_would_be_one_by_one(self) -> None:
        def put_all(*numbers: int) -> None:
            put = Put.of(0, ["outbox/x"], items_of(*numbers))
            to = ["bizlogic"] * len(numbers)
            self.jobs += [FakeJob(*to), *(FakeJob("bizlogic") for _ in numbers)]
            self.sender.put_all(put, to, self.jobs[-len(to) - 1])
            self.sender.add(Batch.of(put._replace(to=to), self.jobs[-len(to) :]))
            self.sender.pump()

        put_all(1, 2, 3)  # no instance serves it yet
        self.play("put it 4; route a; up a")
        put_all(5, 6)
        self.play("""gets a at 1 1 2 3 1 2 3 4 5 6 5 6; holds 11
            ack a 2; pending 1 1 1 1 1 2 1 1; ack a 11; done""")

    def test_a_service_that_nobody_serves_yet_keeps_the_order_of_its_puts(self) -> None:
        def no_policy() -> None:  # what a directory says that knows none
            self.node.told("bizlogic", CONSISTENT, [])

        no_policy()
        self.play("put it 1 2; route a; put it 3; up a; gets a at 1 1 2 3; down a")
        no_policy()
        self.play("put it 4; route b; put it 5; up b; gets b at 1 1 2 3 4 5; ack b 5; done")

    def test_all_goes_to_the_first_and_nothing_to_the_spare(self) -> None:
        self.play("route a b; up b; up a; put it 1 2; gets a at 1 1 2; gets b")

    def test_the_spare_is_sent_all_that_is_unacked_in_order_before_anything_new(self) -> None:
        self.play("""route a b; up a; up b; put it 1 2 3 4; ack a 2; down a
            put it 5; gets b at 1 3 4 5""")
        self.assertEqual(self.sender.gauges()["again"], 2)  # 3 and 4
        self.play("ack b 3; done; down b")
        self.assertEqual(self.sender.gauges()["again"], 2)  # nothing was on its way

    def test_one_that_comes_back_is_the_first_again_and_the_spare_is_abandoned(self) -> None:
        self.play("route a b; up b; put it 1 2; up a; closed b; gets a at 1 1 2")
        self.play("ack b 2; never b 1 it; pending 1 1")  # what it says now is settled otherwise
        self.play("ack a 2; done; down b; up b; gets b")
        self.assertEqual(self.jobs[0].refusals, [])

    def test_a_link_that_went_down_late_takes_nothing_with_it(self) -> None:
        self.play("""route a; up a old; put it 1; up a; closed old; gets a at 1 1
            down old; put it 2; gets a at 2 2""")

    def test_a_first_one_that_leaves_is_abandoned_although_its_link_is_up(self) -> None:
        self.play("route a b; up a; up b; put it 1; route b; closed a; gets b at 1 1")
        self.assertEqual([d.expect for d in self.node.dialers], ["b"])

    def test_a_place_that_changed_is_dialled_anew(self) -> None:
        self.play("route a; up a")
        before = self.node.dialers[0]
        self.node.told(self.service, self.policy, [target("a")._replace(port=1)])
        self.assertEqual([d.place for d in self.node.dialers], [("127.0.0.1", 1)])
        self.assertIsNot(self.node.dialers[0], before)
        self.assertEqual(self.sender.peers, {})

    def test_a_route_that_changes_nothing_for_us_sends_nothing_again(self) -> None:
        self.play("""route a; up a; put it 1 2; gets a at 1 1 2
            route a b; up b; put it 3; gets a at 3 3""")

    def test_no_more_than_the_window_is_sent_and_acks_open_it(self) -> None:
        self.play("route a; up a")
        count = protocol.UNACKED_WINDOW + 3
        for _ in range(count):
            self.put("bizlogic")
        self.assertEqual(len(self.sender), count)
        self.sender.pump()
        for acked, more in ((0, protocol.UNACKED_WINDOW), (2, 0), (3, 3)):  # a batch goes whole
            self.ack(self.links["a"], acked)
            self.assertEqual(len(self.links["a"].take_puts()), more)
        self.assertDone(*self.jobs[:3])
        self.assertEqual(len(self.sender), count - 3)

    def test_a_busy_link_is_sent_nothing_until_it_says_something(self) -> None:
        self.play("""route a; up a; put it 1; busy a; put it 2; gets a at 1 1
            free a; ack a 1; gets a at 2 2""")

    def test_an_ack_or_refusal_of_what_was_never_sent_is_a_protocol_error(self) -> None:
        self.play("route a; up a; put it 1")
        for step in ("ack a 2", "moved a 2 it", "full a 2 it", f"ack a {2**53 - 1}"):
            self.assertRaises(ProtocolError, self.play, step)
        self.play("pending 1; ack a 1; ack a 1; ack a 0; done")

    def test_what_is_settled_and_not_known_to_its_owner_ends_the_process(self) -> None:
        self.play("route a; up a; put it 1 2")
        with (
            mock.patch.object(FakeNode, "fail", create=True) as fail,
            mock.patch.object(FakeJob, "settle", side_effect=MemoryError),
        ):
            for times, step in enumerate(("never a 1 it", "ack a 2"), 1):
                self.play(step)
                self.assertEqual(fail.call_count, times)

    def test_a_queue_that_waited_for_room_is_in_order_and_its_first_is_the_oldest(self) -> None:
        self.play("""route a; up a; put it 1 2 3 4 5; full a 1 5 it; ack a 5; fire; put it 6
            gets a 1 2 3 4 5 1 2 3 4 5 6; oldest 0; ack a 11; done""")

    def test_promise_5_a_long_queue_of_which_nothing_can_be_void_is_not_looked_through(
        self,
    ) -> None:
        push = Push(self.node, "bizlogic", self.changed, lambda *_: None)  # type: ignore[arg-type]
        put = Put.of(0, ["x"], items_of(1))
        push.add(put, 1, put_tail(put))
        self.sender = push.sender  # type: ignore[assignment]
        with mock.patch.object(Window, "discard_waiting", side_effect=AssertionError):
            self.play("route a; up a; gets a 1; down a; route; route b; up b; gets b 1")

    def test_what_nobody_waits_for_any_more_is_forgotten(self) -> None:
        # One has no route, one waits for a link, one is on its way, and is to be sent again.
        self.play("""put it 1; route a; put it 2; up a; put it 3; gets a at 1 1 2 3; full a 3 it
            void; down a; forget; fire; put it 4; up a; gets a at 1 4; holds 1""")

    def test_what_is_void_is_forgotten_though_it_is_in_no_batch_yet(self) -> None:
        self.put("bizlogic")
        self.play("void; forget; holds 0")

    def test_what_is_void_does_not_wait_for_a_route_for_ever(self) -> None:
        # bizlogic without any inbox: outboxes come, bring their window, and go, again and again.
        self.play("put it 1 2 3; void; put it 4; forget; holds 1")


class ConsistentCase(SenderCase):
    """Two owners, with links."""

    def setUp(self) -> None:
        super().setUp()
        self.called: dict[str, str] = {}
        self.play("route a b; up a; up b")
        self.called |= {f"{x}{n}": a for x in "ab" for n, a in enumerate(self.owned(x, 3), 1)}

    @property
    def names(self) -> dict[str, str]:
        return self.called


class ConsistentTest(ConsistentCase):
    def test_one_put_for_each_owner_with_all_its_addresses(self) -> None:
        # The second time it remembers the split.
        self.play("""put a1+b1+a2 1 2; pending 3 3; reads a a1+a2 a1+a2; reads b b1 b1
            ack a 2; pending 1 1; ack b 2; done""")

    def test_a_put_names_no_more_addresses_than_the_protocol_allows(self) -> None:
        addresses = self.owned("a", protocol.MAX_ADDRESSES + 1)
        self.put(*addresses)
        self.sender.pump()
        got = [list(m.addresses) for m in self.links["a"].take_puts()]
        self.assertEqual(got, [addresses[:-1], addresses[-1:]])
        self.play("ack a 2; done")

    def test_promise_5_the_ways_of_so_many_addresses_are_remembered(self) -> None:
        with mock.patch.object(placing, "REMEMBERED_ADDRESSES", 20):
            for i in range(100):
                self.put(f"inbox/x{i}", f"inbox/y{i}")
                self.assertLess(len(self.sender._placing._pieces), 10)

    def test_a_dead_owner_is_waited_for_and_nobody_else_is_asked(self) -> None:
        self.play("put a1 1; down a; put a1 2; up a; gets a at 1 1 2; gets b; ack a 2; done")

    def test_what_was_sent_stays_with_a_living_owner_when_the_ring_changes(self) -> None:
        for address in self.owned("a", 40):
            self.put(address)
        self.play("fire; put a1 1; holds 41; route a b c; up c; gets c")
        self.assertEqual(self.sender.unacked, 41)
        self.play("ack a 41; done")

    def put_to_forty(self) -> list[str]:
        """To addresses of "a", twice."""
        addresses = self.owned("a", 40)
        for item in items_of(1, 2):
            for address in addresses:
                self.put(address, item=item)
                self.sender.pump()
        return addresses

    def assertShares(self, addresses: Sequence[str], *names: str) -> None:
        """Each has got what is its own, in order."""
        for name in names:
            mine = [x for x in addresses if x in self.owned(name, 400)]
            self.assertTrue(mine)
            got = self.links[name].take_puts()
            expected = [(x, n) for n in (1, 2) for x in mine]
            self.assertEqual([(m.addresses[0], m.n) for m in got], expected)
            self.ack(self.links[name], got[-1].seq)
        self.assertDone(*self.jobs)

    def test_what_was_not_sent_is_placed_anew_when_the_ring_changes_in_order(self) -> None:
        self.play("down a")
        addresses = self.put_to_forty()
        self.play("route a b c; up c; up a")
        self.assertShares(addresses, "a", "c")

    def test_when_the_ring_gives_it_to_another_while_it_waits_that_one_is_asked(self) -> None:
        addresses = self.put_to_forty()
        got = self.links["a"].take_puts()
        for sent in got:
            self.refuse(self.links["a"], sent.seq, FULL, *sent.addresses)
        self.play("ack a 80; route a b c; up c; holds 80; fire")
        self.assertShares(addresses, "a", "c")

    def test_what_a_gone_target_held_goes_to_the_new_owner_in_order(self) -> None:
        self.play("""put a1 1 2 3; ack a 1; busy a; put a1 4; route b; closed a; gets b 2 3 4
            ack b 3; done""")

    def test_without_any_target_puts_wait_and_count(self) -> None:
        self.play("""put a1+b1 1; route; put a1+b1 2; holds 3; route c; up c; pending 2 2
            ack c 3; done""")

    def test_what_was_moved_is_asked_again_at_its_new_owner_and_counts_once(self) -> None:
        self.play("""put a1+a2 1; moved a 1 a2; pending 2; timers 1; ack a 1; pending 1
            route b; fire; reads b a2; ack b 1; done""")

    def test_what_was_refused_as_full_is_asked_again_as_often_as_it_takes(self) -> None:
        self.play("put a1 1; put a2 2")
        for seq, last in ((1, 2), (3, 3), (4, 4)):
            self.play(f"full a {seq} a1; timers 1; ack a {last}; pending 1 0; fire")
        self.play("gets a 1 2 1 1 1; timers 0; ack a 5; done")

    def test_one_timer_asks_again_for_all_that_was_refused_meanwhile(self) -> None:
        self.play("""put a1 1 2; full a 1 a1; moved a 2 a1; timers 1; holds 2; ack a 2; fire
            timers 0; ack a 4; done""")

    def test_a_refusal_that_nothing_follows_from_is_one_line_in_the_log(self) -> None:
        one = Batch.of(Put.of(0, ["inbox/a"], [ITEM]), [""])
        with self.assertLogs("barker", "ERROR") as logs:
            report_refusal(one, Refuse(1, UNKNOWN_USER, "because", ["inbox/a"]))
        words = "refused for good by inbox/a: because (unknown-user)"
        self.assertEqual([record.getMessage() for record in logs.records], [words])

    def test_only_what_was_asked_can_be_asked_again(self) -> None:
        self.play("put a1+a2 1; moved a 1 a2+a3; fire; reads a a1+a2 a2; ack a 2; done")

    def test_it_counts_whom_it_has_reached_and_shows_what_is_oldest(self) -> None:
        self.play("""put a1 1 2; put a2 3; oldest 0; full a 1 a1; oldest 0
            never a 2 a1; ack a 3""")
        self.assertEqual(self.sender.reached, 1)
        self.play("fire; ack a 4; done; oldest")
        self.assertEqual(self.sender.reached, 2)

    def test_a_final_refusal_is_told_once_and_never_asked_again(self) -> None:
        self.play("put a1 1; never a 1 a1; never a 1 a1; ack a 1; done; timers 0")
        self.assertEqual(self.jobs[0].refusals, [(UNKNOWN_USER, "because", (self.names["a1"],))])

    def test_what_has_moved_behind_newer_ones_is_among_the_oldest(self) -> None:
        self.play("put a1 1 2; moved a 1 a1; oldest 0 1; fire; oldest 0 1; ack a 2; oldest 0")

    def test_what_is_void_is_forgotten_while_it_waits_for_room(self) -> None:
        self.play("put a1 1; void; put a1 2; full a 1 2 a1; ack a 2; forget; holds 1; fire")
        self.play("gets a 1 2 2")

    def test_what_is_void_in_a_batch_that_is_divided_is_left_out(self) -> None:
        self.together = True
        self.play("route")
        for name, item in zip(("b1", "a1", "a2"), items_of(1, 2, 3), strict=True):
            self.put(self.names[name], item=item)
        self.jobs[0].void = True
        self.play("fire; put a1 4; route a b; holds 3; up a; gets a 2 3 4")

    def test_what_moves_of_a_batch_leaves_the_rest_in_its_order(self) -> None:
        once = {*self.owned("a", 40)}
        self.play("down a; route a b c")
        now = {name: next(x for x in self.owned(name, 99) if x in once) for name in "ac"}
        self.play("route a b")
        for item, name in zip(items_of(1, 1, 2, 3), "acac", strict=True):
            self.put(now[name], item=item)
            if item.n > 1 or name == "c":  # the first two are one batch
                self.sender.pump()
        self.play("route a b c; up a; gets a 1 2; ack a 2; up c; gets c 1 3; ack c 2; done")

    def test_an_ack_of_what_was_all_refused_opens_the_window(self) -> None:
        with mock.patch.object(protocol, "UNACKED_WINDOW", 2):
            self.play("""route; route a b; up a; put a1 1 2; moved a 1 2 a1; ack a 2; fire
                gets a at 1 1 2 1 2; ack a 4; done""")

    def test_its_owner_is_told_when_links_routes_or_what_was_deferred_have_changed(self) -> None:
        for step in ("down b", "route a", "put a1 1; moved a 1 a1; fire"):
            before = self.changes
            self.play(step)
            self.assertEqual(self.changes, before + 1)

    def test_a_void_job_is_not_asked_again(self) -> None:
        self.play("""put a1 1; full a 1 a1; ack a 1; void; fire; gets a 1; holds 0
            put a1 2; moved a 2 a1; ack a 2; void; fire; gets a 2; holds 0""")


class LinesTest(SenderCase):
    """How many entries make one line."""

    def setUp(self) -> None:
        super().setUp()
        self.route("a")
        self.a = self.up("a")

    def sent(self, *items: Item, addresses: Sequence[str] = ("inbox/ark3",)) -> list[int]:
        """How many entries are in each line, if these are put at once."""
        for item in items:
            self.put(*addresses, item=item)
        self.sender.pump()
        return self.counts(items, addresses)

    def counts(self, items: Sequence[Item], addresses: Sequence[str]) -> list[int]:
        """How many entries are in each line that has come; they are these, and are acked."""
        lines: list[Put] = list(map(decode, self.a.lines))  # type: ignore[arg-type]
        got = self.a.take_puts()
        self.assertEqual([sent.item for sent in got], list(items))
        for sent in got:
            self.assertEqual(list(sent.addresses), list(addresses))
        self.a.lines.clear()
        self.ack(self.a, got[-1].seq)
        self.assertDone(*self.jobs)
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
        for to in ([first], [second, third], [first]):
            self.put(*to)
        self.sender.pump()
        self.assertEqual(len(self.a.lines), 1)
        self.assertEqual([job.to for job in self.jobs], [s.addresses for s in self.a.take_puts()])

    def test_a_line_has_so_many_entries_or_bytes_and_is_at_least_half_full(self) -> None:
        self.assertEqual(self.sent(*items_of(*range(300))), [SEND_CHUNK, SEND_CHUNK, 44])
        body = strictjson.dumps({"a": "x" * 1000})
        items = [stamped("a" * 16, n, body) for n in range(100)]
        counts, to = self.sent(*items), ["inbox/ark3"]
        most = MAX_BATCH_BYTES // len(body)
        self.assertTrue(all(most // 2 - 1 <= count <= most for count in counts), counts)
        self.jobs = [FakeJob(*to * 100)]  # and so if all is one job
        self.sender.put_all(Put.of(0, ["x"], items), to * 100, self.jobs[0])
        self.sender.pump()
        self.assertEqual(self.counts(items, to), counts)

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
            self.assertEqual((len(push), set(map(push.waiting_of, push.authors))), (0, {0}))
            self.assertEqual(push.oldest_n(129), 129)

    def test_no_line_is_too_long_whatever_is_in_it(self) -> None:
        """`FakeLink.send` compares each line with the limit."""

        def largest(body: bytes, old: bool) -> Item:
            names = " ".join([f"u{i:02}" for i in range(70)])  # of a bark with nothing but names
            who = ("u" * 20, "i" * 64, protocol.MAX_COUNT)
            return Item(body, "f" * 64, protocol.MAX_NUMBER, *who, names, old)

        large = strictjson.dumps({"a": "x" * (protocol.MAX_BODY_BYTES - 8)})
        self.assertEqual(len(large), protocol.MAX_BODY_BYTES)
        many = [f"{'a' * 20}/{i:03}{'b' * 61}" for i in range(protocol.MAX_ADDRESSES)]
        for body in (large, b"{}"):
            for addresses in (many, many[:1], many[:60]):
                for old in (False, True):
                    items = [largest(body, old)] * 20
                    self.assertEqual(sum(self.sent(*items, addresses=addresses)), 20)
                self.assertEqual(sum(self.sent(*[Item(body)] * 20, addresses=addresses)), 20)
        for to in (many, many[::-1]):  # each of the two fills a line
            self.put(*to, item=largest(b"{}", True))
        self.sender.pump()
        self.assertEqual(len(self.a.lines), 2)
        self.a.lines.clear()
        self.ack(self.a, self.a.take_puts()[-1].seq)
        dice = random.Random(1)
        for _ in range(100 if SLOW else 30):
            loads = [
                dice.choice((largest(body, True), Item(body)))
                for body in dice.choices((large, b"{}", strictjson.dumps({"a": "x" * 6000})), k=20)
            ]
            self.sent(*loads, addresses=many[: dice.choice((1, 3, 200, 500))])


class FullTest(ConsistentCase):
    """A receiver that is full refuses all that comes behind, until we can have heard of it."""

    def test_nothing_overtakes_what_is_to_be_sent_again(self) -> None:
        self.play("""put a1 1 2 3 4; gets a 1 2 3 4; full a 2 a1; put a1 5; full a 3 4 a1; gets a
            ack a 4; put a1 6; gets a; holds 5; pending 0 1 1 1 1 1
            fire; gets a 2 3 4 5 6; ack a 9; done""")

    def test_it_waits_for_the_answers_to_all_that_is_on_the_way(self) -> None:
        self.play("put a1 1 2 3; gets a 1 2 3; full a 1 a1" + 3 * "; fire; gets a; timers 1")
        self.play("full a 2 3 a1; ack a 3; fire; gets a 1 2 3; timers 0; ack a 6; done")

    def test_it_is_put_off_in_order_as_often_as_it_takes(self) -> None:
        self.play("""put a1 1 2 3; gets a 1 2 3; full a 1 3 a1; ack a 3; put a1 4
            fire; gets a 1 2 3 4; full a 4 7 a1; ack a 7; put a1 5
            fire; gets a 1 2 3 4 5; full a 8 12 a1; ack a 12; put a1 6
            fire; gets a 1 2 3 4 5 6; ack a 18; done""")

    def test_what_was_taken_of_it_meanwhile_is_not_sent_again(self) -> None:
        self.play("""put a1 1 2 3; full a 1 3 a1; ack a 3; fire; gets a 1 2 3 1 2 3; ack a 4
            full a 5 6 a1; ack a 6; fire; gets a 2 3; ack a 8; done""")

    def test_one_lane_that_waits_holds_up_no_other(self) -> None:
        self.play("""put a1 1; put b1 2; full a 1 a1; ack a 1; put a1 3; put b1 4
            gets a 1; gets b 2 4; ack b 2; fire; gets a 1 3; ack a 3; done""")

    def test_one_timer_looks_after_all_lanes_that_wait(self) -> None:
        # At first, b may go, and a not yet.
        self.play("""put a1 1 2; put b1 3; full a 1 a1; full b 1 b1; ack b 1; timers 1
            fire; gets b 3 3; gets a 1 2; timers 1; full a 2 a1; ack a 2
            fire; gets a 1 2; ack a 4; ack b 2; done""")

    def test_only_for_the_addresses_that_were_refused(self) -> None:
        self.play("put a1+a2 1; full a 1 a2; ack a 1; fire; reads a a1+a2 a2; ack a 2; done")

    def test_refusals_may_come_in_any_order(self) -> None:
        # An outbox's queue is full for the third, and then its disk for the first two.
        self.play("""put a1 1 2 3; full a 3 a1; full a 1 2 a1; ack a 3; fire; gets a 1 2 3 1 2 3
            ack a 6; done""")

    def test_a_new_link_gets_it_at_once_in_order_before_anything_newer(self) -> None:
        # The timer of the old link changes nothing.
        self.play("""put a1 1 2 3; full a 1 2 a1; ack a 2; put a1 4; down a; put a1 5
            up a; gets a 1 2 3 4 5; fire; gets a; ack a 5; done""")

    def test_what_was_sent_before_a_refusal_stays_before_it_when_the_link_breaks(self) -> None:
        self.play("put a1 1 2 3; full a 2 a1; down a; up a; gets a 1 2 3; ack a 3; done")

    def test_when_its_owner_leaves_the_ring_the_next_one_gets_it_in_order(self) -> None:
        self.play("""put a1 1 2 3; full a 1 3 a1; ack a 3; put a1 4; route b; gets b 1 2 3 4
            fire; gets b; ack b 4; done""")

    def test_without_any_target_it_waits_with_all_others(self) -> None:
        self.play("""put a1 1 2; full a 1 2 a1; ack a 2; route; fire; put a1 3; holds 3
            route c; up c; gets c 1 2 3; ack c 3; done""")

    def test_it_counts_and_is_among_the_oldest_while_it_waits(self) -> None:
        self.play("put a1 1 2 3; full a 1 2 a1; ack a 2; holds 3")
        self.assertIn(self.jobs[0], self.oldest())
        self.play("ack a 3; fire; put a1 4; holds 3")
        self.assertIs(self.oldest()[0], self.jobs[0])

    def test_what_has_moved_does_not_keep_a_lane_waiting(self) -> None:
        self.play("""put a1 1; gets a 1; moved a 1 a1; put a2 2; gets a 2; ack a 2
            fire; gets a 1; ack a 3; done""")


class FullBatchTest(FullTest):
    """The same, where all that is put at once is one batch."""

    together = True


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
        self.readers = (
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
        self.said: list[tuple[str, ...]] = []  # by counter, to which addresses
        self.servers: list[Server] = []  # of links that are up, or whose end is not known yet
        # For each address: which owner it has, for the how manieth time; and for each put the
        # period it was put in. A put that was first taken in that same period has kept its owner.
        self.period = dict.fromkeys(self.readers, 0)
        self.put_in: dict[tuple[str, int], int] = {}
        self.first: dict[str, dict[int, int]] = {a: {} for a in self.readers}
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
            to = tuple(self.dice.sample(self.readers, self.dice.randint(1, len(self.readers))))
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
        before = {a: self.node.routes.choose(a) for a in self.readers}
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
