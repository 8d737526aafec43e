"""Recovery: what a manifold has acked is there after kill -9, after damage, and on a full disk.

What kill -9 leaves is what the kernel has been given. So most tests copy the folder of a living
manifold, do to the copy what the title says, and bring up another manifold on it. They drive the
real objects over the real files, without sockets; `tests.system.test_recovery` has real kills.
"""

import contextlib
import functools
import gc
import itertools
import json
import logging
import math
import os
import pathlib
import random
import shutil
import tempfile
import time
import unittest
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar
from unittest import mock

from barker import inbox, outbox
from barker.delivery.duplicates import Duplicates
from barker.disk import files
from barker.disk.journal import Journal
from barker.disk.users import DOGS, PEOPLE, World
from barker.inbox import Inbox
from barker.manifold import reception
from barker.manifold.intake import RECORD_CHUNK
from barker.manifold.timelines import Moving
from barker.outbox import Outbox
from barker.process import peers, slices
from barker.process.node import Node
from barker.process.service import service_parser
from barker.routing.routes import ORDERED, Target
from barker.wire import protocol
from barker.wire.bodies import Bark, encode_bark
from barker.wire.messages import decode, decode_record, encode
from barker.wire.ops import Ack, Item, Put, Refuse, Subscribe
from barker.wire.records import Record, Serials
from tests.tools.fakes import FakeDialer, FakeLink
from tests.tools.fleet import SLOW, run_to_its_end
from tests.tools.inside import (
    Manifold,
    barks_of,
    epoch_of,
    journal_of,
    synced,
    timelines_of,
)
from tests.tools.wireclient import Wire, bark, put, puts

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

AnyManifold = TypeVar("AnyManifold", bound=Manifold)
KINDS: Sequence[type[Manifold]] = (Outbox, Inbox)
Message = dict[str, Any]
ORIGIN = "ab" * 8
OTHER = "cd" * 8


class Peer(FakeLink):
    """A link to a manifold that has no sockets; it numbers what it puts."""

    def __init__(self, name: str = "peer") -> None:
        super().__init__(name)
        self.pongs = self.seq = 0


def row(message: Message) -> tuple[str, Item]:
    """The only entry of a put, as its receiver has it."""
    put_ = decode(Wire.pack([message])[:-1])
    assert isinstance(put_, Put)
    ((to, item),) = zip(put_.to, put_.items(), strict=True)
    return to, item


def ends_of(content: bytes) -> list[int]:
    """Where its records end."""
    return [i + 1 for i, byte in enumerate(content) if byte == 0x0A]


def lines_of(messages: Sequence[Message]) -> Iterator[Put]:
    """The same entries in as few lines as can be: all of a line have one origin."""
    rows = map(row, messages)
    for _, some in itertools.groupby(rows, key=lambda each: (each[1].origin, each[1].old)):
        to, items = zip(*some, strict=True)
        yield Put.of(0, to, items)


