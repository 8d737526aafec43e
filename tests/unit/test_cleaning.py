"""Cleaning: a journal is a multiple of what is needed, whatever waits, and however many starts.

Without sockets, over real files; `tests.system.test_disk` has real processes and more bytes.
"""

import errno
import functools
import os
import pathlib
import random
import shutil
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any
from unittest import mock

from barker import followers
from barker.disk import journal as journals
from barker.disk import segments
from barker.disk.journal import SEGMENT_BYTES, Journal
from barker.disk.nojournal import AnyJournal
from barker.disk.users import DOGS, PEOPLE
from barker.followers import Followers
from barker.inbox import Inbox
from barker.manifold import cleaning, owed, retained, timelines
from barker.manifold.cleaning import WORK_AT_ONCE, Cleaner, Needed
from barker.outbox import Outbox
from barker.wire.bodies import FOLLOW, UNFOLLOW
from barker.wire.ops import Ack, Refuse
from tests.tools.fakes import FakeLink
from tests.tools.fleet import DEADLINE_S, SLOW
from tests.tools.inside import (
    barks_of,
    events_of,
    journal_of,
    parking_of,
    people_of,
    timelines_of,
)
from tests.unit.test_follow import OutboxTest, event
from tests.unit.test_recovery import Message
from tests.unit.test_segments import release

SEGMENT = 5000
KEPT = 20_000
BLOCK = 128
SYNC_FROM = Journal.sync_from