class RecoveryTest(unittest.TestCase):
    """Manifolds on files, without sockets."""

    def setUp(self) -> None:
        self.root = self.new_folder()
        self.timers: list[Any] = []
        self.dialers: list[FakeDialer] = []
        self.patch(peers, "Dialer", FakeDialer)
        self.patch(Journal, "sync_from", synced)
        self.patch(slices, "SLICE_S", math.inf)  # however busy the machine is
        self.clock = 0.0
        self.patch(Node, "now", staticmethod(lambda: self.clock))
        self.patch(Node, "later", lambda node, delay_s, work: self.timers.append(work))
        self.links: dict[Node, Peer] = {}
        names = [*PEOPLE, *DOGS, *(f"quiet{i}" for i in range(150))]
        world = World({name: [] for name in names})
        self.patch(files, "world", lambda folder: world)

    def patch(self, where: object, name: str, value: object) -> None:
        self.enterContext(mock.patch.object(where, name, value))

    def small_journals(self, segment_bytes: int, kept_bytes: int) -> None:
        small = functools.partial(Journal, segment_bytes=segment_bytes)
        self.patch(inbox, "Journal", small)
        self.patch(outbox, "Journal", small)
        self.patch(outbox, "KEPT_BYTES", kept_bytes)
        self.patch(inbox, "KEPT_BYTES", kept_bytes)

    def new_folder(self) -> pathlib.Path:
        return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    # --- processes, so to speak ---

    def begin(
        self, kind: type[AnyManifold], root: pathlib.Path | None = None, *argv: str
    ) -> AnyManifold:
        """A manifold that has recovered from its folder and can serve."""
        argv = ("--state", str(root or self.root), *argv)
        manifold = kind(service_parser(kind, "test", "").parse_args(argv))
        manifold.name = kind.__name__.lower()
        manifold.dialers = self.dialers  # type: ignore[union-attr]
        run_to_its_end(manifold.prepare())
        self.addCleanup(journal_of(manifold).close)
        self.links[manifold] = Peer()
        manifold.link_up(self.links[manifold])  # type: ignore[arg-type]
        return manifold

    def inbox(self, *argv: str) -> Inbox:
        return self.begin(Inbox, None, *argv)

    def outbox(self, *argv: str) -> Outbox:
        return self.begin(Outbox, None, *argv)

    def folder(self, manifold: Manifold, root: pathlib.Path | None = None) -> pathlib.Path:
        folder: pathlib.Path = root or manifold.args.state
        return folder / "journal" / manifold.name

    def copy(self, manifold: Manifold) -> pathlib.Path:
        """A state folder with what kill -9 would leave of it now."""
        return self.copy_of(manifold, manifold.args.state)

    def copy_of(self, manifold: Manifold, root: pathlib.Path) -> pathlib.Path:
        other = self.new_folder()
        shutil.copytree(self.folder(manifold, root), self.folder(manifold, other))
        return other

    def again(self, manifold: AnyManifold, *argv: str) -> AnyManifold:
        """Killed and started anew, so to speak."""
        return self.begin(type(manifold), self.copy(manifold), *argv)

    def stopped_and_again(self, manifold: AnyManifold, *argv: str) -> AnyManifold:
        """The same after a stop in good order."""
        journal_of(manifold).close()
        return self.again(manifold, *argv)

    def content(self, manifold: Manifold) -> bytes:
        """Of its only segment."""
        (path,) = self.folder(manifold).glob("*.log")
        return path.read_bytes()

    def on(self, content: bytes, manifold: AnyManifold) -> AnyManifold:
        """Another one on a copy of the folder, in which the only segment has this content."""
        root = self.copy(manifold)
        (path,) = self.folder(manifold, root).glob("*.log")
        path.write_bytes(content)
        return self.begin(type(manifold), root)

    def damaged(self, manifold: AnyManifold, was: bytes, now: bytes) -> AnyManifold:
        """Another one on a copy in which something was replaced; it says so."""
        with self.assertLogs("barker.disk.journal", "WARNING") as logs:
            after = self.on(self.content(manifold).replace(was, now), manifold)
        self.assertIn("damaged", logs.output[0])
        self.epochs(manifold, after)
        return after

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)

    def size(self, manifold: Manifold) -> int:
        return sum(p.stat().st_size for p in self.folder(manifold).glob("*.log"))

    # --- talking to them ---

    def say(
        self, manifold: Manifold, *puts: Message, link: Peer | None = None, heard: bool = True
    ) -> list[Message]:
        """These puts in one read; everything that is said in return.

        The link's peer has `heard` all that was said before.
        """
        link = link or self.links[manifold]
        link.pongs = link.pings if heard else link.pongs
        self.clock += 1.0  # after a pause, so that it is acked at once
        for line in lines_of(puts):
            manifold.on_put(link, line._replace(seq=link.seq + 1))  # type: ignore[arg-type]
            link.seq += len(line.bodies)
        manifold.batch_end(link)  # type: ignore[arg-type]
        return link.take()

    def assertAcked(self, said: list[Message]) -> None:
        self.assertEqual([m["op"] for m in said], ["ack"], said)

    def numbered(self, numbers: Iterable[int], *users: str, **stamp: object) -> list[Message]:
        """Barks of rdl to these users' inboxes; a bark's number is its id, counter and time."""
        to = [f"inbox/{u}" for u in users or ["ark3"]]
        return [
            put(0, to, bark("rdl", str(n), at=n), **{"origin": ORIGIN, "n": n, **stamp})
            for n in numbers
        ]

    def fill(self, manifold: Inbox, numbers: Iterable[int], *users: str, **stamp: object) -> None:
        self.assertAcked(self.say(manifold, *self.numbered(numbers, *users, **stamp)))

    def read(self, manifold: Inbox, user: str = "ark3", **fields: object) -> list[Message]:
        """What a reader gets who subscribes now, without what says that it is subscribed."""
        link = Peer("reader")
        manifold.link_up(link)  # type: ignore[arg-type]
        wish = Subscribe(f"inbox/{user}", history=10**6, window=4096)
        manifold.subscribe(link, wish._replace(**fields))  # type: ignore[arg-type]
        subscribed, *messages = link.take()
        self.assertEqual(subscribed["op"], "subscribed")
        manifold.link_down(link)  # type: ignore[arg-type]
        return messages

    def ids(self, manifold: Inbox, user: str = "ark3", **fields: object) -> list[int]:
        return [int(m["body"]["id"]) for m in self.read(manifold, user, **fields)]

    def served(self, manifold: Manifold, service: str, policy: str, *names: str) -> None:
        """The directory says that these serve it."""
        targets = [Target(name, "127.0.0.1", 9, 1) for name in names]
        manifold.routes.update(service, policy, targets)
        for changed in manifold._watched[service]:
            changed()

    def bizlogic(self, manifold: Outbox, name: str = "biz") -> FakeLink:
        """There is a bizlogic from now on; the link to it."""
        self.served(manifold, "bizlogic", ORDERED, name)
        link = FakeLink(name)
        barks_of(manifold).sender.link_up(link)  # type: ignore[arg-type]
        return link

    def pushed(self, link: FakeLink) -> list[tuple[int, str]]:
        """Counter and id of what came over that link since the last time."""
        return [(p.n, p.item.id) for p in link.take_puts()]

    def settle(self, manifold: Outbox, link: FakeLink, seq: int) -> None:
        """It is acked, and the journal has heard of it."""
        barks_of(manifold).sender.on_ack(link, Ack(seq))  # type: ignore[arg-type]
        self.fire()

    def fan_out(self, manifold: Outbox, receiver: Inbox) -> None:
        """All that the outbox pushes comes to the inbox of ark3."""
        pushed = self.bizlogic(manifold).take_puts()
        puts = [
            put(0, ["inbox/ark3"], json.loads(m.item.body), origin=m.item.origin, n=m.n)
            for m in pushed
        ]
        self.assertAcked(self.say(receiver, *puts))

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for work in timers:
            work()

    def epochs(self, before: Manifold, after: Manifold) -> tuple[str, str]:
        """Those of two starts, which differ whatever was between them."""
        self.assertNotEqual(epoch_of(before), epoch_of(after))
        return epoch_of(before), epoch_of(after)

    def barks(self, *ids: str) -> list[Message]:
        return [put(0, ["outbox/ark3"], bark("ark3", id_)) for id_ in ids]


class OutboxRecovery(RecoveryTest):
    def test_promise_1_what_was_acked_is_pushed_after_a_kill_in_order_before_anything_new(
        self,
    ) -> None:
        """And after a stop in good order."""
        before = self.outbox()
        self.assertAcked(self.say(before, *self.barks("a", "b", "c")))
        self.assertAcked(self.say(before, *self.barks("d")))
        for start in (self.again, self.stopped_and_again):
            after = start(before)
            self.assertAcked(self.say(after, *self.barks("e")))
            pushed = self.bizlogic(after).take_puts()
            self.assertEqual([m.item.id for m in pushed], ["a", "b", "c", "d", "e"])
            # What was stamped keeps its stamp. What is new is stamped in a new epoch, because
            # nobody can say which counters the journal has lost with its end.
            old, new = self.epochs(before, after)
            self.assertEqual([m.item.origin for m in pushed], [old] * 4 + [new])

    def test_promise_1_a_power_cut_at_any_record_costs_nothing_that_is_acked_later(self) -> None:
        """Without --fsync its end is lost; the counters in it were seen, and stay theirs."""
        before, receiver = self.outbox(), self.inbox()
        self.say(before, *self.barks("1", "2", "3", "4"))
        self.fan_out(before, receiver)
        whole, shown = self.content(before), [1, 2, 3, 4]
        for end in [0, *ends_of(whole)]:
            after = self.on(whole[:end], before)
            new = str(100 + end)
            self.assertAcked(self.say(after, *self.barks(new)))
            self.fan_out(after, receiver)
            shown.append(int(new))
            self.assertEqual(self.ids(receiver), shown, end)

    def test_what_was_settled_is_not_pushed_again_and_its_counters_are_not_given_away(self) -> None:
        before = self.outbox()
        self.say(before, *self.barks("a", "b", "c"))
        biz = self.bizlogic(before)
        self.settle(before, biz, 2)
        after = self.again(before)
        self.assertEqual(len(barks_of(after)), 1)
        self.say(after, *self.barks("d"))
        self.assertEqual(self.pushed(self.bizlogic(after)), [(3, "c"), (4, "d")])

    def test_an_ack_that_was_not_noted_yet_costs_a_repetition_and_no_more(self) -> None:
        before = self.outbox()
        self.say(before, *self.barks("a", "b"))
        biz = self.bizlogic(before)
        barks_of(before).sender.on_ack(biz, Ack(1))  # type: ignore[arg-type]
        self.assertEqual(self.pushed(self.bizlogic(self.again(before))), [(1, "a"), (2, "b")])

    def test_all_settled_at_a_clean_stop_leaves_nothing_to_push(self) -> None:
        before = self.outbox()
        self.say(before, *self.barks("a"))
        barks_of(before).sender.on_ack(self.bizlogic(before), Ack(1))  # type: ignore[arg-type]
        run_to_its_end(before.stopping())
        self.assertEqual(self.pushed(self.bizlogic(self.outbox())), [])

    def test_what_was_said_before_the_kill_is_known_after_it(self) -> None:
        before = self.outbox()
        self.say(before, *self.barks("a", "b"))
        after = self.again(before)
        self.assertAcked(self.say(after, *self.barks("b", "a", "c")))
        pushed = self.pushed(self.bizlogic(after))
        self.assertEqual(pushed, [(1, "a"), (2, "b"), (3, "c")])

    def test_what_was_refused_for_good_is_settled(self) -> None:
        before = self.outbox()
        self.say(before, *self.barks("a", "b"))
        biz = self.bizlogic(before)
        refusal = Refuse(1, "bad-message", "no", ["bizlogic"])
        with self.assertLogs("barker", "ERROR"):
            barks_of(before).sender.on_refuse(biz, refusal)  # type: ignore[arg-type]
        self.fire()
        self.assertEqual(self.pushed(self.bizlogic(self.again(before))), [(2, "b")])

    def test_promise_1_what_was_put_off_comes_again_and_is_not_taken_for_settled(self) -> None:
        before = self.outbox()
        self.say(before, *self.barks("a", "b", "c", "d"))
        biz = self.bizlogic(before)
        self.assertEqual(len(self.pushed(biz)), 4)
        refusal = Refuse(1, "full", "later", ["bizlogic"])
        barks_of(before).sender.on_refuse(biz, refusal)  # type: ignore[arg-type]
        for seq, again in ((3, []), (4, [(1, "a")])):  # when all that was sent has an answer
            self.settle(before, biz, seq)
            self.assertEqual((barks_of(before).noted, self.pushed(biz)), (0, again))
            pushed = self.pushed(self.bizlogic(self.again(before)))
            self.assertEqual(pushed[0], (1, "a"))
        self.settle(before, biz, 5)
        self.assertEqual(self.pushed(self.bizlogic(self.again(before))), [])

    def test_counters_of_what_the_disk_has_refused_are_free_again(self) -> None:
        """Behind too wide a hole, an inbox would take what comes late for something long gone."""
        fault = OSError(28, "No space left on device")
        for undone in (True, False):
            with self.subTest(undone=undone), self.quiet():
                self.root = self.new_folder()
                manifold = self.outbox()
                self.assertAcked(self.say(manifold, *self.barks("a", "b")))
                for is_undone in (undone, True, True):
                    with (
                        mock.patch.object(os, "write", side_effect=fault),
                        mock.patch.object(
                            os, "ftruncate", side_effect=None if is_undone else fault
                        ),
                    ):
                        said = self.say(manifold, *self.barks("c", "d", "e"))
                    self.assertEqual([m["op"] for m in said], ["refuse"] * 3 + ["ack"])
                self.assertAcked(self.say(manifold, *self.barks("c", "d")))
                # What may be in the file after all must not share its counter with another.
                first = 3 if undone else 6
                pushed = self.pushed(self.bizlogic(manifold))
                self.assertEqual(pushed, [(1, "a"), (2, "b"), (first, "c"), (first + 1, "d")])

    def test_no_line_is_too_long_for_its_receiver_also_after_a_kill(self) -> None:
        """With its stamp, a line of barks is longer than its outbox was sent it."""
        named = " ".join(f"@u{i:02}" for i in range(56))
        manifold = self.outbox()
        barks = [put(0, ["outbox/ark3"], bark("ark3", f"{i:064}", named)) for i in range(128)]
        (line,) = lines_of(barks)
        self.assertLess(len(encode(line)), protocol.MAX_LINE_BYTES)
        self.assertAcked(self.say(manifold, *barks))
        for each in (manifold, self.again(manifold)):
            pushed = self.pushed(self.bizlogic(each))  # no link takes a line that is too long
            self.assertEqual([n for n, _ in pushed], [*range(1, 129)])

    def test_counters_go_on_behind_what_damage_has_taken(self) -> None:
        before = self.outbox()
        self.say(before, *self.barks("a", "b", "c"))
        self.settle(before, self.bizlogic(before), 3)
        damaged = self.damaged(before, b'"id":"c"', b'"id":"x"')
        self.assertAcked(self.say(damaged, *self.barks("d")))
        after = self.again(damaged)
        self.assertEqual([id_ for _, id_ in self.pushed(self.bizlogic(after))], ["d"])

    def test_a_tail_torn_anywhere_loses_nothing_that_was_acked(self) -> None:
        before = self.outbox()
        self.say(before, *self.barks("a", "b"))
        acked = self.size(before)
        self.say(before, *self.barks("c"))  # the kill comes while this is written
        whole = self.content(before)
        for end in range(acked, len(whole) + 1):
            with self.quiet():
                after = self.on(whole[:end], before)
            ids = [id_ for _, id_ in self.pushed(self.bizlogic(after))]
            self.assertEqual(ids, ["a", "b", "c"] if end == len(whole) else ["a", "b"], end)
            self.epochs(before, after)
            journal_of(after).close()

    def test_damage_in_any_record_costs_that_record_and_the_epoch(self) -> None:
        before = self.outbox()
        ids = ["a", "b", "c", "d"]
        for id_ in ids:
            self.say(before, *self.barks(id_))
        for lost in ids:
            after = self.damaged(before, b'"id":"%b"' % lost.encode(), b'"id":"?"')
            old, new = self.epochs(before, after)
            left = [i for i in ids if i != lost]
            self.say(after, *self.barks("e"))
            pushed = self.bizlogic(after).take_puts()
            self.assertEqual([p.item.id for p in pushed], [*left, "e"])
            self.assertEqual([p.item.origin for p in pushed], [old] * 3 + [new])

    def test_a_record_that_makes_no_sense_is_reported_and_passed_over(self) -> None:
        unstamped = b'{"op":"put","seq":0,"to":["bizlogic"],"bodies":[{}]}'
        unfit = (b"{}", b"[]", b"1", b"nonsense", b'{"op":"put"}', b'{"op":"settled","to":1}')
        for line in (*unfit, unstamped):
            with self.subTest(line):
                before = self.outbox()
                self.say(before, *self.barks("a"))
                journal_of(before).append([line])
                self.say(before, *self.barks("b"))
                with self.quiet():
                    after = self.again(before)
                ids = [id_ for _, id_ in self.pushed(self.bizlogic(after))]
                self.assertEqual(ids, ["a", "b"])
                journal_of(before).close()
                shutil.rmtree(self.folder(before))

    def test_promise_5_the_journal_is_bounded_by_what_is_owed_and_what_may_be_kept(self) -> None:
        self.small_journals(segment_bytes=10_000, kept_bytes=40_000)
        manifold = self.outbox()
        biz = self.bizlogic(manifold)
        dice = random.Random(5)
        said = settled = written = 0
        record = 200
        for _ in range(600):
            count = dice.randint(1, 20)
            ids = [f"b{said + i}" for i in range(count)]
            self.assertAcked(self.say(manifold, *self.barks(*ids)))
            said, written = said + count, written + count * record
            biz.take_puts()
            if dice.random() < 0.6:
                settled = dice.randint(settled, said)
                self.settle(manifold, biz, settled)
            bound = (said - settled) * record + 40_000 + 3 * 10_000
            self.assertLessEqual(self.size(manifold), bound)
        self.assertGreater(written, 10 * 80_000)
        settled = max(settled, said - 7)
        self.settle(manifold, biz, settled)
        left = [id_ for _, id_ in self.pushed(self.bizlogic(self.again(manifold)))]
        self.assertEqual(left, [f"b{i}" for i in range(settled, said)])