class SmallDisk:
    """A disk with room for so many bytes in files below a folder. Each has whole blocks."""

    def __init__(self, folder: pathlib.Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self.others = 0  # what others have on it
        self._write = os.write

    @property
    def free(self) -> int:
        taken = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return max(0, self.size - self.others - taken)

    def write(self, file: int, data: bytes) -> int:
        begins = os.lseek(file, 0, os.SEEK_CUR)
        block = -(-os.fstat(file).st_size // BLOCK) * BLOCK
        if begins + len(data) > block and len(data) > self.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(file, data)

    def usage(self, folder: object) -> Any:
        return mock.Mock(free=self.free)


class CleaningTest(OutboxTest):
    def setUp(self) -> None:
        super().setUp()
        self.small_journals(segment_bytes=SEGMENT, kept_bytes=KEPT)

    def on_a_disk_of(self, size: int) -> SmallDisk:
        disk = SmallDisk(self.root, size)
        self.patch(os, "write", disk.write)
        self.patch(shutil, "disk_usage", disk.usage)
        self.patch(journals, "MIN_SEGMENT_BYTES", 500)
        return disk

    def restarted(self, manifold: Any, *argv: str) -> Any:
        """Killed and started anew in its own folder."""
        journal_of(manifold).close()
        return self.begin(type(manifold), self.root, *argv)

    def events(self, *numbers: int) -> list[Message]:
        return [event(FOLLOW, f"e{n}", "rdl", at=n) for n in numbers]


class Starts(CleaningTest):
    def test_a_start_costs_no_segment_for_ever(self) -> None:
        manifold = self.inbox("--keep", "5")
        n = 0
        for _ in range(40):
            n += 1
            self.fill(manifold, [n])
            manifold = self.restarted(manifold, "--keep", "5")
        for _ in range(40):
            n += 10
            self.fill(manifold, range(n - 9, n + 1))
        self.assertLess(self.size(manifold), KEPT + 3 * SEGMENT)
        self.assertEqual(self.ids(self.again(manifold, "--keep", "5")), [*range(n - 4, n + 1)])

    def test_starts_with_nothing_to_do_leave_a_bounded_number_of_files(self) -> None:
        self.small_journals(segment_bytes=64_000, kept_bytes=32_000)
        for kind in (Inbox, Outbox):
            manifold = self.begin(kind, self.root)
            for _ in range(150):
                manifold = self.restarted(manifold)
            # Each counts as at least so much.
            self.assertLess(len(journal_of(manifold).segments), 32_000 / 500 + 3)

    def test_what_many_starts_have_left_is_written_anew_in_one_go(self) -> None:
        manifold = self.inbox("--keep", "5")
        self.fill(manifold, [1], *(f"quiet{i}" for i in range(20)))
        for _ in range(15):
            manifold = self.restarted(manifold, "--keep", "5")
        with mock.patch.object(retained, "record_of", wraps=timelines.record_of) as record_of:
            for n in range(100, 350):
                self.fill(manifold, [n])
        self.assertGreater(min(journal_of(manifold).segments), 16)
        copied = [call.args[0] for call in record_of.call_args_list]
        self.assertLess(copied.count("inbox/quiet0"), 5)


class Queues(CleaningTest):
    """What waits for one service does not pin what goes to the other."""

    def bark_on(self, manifold: Outbox, count: int, link: FakeLink, first: int = 1) -> None:
        """Barks come, and are settled."""
        for n in range(first, first + count, 5):
            ids = [f"b{i}" for i in range(n, n + 5)]
            self.assertAcked(self.say(manifold, *self.barks(*ids)))
            self.settle(manifold, link, n + 4 - first + 1)

    def test_one_event_pins_no_segments_of_barks(self) -> None:
        manifold = self.told()
        self.assertAcked(self.say(manifold, *self.events(1)))
        self.bark_on(manifold, 1000, self.bizlogic(manifold))
        self.assertAcked(self.say(manifold, *self.events(2)))
        self.assertLess(self.size(manifold), KEPT + 3 * SEGMENT)
        for after in (manifold, self.again(manifold)):
            self.assertEqual(self.pushed(self.followers(after)), [(1, "e1"), (2, "e2")])
        self.assertEqual(self.pushed(self.bizlogic(self.again(manifold))), [])

    def test_one_bark_pins_no_segments_of_events(self) -> None:
        manifold = self.told()
        self.assertAcked(self.say(manifold, *self.barks("b1")))
        link = self.followers(manifold)
        for n in range(1, 1001):
            self.assertAcked(self.say(manifold, *self.events(n)))
            events_of(manifold).sender.on_ack(link, Ack(n))  # type: ignore[arg-type]
            self.fire()
        self.assertAcked(self.say(manifold, *self.barks("b2")))
        self.assertLess(self.size(manifold), KEPT + 3 * SEGMENT)
        for after in (manifold, self.again(manifold)):
            self.assertEqual(self.pushed(self.bizlogic(after)), [(1, "b1"), (2, "b2")])
        self.assertEqual(self.pushed(self.followers(self.again(manifold))), [])

    def test_a_dead_letter_that_waits_for_the_disk_pins_nothing_behind_it(self) -> None:
        manifold = self.told()
        letters = parking_of(manifold).letters
        self.patch(type(letters), "park", mock.Mock(side_effect=OSError(28, "no room")))
        self.assertAcked(self.say(manifold, *self.barks("a", "refused", "c")))
        biz = self.bizlogic(manifold)
        with self.quiet():
            refusal = Refuse(2, "bad-message", "no", ["bizlogic"])
            barks_of(manifold).sender.on_refuse(biz, refusal)  # type: ignore[arg-type]
            self.settle(manifold, biz, 3)
            for n in range(4, 1004):
                self.assertAcked(self.say(manifold, *self.barks(f"b{n}")))
                self.settle(manifold, biz, n)
        self.assertLess(self.size(manifold), KEPT + 3 * SEGMENT)
        self.assertEqual(self.pushed(self.bizlogic(self.again(manifold)))[0], (2, "refused"))

    def test_a_long_queue_alone_is_not_written_anew(self) -> None:
        manifold = self.told()
        with mock.patch.object(journal_of(manifold), "copy") as copy:
            for n in range(1000):
                self.assertAcked(self.say(manifold, *self.barks(f"b{n}")))
        copy.assert_not_called()

    def test_what_was_written_anew_is_pushed_in_order_and_once(self) -> None:
        """Whenever it is killed: also between a copy and the end of what it is a copy of."""
        self.patch(owed, "COPIED_AT_ONCE", 4)
        self.patch(cleaning, "WORK_AT_ONCE", 5)
        dice = random.Random(7)
        for _ in range(4 if SLOW else 1):
            self.root = self.new_folder()
            manifold = self.told()
            biz, said, settled, events = self.bizlogic(manifold), 0, 0, 0
            for _ in range(150):
                if dice.random() < 0.2:
                    events += 1
                    self.assertAcked(self.say(manifold, *self.events(events)))
                count = dice.randint(1, 9)
                ids = [f"b{n}" for n in range(said + 1, said + count + 1)]
                said += count
                self.assertAcked(self.say(manifold, *self.barks(*ids)))
                if dice.random() < 0.6:
                    settled = dice.randint(settled, said)
                    self.settle(manifold, biz, settled)
                    settled = max(settled, 0)
                if dice.random() < 0.5:
                    continue
                after = self.again(manifold)
                waiting = [(n, f"e{n}") for n in range(1, events + 1)]
                self.assertEqual(self.pushed(self.followers(after)), waiting)
                waiting = [(n, f"b{n}") for n in range(settled + 1, said + 1)]
                self.assertEqual(self.pushed(self.bizlogic(after)), waiting)
                journal_of(after).close()
            self.assertGreater(min(journal_of(manifold).segments), 3)


class Timelines(CleaningTest):
    def setUp(self) -> None:
        super().setUp()
        self.patch(retained, "COPIED_AT_ONCE", 4)
        self.patch(retained, "LOOKED_AT_ONCE", 3)
        self.patch(cleaning, "WORK_AT_ONCE", 5)

    def assertSame(self, after: Inbox, before: Inbox) -> None:
        """Every timeline has the same entries, with the same serials."""
        theirs, ours = timelines_of(after), timelines_of(before)
        self.assertEqual(theirs.keys(), ours.keys())
        for address, timeline in ours.items():
            again = theirs[address]
            self.assertEqual(
                (again.last, [entry.body for entry in again.entries]),
                (timeline.last, [entry.body for entry in timeline.entries]),
                address,
            )

    def test_promise_1_a_kill_between_any_two_slices_leaves_all_timelines(self) -> None:
        """Long ones are in several records, between which they grow, move on, or are let go."""
        dice = random.Random(11)
        copies = 0
        for _ in range(4 if SLOW else 1):
            self.root = self.new_folder()
            manifold = self.inbox("--keep", "30")
            n = 0
            names = ["ark3", "rhs", *(f"quiet{i}" for i in range(8))]
            with mock.patch.object(retained, "record_of", wraps=timelines.record_of) as record_of:
                for _ in range(250):
                    count = dice.choice((1, 1, 2, 15))
                    n += count
                    # Rarely for one of the later names, so that old segments are needed by them.
                    users = {dice.choice(names[:2]), dice.choice(names)} - {""}
                    some = users if dice.random() < 0.4 else {"ark3"}
                    self.fill(manifold, range(n - count + 1, n + 1), *some)
                    if dice.random() < 0.02:
                        self.let_go(manifold, dice.choice([*timelines_of(manifold)]))
                    if dice.random() < 0.5:
                        after = self.again(manifold, "--keep", "30")
                        self.assertSame(after, manifold)
                        journal_of(after).close()
            copies += sum(call.args[4:] not in ((), (0,)) for call in record_of.call_args_list)
            self.assertGreater(min(journal_of(manifold).segments), 3)
        self.assertGreater(copies, 20, "long timelines are written anew")

    def test_promise_1_what_comes_to_a_timeline_or_ends_it_between_its_records(self) -> None:
        for happens in ("grows", "is let go", "is let go and grows"):
            self.root = self.new_folder()
            manifold = self.inbox("--keep", "30")
            self.fill(manifold, range(1, 21), "rhs")
            begun, n, done = False, 100, 0
            real = journal_of(manifold).copy

            def copy(lines: Sequence[bytes], real: Any = real) -> int:
                nonlocal begun
                begun = begun or b'"address":"inbox/rhs"' in lines[0]
                return int(real(lines))

            expected = [*range(1, 21)]
            with mock.patch.object(journal_of(manifold), "copy", copy):
                while not begun or min(journal_of(manifold).segments) == 1:
                    n += 5
                    self.fill(manifold, range(n, n + 5))
                    if not begun:
                        continue
                    if not done and "let go" in happens:
                        self.let_go(manifold, "inbox/rhs")
                        expected = []
                    if "grows" in happens and done < 3:
                        self.fill(manifold, [10_000 + n], "rhs")
                        expected.append(10_000 + n)
                    done += 1
                    after = self.again(manifold, "--keep", "30")
                    self.assertSame(after, manifold)
                    self.assertEqual(self.ids(manifold, "rhs"), expected)
                    journal_of(after).close()
            self.assertGreater(done, 1)

    def let_go(self, manifold: Inbox, address: str) -> None:
        timeline = timelines_of(manifold)[address]
        with mock.patch.object(manifold._share, "is_ours", lambda address: False):
            manifold._handed_over(timeline.begin_to_move())

    def test_a_long_timeline_costs_no_long_turn(self) -> None:
        manifold = self.inbox("--keep", "2000")
        self.fill(manifold, range(1, 1001), "rhs")
        written: list[int] = []
        real = journal_of(manifold).copy

        def counted(lines: Sequence[bytes]) -> int:
            written.append(sum(map(len, lines)))
            return real(lines)

        with mock.patch.object(journal_of(manifold), "copy") as copy:
            copy.side_effect = counted
            for n in range(2001, 7000):
                before = len(written)
                self.fill(manifold, [n])
                self.assertLessEqual(len(written) - before, 5)
                if n % 500 == 0:
                    manifold._store.timelines["inbox/ark3"].restore(n, ())
        self.assertGreater(len(written), 200)
        self.assertLess(max(written), 4000)
        self.assertEqual(self.ids(self.again(manifold, "--keep", "2000"), "rhs")[0], 1)


class SmallDisks(CleaningTest):
    def test_the_floor_yields_to_what_the_disk_has(self) -> None:
        self.small_journals(segment_bytes=8_000_000, kept_bytes=32_000_000)
        disk = self.on_a_disk_of(60_000)
        inbox, outbox = self.inbox("--keep", "5"), self.outbox()
        biz = self.bizlogic(outbox)
        for n in range(1, 1201):
            self.fill(inbox, [n])
            self.assertAcked(self.say(outbox, *self.barks(str(n))))
            self.settle(outbox, biz, n)
            self.assertGreater(disk.free, 5000)
        self.assertEqual(self.ids(self.again(inbox, "--keep", "5")), [*range(1196, 1201)])

    def test_a_disk_that_others_have_filled_is_freed_of_what_is_not_needed(self) -> None:
        self.small_journals(segment_bytes=5000, kept_bytes=32_000_000)
        disk = self.on_a_disk_of(1_000_000)
        manifold = self.inbox("--keep", "5")
        for n in range(1, 501):
            self.fill(manifold, [n])
        kept = [*range(1, 501)]
        for start in (False, True):
            taken = self.size(manifold)
            disk.others += disk.free - 10
            with self.quiet():
                if start:
                    manifold = self.restarted(manifold, "--keep", "5")
                for n in range(kept[-1] + 1, kept[-1] + 20):
                    if self.say(manifold, *self.numbered([n]))[0]["op"] == "ack":
                        kept.append(n)
                        break
                else:
                    self.fail("it stands still")
            self.assertLess(self.size(manifold), taken)
            self.assertEqual(self.ids(self.again(manifold, "--keep", "5")), kept[-5:])

    def test_a_full_disk_is_named_once(self) -> None:
        disk = self.on_a_disk_of(200_000)
        manifold = self.inbox()
        with self.assertLogs("barker.disk.journal") as logs:
            for n in range(1, 2000):
                self.say(manifold, *self.numbered([n], *(f"quiet{i}" for i in range(n % 100))))
        self.assertLess(disk.free, 10_000)
        self.assertLess(len(logs.output), 5, logs.output)


class Volume(CleaningTest):
    """Many bytes and many starts, kills among them, of each service that has a journal.

    On disk is at most what is kept, twice what is retained, and two segments. A followers service
    has a third copy while it writes a snapshot.
    """

    STARTS = 100 if SLOW else 10
    SEGMENT = SEGMENT_BYTES if SLOW else 64 * 1024
    KEPT = cleaning.KEPT_BYTES if SLOW else 4 * SEGMENT
    BYTES = 500 * 1024 * 1024 if SLOW else 30 * SEGMENT
    BODY_BYTES = 7600 if SLOW else 500
    PUTS = 5 if SLOW else 10

    def setUp(self) -> None:
        super().setUp()
        self.small_journals(self.SEGMENT, self.KEPT)
        small = functools.partial(Journal, segment_bytes=self.SEGMENT)
        self.patch(followers, "Journal", small)
        self.patch(followers, "ROOM_BYTES", self.SEGMENT)
        self.filler = "x" * self.BODY_BYTES
        self.peak = 0

    def run_with(
        self, manifold: Any, batch: Callable[[Any, int], list[Message]], *argv: str
    ) -> Any:
        """`batch` makes what is put the nth time, and returns what comes back."""
        batches = self.BYTES // (self.PUTS * self.BODY_BYTES)
        starts = {batches * start // self.STARTS for start in range(self.STARTS)}
        for n in range(batches):
            self.assertAcked(batch(manifold, n))
            if n % 20 == 0 or n in starts:
                self.peak = max(self.peak, self.taken(manifold))
            if n in starts:
                if n % 2:
                    manifold = self.restarted(manifold, *argv)
                else:
                    release(journal_of(manifold))  # type: ignore[arg-type]
                    manifold = self.begin(type(manifold), self.root, *argv)
        return manifold

    def taken(self, manifold: Any) -> int:
        """Whole blocks of the disk."""
        return sum(512 * path.stat().st_blocks for path in self.folder(manifold).iterdir())

    def test_an_inbox(self) -> None:
        argv = ("--keep", "50")
        manifold = self.inbox(*argv)
        quiet = [f"quiet{i}" for i in range(150)]

        def batch(inbox: Inbox, n: int) -> list[Message]:
            users = ["ark3", "rhs"]
            if n < len(quiet):
                users.append(quiet[n])
            numbered = self.numbered(range(self.PUTS * n, self.PUTS * (n + 1)), *users)
            for message in numbered:
                message["bodies"][0]["x"] = self.filler
            return self.say(inbox, *numbered)

        manifold = self.run_with(manifold, batch, *argv)
        entries = sum(len(t.entries) for t in timelines_of(manifold).values())
        retained_bytes = entries * (self.BODY_BYTES + 200)
        self.assertLess(self.peak, self.KEPT + 2 * retained_bytes + 2 * self.SEGMENT)
        for n, user in enumerate(quiet):
            self.assertEqual(self.ids(manifold, user), [*range(self.PUTS * n, self.PUTS * (n + 1))])

    def test_an_outbox_without_a_followers_service(self) -> None:
        manifold = self.told()
        waiting: list[str] = []
        link = self.bizlogic(manifold)

        def batch(outbox: Outbox, n: int) -> list[Message]:
            nonlocal link
            if not barks_of(outbox).sender.peers:
                people_of(outbox).complete = True
                link = self.bizlogic(outbox)
            link.take_puts()
            puts = self.barks(*(f"{n}-{i}" for i in range(self.PUTS)))
            for message in puts:
                message["bodies"][0]["x"] = self.filler
            if n % 50 == 0:
                waiting.append(f"e{n}")
                puts.append(event(FOLLOW, f"e{n}", "rdl", at=n))
            said = self.say(outbox, *puts)
            barks_of(outbox).sender.on_ack(link, Ack(link.puts[-1].seq))  # type: ignore[arg-type]
            link.puts.clear()
            link.lines.clear()
            link.sent.clear()
            self.fire()
            return said

        manifold = self.run_with(manifold, batch)
        owed_bytes = len(waiting) * 300
        self.assertLess(self.peak, self.KEPT + 2 * owed_bytes + 2 * self.SEGMENT)
        self.assertEqual([id_ for _, id_ in self.pushed(self.followers(manifold))], waiting)

    def test_a_followers_service(self) -> None:
        manifold = self.begin(Followers, self.root)  # type: ignore[type-var]
        users = [*PEOPLE, *DOGS]
        dice = random.Random(4)

        def batch(service: Any, n: int) -> list[Message]:
            events = []
            for i in range(self.PUTS):
                user, whom = dice.sample(users, 2)
                kind = dice.choice((FOLLOW, UNFOLLOW))
                message = event(kind, f"{n}-{i}", whom, user, at=self.PUTS * n + i)
                message["to"] = ["followers"]
                message["bodies"][0]["x"] = self.filler
                events.append(message)
            return self.say(service, *events)

        manifold = self.run_with(manifold, batch)
        snapshot = sum(len(piece) for piece, _ in manifold.graph.pieces())
        self.assertLess(self.peak, 3 * snapshot + 2 * self.SEGMENT + 20_000)
        again = self.restarted(manifold)
        for user in users:
            self.assertEqual(
                sorted(again.graph.follows(user)), sorted(manifold.graph.follows(user))
            )


class Owner:
    """Tells what is needed, as the test has it; it notes what it is to write anew."""

    def __init__(self, size: int, oldest: int = 0) -> None:
        self.is_needed = Needed(size, oldest)
        self.rewritten: list[int] = []
        self.copy = b""

    def needed(self, journal: AnyJournal) -> Generator[int, None, Needed]:
        yield 1
        return self.is_needed

    def rewrite(self, journal: AnyJournal, last: int) -> Iterator[int]:
        self.rewritten.append(last)
        if self.copy:
            journal.copy([self.copy])
        for _ in range(3):
            yield WORK_AT_ONCE


class CleanerTest(CleaningTest):
    def journal(self, *sizes: int) -> Journal:
        """One whose segments have about these sizes, and another one that is empty."""
        journal = Journal(self.new_folder() / "it", segment_bytes=12_800)
        self.addCleanup(journal.close)
        list(journal.recover())
        journal.begin(dict)
        for size in sizes:
            journal.append([b"x" * size])
            journal._rotate()
        return journal

    def cleaned(self, journal: Journal, owner: Owner, *, whole: bool = False) -> int:
        """In how many slices it was done."""
        cleaner = Cleaner(owner, 20_000, whole=whole)
        slices = 1
        while cleaner.clean(journal):
            slices += 1
        return slices

    def test_what_nobody_needs_goes_down_to_what_is_kept(self) -> None:
        journal, owner = self.journal(9000, 9000, 9000, 9000), Owner(10**9, 4)
        self.cleaned(journal, owner)
        self.assertEqual((owner.rewritten, [*journal.segments]), ([], [3, 4, 5]))

    def test_only_beyond_the_multiple_anything_is_written_anew(self) -> None:
        for size, rewritten in ((10_000, []), (4000, [1]), (0, [1, 2])):
            journal, owner = self.journal(9000, 9000, 9000, 9000), Owner(size)
            self.cleaned(journal, owner)
            self.assertEqual(owner.rewritten, rewritten)
            self.assertEqual(next(iter(journal.segments)), 1 + len(rewritten))

    def test_small_segments_go_together(self) -> None:
        journal, owner = self.journal(500, 500, 8000, 9000, 7000, 9000), Owner(0)
        self.cleaned(journal, owner)
        self.assertEqual((owner.rewritten, [*journal.segments]), ([2, 3, 4], [5, 6, 7]))

    def test_nothing_is_written_anew_twice_if_that_gains_nothing(self) -> None:
        journal, owner = self.journal(9000, 9000, 9000), Owner(0)
        owner.copy = b"x" * 9000
        self.cleaned(journal, owner)
        self.assertEqual(owner.rewritten, [1, 2, 3])

    def test_all_goes_at_once_if_all_is_written_anew(self) -> None:
        journal, owner = self.journal(9000, 9000, 9000), Owner(0)
        self.cleaned(journal, owner, whole=True)
        self.assertEqual((owner.rewritten, [*journal.segments]), ([3], [4]))

    def test_nothing_is_dropped_before_its_copies_are_on_the_disk(self) -> None:
        self.patch(Journal, "sync_from", SYNC_FROM)
        may_end = threading.Event()
        synced: list[str] = []

        def sync_all(paths: Sequence[pathlib.Path]) -> None:
            may_end.wait(DEADLINE_S)
            synced.extend(path.name for path in paths)

        journal, cleaner = self.journal(9000, 9000, 9000), Cleaner(Owner(0), 20_000)
        with mock.patch.object(segments, "sync_all", sync_all):
            for _ in range(20):
                self.assertTrue(cleaner.clean(journal))
            self.assertIn(1, journal.segments)
            may_end.set()
            while cleaner.clean(journal):
                pass
        self.assertEqual({*synced}, {"000000000004.log"})
        self.assertNotIn(1, journal.segments)

    def test_what_can_t_be_synced_stays(self) -> None:
        self.patch(Journal, "sync_from", SYNC_FROM)
        journal = self.journal(9000, 9000, 9000)
        with mock.patch.object(os, "fsync", side_effect=OSError(5, "Input/output error")):
            self.cleaned(journal, Owner(0))
        self.assertIn(1, journal.segments)

    def test_it_is_done_in_slices(self) -> None:
        journal, owner = self.journal(9000, 9000, 9000), Owner(0)
        self.assertEqual(self.cleaned(journal, owner), 1 + 3)