class InboxRecovery(RecoveryTest):
    def test_histories_and_serials_are_back_after_a_kill_or_a_stop_in_good_order(self) -> None:
        before = self.inbox()
        self.fill(before, range(1, 31), trace=["my-trace"])
        for start in (self.again, self.stopped_and_again):
            after = start(before)
            entries = timelines_of(after)["inbox/ark3"].entries
            self.assertEqual({entry.trace for entry in entries}, {""})  # nothing is timed twice
            # No serial of an epoch is given twice. A reader of the epoch before gets all there is,
            # since nobody knows what it has, and drops what it knows.
            old, new = self.epochs(before, after)
            for place in (27, 30):
                self.assertEqual(self.ids(after, epoch=old, after=place), list(range(1, 31)))
            self.assertEqual(self.ids(after), list(range(1, 31)))
            self.assertEqual(self.ids(after, history=3), [28, 29, 30])
            self.fill(after, [31])
            (message,) = self.read(after, epoch=new, after=30)
            self.assertEqual((message["serial"], message["epoch"]), (31, new))

    def test_promise_1_a_power_cut_at_any_record_hides_nothing_that_comes_later(self) -> None:
        """Without --fsync its end is lost; a reader has seen it, and misses nothing new."""
        before = self.inbox()
        for n in range(1, 9):
            self.fill(before, [n])
        whole = self.content(before)
        for end in [0, *ends_of(whole)]:
            after = self.on(whole[:end], before)
            self.fill(after, range(101, 120))  # more than were lost, before the reader is back
            shown = self.ids(after, epoch=epoch_of(before), after=8)
            self.assertLessEqual({*range(101, 120)}, {*shown}, end)

    def test_serials_go_on_when_most_of_the_history_is_gone(self) -> None:
        before = self.inbox("--keep", "5")
        self.fill(before, range(1, 31))
        after = self.stopped_and_again(before, "--keep", "5")
        self.fill(after, [31])
        messages = self.read(after, epoch=epoch_of(after), after=27)
        self.assertEqual([m["serial"] for m in messages], [28, 29, 30, 31])

    def test_what_had_come_before_the_kill_is_dropped_after_it(self) -> None:
        before = self.inbox()
        self.fill(before, range(1, 6))
        self.fill(before, [6], "ark3", "rhs")
        after = self.again(before)
        self.fill(after, range(1, 6))  # what an outbox sends again
        self.fill(after, [6], "ark3", "ace", "rhs")  # for those alone who have not had it
        self.fill(after, [5], origin=OTHER, n=1)  # and what a client repeats elsewhere
        shown = [self.ids(after, user) for user in ("ark3", "ace", "rhs")]
        self.assertEqual(shown, [list(range(1, 7)), [6], [6]])

    def test_what_comes_again_after_its_key_has_gone_with_its_segment_is_late(self) -> None:
        self.small_journals(segment_bytes=20_000, kept_bytes=30_000)
        self.patch(reception, "Duplicates", functools.partial(Duplicates, window=50))
        before = self.inbox("--keep", "10")
        for n in range(1, 1001, 10):
            self.fill(before, range(n, n + 10))
        after = self.again(before, "--keep", "10")
        self.assertGreater(next(iter(journal_of(after).segments)), 1)
        self.fill(after, [1, 1000])  # and a key that is still there is known
        shown = {int(m["body"]["id"]): m.get("late") for m in self.read(after)}
        self.assertEqual(shown, {1: True, **dict.fromkeys(range(992, 1001))})

    def test_a_tail_torn_anywhere_loses_nothing_that_was_acked(self) -> None:
        before = self.inbox()
        self.fill(before, [1, 2])
        acked = self.size(before)
        self.fill(before, [3])
        whole = self.content(before)
        for end in range(acked, len(whole) + 1):
            with self.quiet():
                after = self.on(whole[:end], before)
            # The reader has seen 1 and 2; whatever the epoch, it is shown all of the rest.
            shown = {*self.ids(after, epoch=epoch_of(before), after=2)} - {1, 2}
            self.assertEqual(shown, {3} if end == len(whole) else set(), end)
            self.fill(after, [3])
            self.assertEqual(self.ids(after), [1, 2, 3])
            journal_of(after).close()

    def test_a_kill_between_any_two_records_leaves_all_before(self) -> None:
        before = self.inbox()
        for n in range(1, 9):
            self.fill(before, [n], *["ark3", "rhs"][: 1 + n % 2])
        whole = self.content(before)
        header, _, *ends = ends_of(whole)  # serials come before the first
        self.assertEqual(len(ends), 8)
        for count, end in enumerate([header, *ends]):
            after = self.on(whole[:end], before)
            self.assertEqual(self.ids(after), list(range(1, count + 1)))
            self.assertEqual(self.ids(after, "rhs"), list(range(1, count + 1, 2)))

    def test_damage_is_reported_and_readers_get_everything_else_once(self) -> None:
        before = self.inbox()
        for numbers in ([1, 2, 3], [4], [5, 6, 7, 8, 9]):
            self.fill(before, numbers)
        after = self.damaged(before, b'"id":"4"', b'"id":"x"')
        rest = [1, 2, 3, 5, 6, 7, 8, 9]
        self.assertEqual(self.ids(after), rest)
        self.assertEqual(self.ids(after, epoch=epoch_of(before), after=9), rest)
        serials = [m["serial"] for m in self.read(after)]
        self.assertEqual(serials, sorted(set(serials)))
        self.fill(after, [10])
        self.assertEqual(self.ids(after, epoch=epoch_of(after), after=serials[-1]), [10])

    def test_a_counter_that_leaps_is_refused_and_makes_nothing_late(self) -> None:
        manifold = self.inbox()
        self.fill(manifold, [5])
        leap = 5 + reception.MAX_LEAP
        said = self.say(manifold, *self.numbered([leap + 1]))
        self.assertEqual([m["op"] for m in said], ["refuse", "ack"])
        self.assertEqual(said[0]["code"], protocol.BAD_MESSAGE)
        self.fill(manifold, [6])
        self.assertEqual(self.ids(manifold), [5, 6])
        self.assertEqual(manifold.late, 0)
        self.fill(manifold, [leap])  # it may be that all between went to others

    def test_unstamped_barks_keep_their_order_of_counters(self) -> None:
        before = self.inbox()
        one, two, three = (put(0, ["inbox/ark3"], bark("rdl", id_)) for id_ in "123")
        self.assertAcked(self.say(before, one, two))
        after = self.again(before)
        self.assertAcked(self.say(after, three))
        self.assertEqual(self.ids(after), [1, 2, 3])

    def test_what_is_old_does_not_displace_what_is_new_not_even_after_a_restart(self) -> None:
        before = self.inbox("--keep", "5")
        self.fill(before, range(11, 16))
        self.fill(before, range(1, 6), old=True)
        for manifold in (before, self.again(before, "--keep", "5")):
            self.assertEqual(sorted(self.ids(manifold)), [*range(1, 6), *range(11, 16)])

    def test_what_was_handed_over_is_known_when_it_is_handed_over_once_more(self) -> None:
        self.patch(reception, "Duplicates", functools.partial(Duplicates, window=50))
        before = self.inbox()
        self.fill(before, range(500, 600), "rhs")  # the origin is far ahead
        self.fill(before, [1], old=True)
        after = self.again(before)
        self.fill(after, [1], old=True)
        self.assertEqual((self.ids(before), self.ids(after)), ([1], [1]))

    def hand_over(self, manifold: Inbox) -> None:
        """Another one has taken over what is in the inbox of ark3."""
        timeline = timelines_of(manifold)["inbox/ark3"]
        timeline.moving = Moving(timeline)
        with mock.patch.object(manifold._share, "is_ours", lambda address: False):
            manifold._handed_over(timeline.moving)

    def test_what_was_handed_over_is_new_when_it_comes_back(self) -> None:
        before = self.inbox()
        self.fill(before, range(1, 6))
        self.hand_over(before)
        for manifold in (self.again(before), self.stopped_and_again(before)):
            self.assertEqual(self.ids(manifold), [])
            self.fill(manifold, range(1, 6), old=True)
            self.assertEqual(self.ids(manifold), list(range(1, 6)))
            # And is known from then on, also if an outbox says it again.
            self.fill(manifold, range(1, 6))
            self.assertEqual(self.ids(manifold), list(range(1, 6)))

    def test_what_was_handed_over_is_no_gap(self) -> None:
        before = self.inbox()
        self.fill(before, range(1, 6))
        self.hand_over(before)
        after = self.stopped_and_again(before)
        self.fill(after, [6])
        for place in (0, 3, 5):  # the new owner has what came behind it
            said = self.read(after, epoch=epoch_of(after), after=place)
            self.assertEqual([(m["op"], m.get("serial")) for m in said], [("message", 6)])

    def test_nothing_that_anybody_may_say_keeps_it_from_starting_again(self) -> None:
        self.small_journals(segment_bytes=3000, kept_bytes=3000)
        before = self.inbox("--keep", "3")
        odd = [
            b'"x":"\\ud800"',
            b'"x":1e999',
            b'"x":-0.0,"x":1E2',
            b'"x":' + b"9" * 4000,
            b'"x":"' + b"\\u0000" * 50 + b'"',
            b'"x":' + b"[" * 500 + b"]" * 500,
            b'"x":' + b'{"y":' * 300 + b"1" + b"}" * 300,
        ]
        link = self.links[before]
        taken = []
        for n, extra in enumerate(odd, start=1):
            body = b'{"id":"%d","user":"rdl","content":"x","at":1,%b}' % (n, extra)
            item = Item(body, ORIGIN, n, "rdl", str(n), 1)
            line = encode(Put.of(n, ["inbox/ark3"], [item]))
            for form in (line, line.replace(b',"to"', b', "to"')):
                with contextlib.suppress(protocol.ProtocolError):
                    message = decode(form)
                    assert isinstance(message, Put)
                    link.seq += 1
                    before.on_put(link, message._replace(seq=link.seq))  # type: ignore[arg-type]
            before.batch_end(link)  # type: ignore[arg-type]
            if not [m for m in link.take() if m["op"] == "refuse"]:
                taken.append(n)
        # All quiet now: while others go on, that timeline is written anew.
        for n in range(1000, 1100):
            self.fill(before, [n], "rhs")
        with self.assertNoLogs("barker", "WARNING"):
            after = self.stopped_and_again(before, "--keep", "3")
        for said in (now := self.read(after)) + (then := self.read(before)):
            del said["epoch"]
        self.assertEqual(now, then)
        self.assertTrue(taken)

    # --- room on disk ---

    def test_promise_5_the_journal_is_bounded_by_a_multiple_of_what_is_retained(self) -> None:
        kept, segment, keep = 60_000, 10_000, 20
        self.small_journals(segment_bytes=segment, kept_bytes=kept)
        manifold = self.inbox("--keep", str(keep))
        quiet = [f"quiet{i}" for i in range(150)]
        n = 0
        for user in quiet:  # each pins a segment of its own time
            for _ in range(3):
                n += 1
                self.fill(manifold, [n], user)
        peak = 0
        for _ in range(400):
            self.fill(manifold, range(n + 1, n + 21), "ark3", "rhs")
            n += 20
            peak = max(peak, self.size(manifold))
        retained = (150 * 3 + 2 * keep) * 300
        self.assertGreater(n * 250, 3 * peak)
        self.assertLess(peak, kept + 3 * retained + 3 * segment)
        after = self.again(manifold, "--keep", str(keep))
        for i, user in enumerate(quiet):
            self.assertEqual(self.ids(after, user), [3 * i + 1, 3 * i + 2, 3 * i + 3])
        self.assertEqual(self.ids(after), list(range(n - keep + 1, n + 1)))
        last = self.read(manifold, "quiet0")[-1]["serial"]
        self.assertEqual(self.read(after, "quiet0")[-1]["serial"], last)

    def test_promise_1_a_large_batch_is_whole_although_the_journal_is_cleaned_meanwhile(
        self,
    ) -> None:
        self.small_journals(segment_bytes=30_000, kept_bytes=20_000)
        manifold = self.inbox("--keep", "20")
        for batch in range(12):
            numbers = range(300 * batch + 1, 300 * batch + 301)
            # The last ten of each batch are for another timeline, one that pins segments.
            puts = self.numbered(numbers[:-10]) + self.numbered(numbers[-10:], "rhs")
            self.assertAcked(self.say(manifold, *puts))
            after = self.again(manifold, "--keep", "20")
            for user in ("ark3", "rhs"):
                mine, theirs = (
                    [(m["serial"], m["body"]) for m in self.read(m, user)]
                    for m in (after, manifold)
                )
                self.assertEqual(mine, theirs)

    def test_promise_5_large_barks_are_not_written_anew_for_ever(self) -> None:
        self.small_journals(segment_bytes=50_000, kept_bytes=100_000)
        manifold = self.inbox("--keep", "20")
        users = [f"u{i}" for i in range(40)]
        text = "\N{DOG FACE}" * 280
        written = 0
        append = journal_of(manifold).append

        def counted(lines: Sequence[bytes]) -> int:
            nonlocal written
            written += sum(map(len, lines))
            return append(lines)

        journal_of(manifold).append = counted  # type: ignore[method-assign]
        n = 0

        def go_on(count: int) -> int:
            nonlocal n
            came = 0
            for _ in range(count):
                n += 1
                body = bark("rdl", str(n), text, n)
                message = put(0, [f"inbox/{users[n % 40]}"], body, origin=ORIGIN, n=n)
                came += len(json.dumps(body, ensure_ascii=False).encode())
                self.assertAcked(self.say(manifold, message))
            return came

        go_on(40 * 20)  # every timeline is full
        before = written
        came = go_on(1000)
        self.assertLess(written - before, 5 * came)
        self.assertLess(self.size(manifold), 100_000 + 3 * 40 * 20 * 3500)

    def test_an_emptied_timeline_does_not_give_its_serials_away_again(self) -> None:
        self.small_journals(segment_bytes=3000, kept_bytes=6000)
        before = self.inbox("--keep", "0")
        self.fill(before, range(1, 6), "ark3")
        for n in range(1000, 1200):
            self.fill(before, [n], "rhs")
        after = self.again(before, "--keep", "0")
        self.assertEqual(timelines_of(after)["inbox/ark3"].last, 5)

    def test_a_disk_that_fills_up_while_it_is_cleaned_loses_nothing(self) -> None:
        self.small_journals(segment_bytes=5000, kept_bytes=5000)
        before = self.inbox("--keep", "5")
        quiet = [f"quiet{i}" for i in range(30)]
        for n, user in enumerate(quiet, start=1):
            self.fill(before, [n], user)
        dice = random.Random(3)
        real = os.write

        def write(file: int, data: bytes) -> int:
            if dice.random() < 0.3:
                raise OSError(28, "No space left on device")
            return real(file, data)

        kept = []
        with mock.patch.object(os, "write", write), self.quiet():
            for n in range(100, 500):
                *refusals, ack = self.say(before, *self.numbered([n], "rhs"))
                self.assertEqual(
                    (ack["op"], {m["code"] for m in refusals} - {"full"}), ("ack", set())
                )
                kept += [] if refusals else [n]
        after = self.again(before, "--keep", "5")
        self.assertEqual(journal_of(after).damages, 0)
        self.assertEqual(self.ids(after, "rhs"), kept[-5:])
        for n, user in enumerate(quiet, start=1):
            self.assertEqual(self.ids(after, user), [n])


class ManyInOneRecord(RecoveryTest):
    """A batch is a few records, each of many puts."""

    def records(self, manifold: Manifold) -> list[list[Record]]:
        """Of each segment."""
        return [
            [decode_record(line.partition(b" ")[2]) for line in path.read_bytes().splitlines()]
            for path in sorted(self.folder(manifold).glob("*.log"))
        ]

    def test_a_line_is_as_many_records_as_it_has_chunks(self) -> None:
        manifold, outbox_ = self.inbox(), self.outbox()
        self.fill(manifold, range(1, 2 * RECORD_CHUNK + 2), "ark3", "rhs")
        self.assertAcked(self.say(outbox_, *self.barks(*map(str, range(RECORD_CHUNK + 1)))))
        for kept, sizes in ((manifold, [128, 128, 1]), (outbox_, [128, 1])):
            (records,) = self.records(kept)
            self.assertEqual([len(r.bodies) for r in records if isinstance(r, Put)], sizes)

    def test_before_what_a_segment_has_first_for_a_timeline_is_its_serial(self) -> None:
        self.small_journals(segment_bytes=2000, kept_bytes=10**6)
        manifold = self.inbox()
        dice = random.Random(1)
        n = 0
        for _ in range(40):
            users_ = dice.sample(("ark3", "rhs", "ace"), dice.randint(1, 3))
            count = dice.randint(1, 4)
            self.fill(manifold, range(n + 1, n + count + 1), *users_)
            n += count
        segments = self.records(manifold)
        self.assertGreater(len(segments), 5)
        last: dict[str, int] = {}
        for records in segments:
            begun: dict[str, int] = {}
            for record in records:
                if isinstance(record, Serials):
                    self.assertFalse(record.serials.keys() & begun.keys())
                    begun |= record.serials
                    self.assertEqual(begun, {a: last.get(a, 0) for a in begun})
                elif isinstance(record, Put):
                    for address in " ".join(record.entries()).split(" "):
                        self.assertIn(address, begun)
                        last[address] = begun[address] = last.get(address, 0) + 1
        timelines = timelines_of(manifold).items()
        self.assertEqual(last, {address: timeline.last for address, timeline in timelines})

    def test_a_record_torn_anywhere_takes_none_of_those_before_it(self) -> None:
        before = self.inbox()
        self.fill(before, range(1, 301))
        whole = self.content(before)
        ends = ends_of(whole)
        self.assertEqual(len(ends), 5)  # a header, serials, and three of the batch
        dice = random.Random(2)
        cuts = [*ends, *(end - 1 for end in ends[1:]), *dice.sample(range(ends[0], ends[-1]), 12)]
        for cut in cuts:
            with self.quiet():
                after = self.on(whole[:cut], before)
            whole_records = max(0, sum(end <= cut for end in ends) - 2)
            kept = [0, 128, 256, 300][whole_records]
            self.assertEqual(self.ids(after), list(range(1, kept + 1)), cut)
            self.epochs(before, after)
            self.fill(after, range(1, 301))  # what was never acked comes again
            self.assertEqual(self.ids(after), list(range(1, 301)), cut)
            journal_of(after).close()

    def test_damage_in_a_record_of_many_costs_all_of_it_and_the_epoch(self) -> None:
        before = self.inbox()
        self.fill(before, range(1, 301))
        after = self.damaged(before, b'"id":"130"', b'"id":"xxx"')
        self.assertEqual(self.ids(after), [*range(1, 129), *range(257, 301)])
        serials = [m["serial"] for m in self.read(after)]
        self.assertEqual(serials, list(range(serials[0], serials[0] + 172)))

    def test_an_outbox_pushes_only_what_is_not_settled_of_a_record(self) -> None:
        before = self.outbox()
        ids = [str(i) for i in range(1, 301)]
        self.assertAcked(self.say(before, *self.barks(*ids)))
        biz = self.bizlogic(before)
        for seq in (1, 127, 128, 129, 299):
            self.settle(before, biz, seq)
            pushed = self.pushed(self.bizlogic(self.again(before)))
            self.assertEqual(pushed, [(n, str(n)) for n in range(seq + 1, 301)])

    def test_promise_1_whatever_is_put_in_whatever_batches_is_there_after_a_kill(self) -> None:
        for seed in range(5 if SLOW else 1):
            with self.subTest(seed=seed):
                self.root = self.new_folder()
                self.run_with(random.Random(seed))

    def run_with(self, dice: random.Random) -> None:
        self.small_journals(dice.choice((1000, 5000, 10**6)), dice.choice((3000, 10**6)))
        names = ["ark3", "rhs", "ace", "rdl"]
        keep = str(dice.choice((3, 20, 800)))
        manifold = self.inbox("--keep", keep)
        counters = dict.fromkeys((ORIGIN, OTHER), 0)
        fault = OSError(28, "No space left on device")
        for batch in range(60):
            puts = []
            for i in range(dice.choice((1, 1, 5, 40, 300))):
                body = bark(dice.choice(names), f"{batch}-{i}", at=dice.randrange(10**6))
                to = [f"inbox/{u}" for u in dice.sample(names, dice.randint(1, 4))]
                origin = dice.choice((None, ORIGIN, ORIGIN, OTHER))
                stamp: Message = {}
                if origin:
                    counters[origin] += 1
                    stamp = {"origin": origin, "n": counters[origin]}
                    if dice.random() < 0.1:
                        stamp["old"] = True
                puts.append(put(0, to, body, **stamp))
            if dice.random() < 0.1:
                with mock.patch.object(journal_of(manifold), "append", side_effect=fault):
                    said = self.say(manifold, *puts)
                self.assertEqual({m["op"] for m in said}, {"refuse", "ack"})
            else:
                self.assertAcked(self.say(manifold, *puts))
            if batch % 10 == 9 or dice.random() < 0.1:
                after = self.again(manifold, "--keep", keep)
                self.epochs(manifold, after)
                for name in names:
                    got, expected = self.read(after, name), self.read(manifold, name)
                    for message in (*got, *expected):
                        # What came before is not always there any more to say so.
                        message.pop("late", None)
                        del message["epoch"]
                    self.assertEqual(got, expected)
                journal_of(after).close()


class TurnedOff(RecoveryTest):
    def test_without_a_journal_nothing_is_written_and_every_start_is_a_new_epoch(self) -> None:
        before = self.inbox("--no-journal")
        self.fill(before, [1, 2])
        after = self.inbox("--no-journal")
        self.epochs(before, after)
        self.assertEqual((self.ids(before), self.ids(after)), ([1, 2], []))
        self.assertFalse((self.root / "journal").exists())

    def test_without_fsync_nothing_waits_for_the_disk(self) -> None:
        manifold = self.inbox()
        with mock.patch.object(os, "fsync", side_effect=AssertionError):
            self.fill(manifold, [1])


class Speed(RecoveryTest):
    """Recovery takes so many microseconds a bark, however many there are."""

    def seconds(self, kind: type[AnyManifold], count: int) -> float:
        root = self.new_folder()
        folder = root / "journal" / kind.__name__.lower()
        journal = Journal(folder)
        list(journal.recover())
        journal.begin(lambda: {"n": 0, "settled": 0, "highest": {}})
        users = [f"user{i}" for i in range(100)]
        last = dict.fromkeys((f"inbox/{user}" for user in users), 0)
        recorded_in = dict.fromkeys(last, 0)
        for first in range(1, count + 1, 125):
            items, to = [], []
            for n in range(first, first + 125):
                user, id_ = users[n % 100], f"{n:024x}"
                body = encode_bark(Bark(id_, user, "Woof. " * 10, n))
                items.append(Item(body, journal.epoch, n, user, id_, n))
                if kind is Outbox:
                    to.append("bizlogic")
                else:
                    to.append(" ".join(f"inbox/{users[(n + k) % 100]}" for k in range(10)))
            lines = [encode(Put.of(0, to, items))]
            if kind is Inbox:
                segment = journal.rotate_if_full()
                addresses = " ".join(to).split(" ")
                new = {a: last[a] for a in addresses if recorded_in[a] != segment}
                lines[:0] = [encode(Serials(new))] if new else []
                recorded_in.update(dict.fromkeys(new, segment))
                for address in addresses:
                    last[address] += 1
            journal.append(lines)
        journal.close()
        gc.collect()  # what an earlier recovery left is not this one's work
        begun = time.process_time()
        manifold = self.begin(kind, root)
        took = time.process_time() - begun
        if isinstance(manifold, Outbox):
            self.assertEqual(len(barks_of(manifold)), count)
        elif isinstance(manifold, Inbox):
            self.assertEqual({a: t.last for a, t in timelines_of(manifold).items()}, last)
        journal_of(manifold).close()
        self.links.clear()
        shutil.rmtree(root)
        root.mkdir()
        return took

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: measures times")
    def test_recovery_is_linear(self) -> None:
        counts = (25_000, 50_000, 100_000) if SLOW else (4_000, 16_000)
        for kind in KINDS:
            with self.subTest(kind.__name__):
                took = [self.seconds(kind, count) for count in counts]
                per_bark = [t / c for t, c in zip(took, counts, strict=True)]
                self.assertLess(per_bark[-1], 2.5 * per_bark[0])


class NonsenseTest(RecoveryTest):
    """A record is sound, and its content is not: it is reported, skipped, and never fatal later."""

    GOOD: Sequence[Message] = (
        {"op": "segment", "epoch": ORIGIN, "n": 3, "highest": {OTHER: 3}, "serial": 3},
        {"op": "settled", "to": "bizlogic", "n": 1},
        {"op": "serials", "serials": {"inbox/ark3": 3}},
        {
            "op": "timeline",
            "address": "inbox/ark3",
            "last": 3,
            "origins": [OTHER],
            "n": [3],
            "bodies": [bark("rdl", "old")],
        },
        {"op": "change", "serial": 3, "body": {"kind": "join", "user": "x"}},
        puts(1, [["inbox/ark3"]], [bark("rdl", "old")], origin=OTHER, n=[3]),
        puts(1, [["bizlogic"]], [bark("rdl", "old")], origin=OTHER, n=[3]),
    )
    WRONG: tuple[Any, ...] = (None, -1, 2**53 - 1, "x", [], {OTHER: 2**53 - 1})

    def assertHarmless(self, kind: type[AnyManifold], said: Message) -> None:
        root = self.new_folder()
        journal = Journal(root / "journal" / kind.__name__.lower())
        list(journal.recover())
        journal.begin(dict)
        journal.append([Wire.pack([said])[:-1]])
        journal.close()
        manifold = self.begin(kind, root)
        peer = self.links[manifold]
        to = "inbox/ark3" if kind is Inbox else "outbox/rdl"
        stamp = {"origin": ORIGIN, "n": 5} if kind is Inbox else {}
        self.assertAcked(self.say(manifold, put(0, [to], bark("rdl", "new"), **stamp)))
        if kind is Inbox:
            manifold.subscribe(peer, Subscribe("inbox/ark3", history=9))  # type: ignore[arg-type]
            told = [m for m in peer.take() if m["op"] == "message"]
            self.assertEqual(told[-1]["body"]["id"], "new", said)
        self.fire()
        manifold.gauges()
        journal_of(manifold).close()
        journal_of(self.begin(kind, root)).close()

    def test_a_wrong_value_in_any_field_of_any_record(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        for kind in (Inbox, Outbox):
            for good in self.GOOD:
                for name in good:
                    for value in self.WRONG:
                        with self.subTest(
                            kind=kind.__name__, op=good["op"], field=name, value=value
                        ):
                            self.assertHarmless(kind, {**good, name: value})

    def test_it_is_reported(self) -> None:
        for wrong in ({"last": None}, {"last": 2**53 - 1}, {"n": [2**53 - 1]}):
            with self.assertLogs("barker", "WARNING") as logs:
                self.assertHarmless(Inbox, {**self.GOOD[3], **wrong})
            self.assertIn("makes no sense", "".join(logs.output))
