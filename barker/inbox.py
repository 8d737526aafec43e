"""The inbox: timelines and their readers.

    python -m barker.inbox --port 5820

A timeline is the stream of one reader's barks, of which the latest are retained. Readers subscribe
to it, get its history and then what comes, each at its own speed. Reading settles nothing.

When the ring changes, readers of what is no longer ours are told ``moved``, and the timelines
themselves are handed over (`barker.manifold.handover`).

The journal holds every put. In each segment, the first record that has something for a timeline
says after which serial that comes, and from there they can be counted: so every segment can do
without those before it, and old ones are dropped (`barker.manifold.cleaning`).
"""

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from barker.delivery.acks import Acks
from barker.delivery.duplicates import Duplicates
from barker.delivery.streams import DEFAULT_KEEP, MAX_KEEP, Cursor
from barker.disk import files
from barker.disk.deadletters import DeadLetters
from barker.disk.journal import Journal
from barker.graph.people import People
from barker.links.link import Link
from barker.manifold.cleaning import Cleaner
from barker.manifold.handover import HandOver
from barker.manifold.intake import Faults, Intake
from barker.manifold.parking import Parking
from barker.manifold.readers import DEFAULT_READER_WINDOW, MAX_READER_WINDOW, Readers
from barker.manifold.recovery import recover
from barker.manifold.share import Share
from barker.manifold.store import Group, TimelineStore
from barker.manifold.timelines import Moving, Timeline, entries_of
from barker.process.arguments import at_least_0, journal_arguments
from barker.process.service import Service, run_service
from barker.routing.routes import CONSISTENT, split
from barker.wire import bodies, messages, records, strictjson
from barker.wire.fields import addresses_in
from barker.wire.ops import Credit, Moved, Put, Subscribe, Subscribed, Unreadable
from barker.wire.protocol import BadMessage
from barker.wire.records import Record, Segment, Serials


class Accepted(NamedTuple):
    """What is to be kept of one line: entries of one origin, with the addresses that lack them."""

    put: Put
    groups: Sequence[Group]  # of each entry
    late: Sequence[bool] | None  # which of them come late, by their counters; None: none of them


def kept_number(text: str) -> int:
    """For argparse: what `--keep` takes."""
    count = at_least_0(text)
    if count > MAX_KEEP:
        raise argparse.ArgumentTypeError(f"{count} entries are more than {MAX_KEEP}, the most")
    return count


ABOUT = """\
Run an inbox. It keeps the timelines of readers, and sends them what is new. Of several inboxes,
each has its share of the readers.
"""
EXAMPLES = (
    "--port 5820",
    "--port 5821 --keep 2000",
)


class Inbox(Service):
    """Keeps timelines and serves their readers."""

    kind = ADDRESS = "inbox"
    default_port = 5820

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--history",
            type=at_least_0,
            default=25,
            metavar="N",
            help="entries that a new reader gets if it doesn't say (default: %(default)s)",
        )
        parser.add_argument(
            "--keep",
            type=kept_number,
            default=DEFAULT_KEEP,
            metavar="N",
            help="entries of a timeline that are retained "
            f"(default: %(default)s, at most {MAX_KEEP})",
        )
        journal_arguments(parser)

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.add_handler(Put, self.on_put)
        self.add_handler(Credit, self.on_credit)
        self._people = People(self, files.world(args.state).names)
        self._acks = Acks(self)
        self._parking = Parking(self)
        self._share = Share(self, self.ADDRESS, self._ring_changed)
        self._intake = Intake(self, self._check, self._record, self._apply, self._share.of)
        self._epoch = ""
        self._n = 0  # for what comes without a stamp
        self._store = TimelineStore(self.args.keep)
        self._duplicates = Duplicates()
        self._readers = Readers()
        self._hand_over = HandOver(self, self.ADDRESS, self._handed_over, self._parking.park)
        self._cleaner = Cleaner(self._store)
        self.late = self._taken = 0
        self._leaving = False

    # --- a bark's way in ---

    def link_closing(self, link: Link) -> None:
        self._acks.say(link)

    def on_put(self, link: Link, put: Put) -> None:
        self._intake.take(link, put)

    def batch_end(self, link: Link) -> None:
        self._acks.owe(link)
        # Only between batches: a timeline's record stands for all that is in the journal before it.
        self._cleaner.clean(self._intake.journal)

    def link_down(self, link: Link) -> None:
        self._acks.link_down(link)
        self._intake.link_down(link)
        self._readers.gone(link)

    def _check(self, put: Put) -> tuple[Accepted | None, Faults]:
        if put.origin is None:
            put, places, faults = self._stamped(put)
        else:
            places, faults = range(len(put.bodies)), []
        if not places:
            return None, faults
        try:
            groups = {entry: self._store.group(entry) for entry in dict.fromkeys(put.to)}
        except BadMessage as fault:  # it is said of all: what follows must not overtake it
            return None, [*faults, *((place, fault) for place in places)]
        keys = list(zip(put.users or (), put.ids or (), strict=True))
        if self._duplicates.are_new(keys, self._judge(put), put.n or ()):
            return Accepted(put, list(map(groups.__getitem__, put.entries())), None), faults
        return self._unknown_of(put, keys), faults

    def _stamped(self, put: Put) -> tuple[Put, Sequence[int], list[tuple[int, BadMessage]]]:
        """We are its first manifold: the same with our stamp, and the places of what is left."""
        rows, places, faults = [], [], []
        meanings = strictjson.objects(put.bodies)
        for place, (body, fields) in enumerate(zip(put.bodies, meanings, strict=True)):
            try:
                body = bodies.admitted(body, fields)
                assert fields is not None
                rows.append((body, *bodies.check_key(fields), bodies.check_time(fields)))
                places.append(place)
            except BadMessage as fault:
                faults.append((place, fault))
        if not rows:
            return put, places, faults
        texts, users, ids, at = zip(*rows, strict=True)
        n = range(self._n + 1, self._n + 1 + len(rows))
        return (
            put.select(places)._replace(
                bodies=texts, origin=self._epoch, n=n, users=users, ids=ids, at=at
            ),
            places,
            faults,
        )

    def _judge(self, put: Put) -> str | None:
        """The origin whose counters tell whether it is known; None: its keys alone do.

        What is handed over may be older than any window, and what had no stamp had no counter.
        """
        return None if put.old or put.origin == self._epoch else put.origin

    def _unknown_of(self, put: Put, keys: Sequence[tuple[str, str]]) -> Accepted | None:
        """What we had not before: some of the entries, for some of their addresses."""
        origin, numbers = self._judge(put), put.n or ()
        places: list[int] = []
        to: list[str] = []
        late: list[bool] = []
        # By what stands before it in this line: who has it then, and the highest counter.
        had: dict[tuple[str, str], set[str]] = {}
        highest = -1
        for place, (entry, key, n) in enumerate(zip(put.entries(), keys, numbers, strict=True)):
            fresh, is_late = self._duplicates.fresh(key, origin, n, addresses_in(entry))
            if key in had:
                fresh = [address for address in fresh if address not in had[key]]
            if fresh:
                had.setdefault(key, set()).update(fresh)
                places.append(place)
                to.append(" ".join(fresh))
                late.append(is_late or (origin is not None and n <= highest))
                highest = max(highest, n)
        if not places:
            return None
        return Accepted(put.select(places)._replace(to=to), list(map(self._store.group, to)), late)

    def _record(self, accepted: Accepted, segment: int) -> tuple[Sequence[bytes], Accepted]:
        serials = self._store.serials_before(segment, accepted.groups)
        lines = [messages.encode(Serials(serials))] if serials else []
        return [*lines, messages.encode(accepted.put._replace(seq=0))], accepted

    def _apply(self, accepted: Accepted, segment: int) -> None:
        put, groups, late = accepted
        addresses = [group.addresses for group in groups]
        keys = list(zip(put.users or (), put.ids or (), strict=True))
        origin = self._judge(put)
        if late is None:
            self._duplicates.add_all(keys, origin, put.n or (), addresses)
        else:
            for key, n, own in zip(keys, put.n or (), addresses, strict=True):
                self._duplicates.add(key, origin, n, own)
        if put.origin == self._epoch and put.n:
            self._n = max(self._n, put.n[-1])
        grown = self._readers.grown
        for entry, group, full in self._store.append(put, groups, late, segment):
            grown(entry, group, full)
            self.late += entry.late
        self._taken += sum(map(len, addresses))
        self._readers.flush()

    # --- a stop in good order ---

    def interrupted(self, number: int = signal.SIGTERM) -> None:
        if not self._leaving:
            self._leaving = True
            self.unserve(self.ADDRESS)
            self.start(self._leave(), name="leave")

    async def _leave(self) -> None:
        await self._hand_over.leave()
        self.stop()

    # --- readers ---

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        address, epoch, after, history, window = wish
        window = DEFAULT_READER_WINDOW if window is None else window
        try:
            if not self._share.is_ours(address):
                link.send(messages.encode(Moved(address)))
                return
            user = split(address)[1]
            if user not in self._people:
                self._people.ask_later(user, link, wish, self.subscribe)
                return
            timeline = self._store.timeline(address)
            cursor = Cursor.start(
                timeline,
                same_epoch=epoch == self._epoch,
                new_reader=epoch is None,
                after=max(after, timeline.handed_over),
                history=self.args.history if history is None else history,
                window=max(1, min(window, MAX_READER_WINDOW)),
            )
            subscription = self._readers.add(link, timeline, cursor)
        except BadMessage as fault:
            link.send(messages.encode(Unreadable(address, fault.code, fault.reason)))
            return
        # A stream holds up to twice `keep`: as many again that were handed over.
        figures = (cursor.sent, timeline.last, self.args.history, 2 * self.args.keep)
        link.send(messages.encode(Subscribed(address, self._epoch, *figures)))
        self._readers.send(subscription)

    def on_credit(self, link: Link, credit: Credit) -> None:
        self._readers.credit(link, credit)

    # --- changes of the ring ---

    def _ring_changed(self) -> None:
        self._readers.move(self._share.is_ours)
        if self._leaving or self.name in self.routes.route(self.ADDRESS).by_name:
            # Else we are not in the ring yet, and what is ours is not for it to say.
            for timeline in self._store.timelines.values():
                if self._share.is_ours(timeline.address):
                    timeline.stay()
                elif timeline.moving is None:
                    self._hand_over.add(timeline)
            self._hand_over.go_on()

    def _handed_over(self, moving: Moving) -> None:
        """The new owner has all that was in the timeline when it began to move."""
        timeline = moving.timeline
        if timeline.moving is not moving:
            return  # it came back to us meanwhile
        timeline.stay()
        if timeline.last != moving.last:
            self._hand_over.add(timeline)  # it was still growing: all of it again
            return
        try:
            timeline_gone = messages.encode(records.Timeline(timeline.address, timeline.last))
            timeline.recorded(self._intake.journal.append([timeline_gone]))
        except OSError:
            return  # then it is handed over once more at some time, and dropped as known
        self._let_go(timeline)

    def _let_go(self, timeline: Timeline) -> None:
        """It is another's now. If that one leaves, all of it comes back, and is new here then."""
        for entry in timeline.entries:
            with contextlib.suppress(BadMessage):
                self._duplicates.withdraw(entry.item().key, [timeline.address])
        timeline.let_go()

    # --- the journal ---

    async def prepare(self) -> None:
        if not self.args.no_journal:
            letters = DeadLetters(self.args.state / "dead-letters" / f"{self.name}.jsonl")
            self._parking.open(letters)
            folder = self.args.state / "journal" / self.name
            self._intake.open(Journal(folder, fsync=self.args.fsync))
        self._epoch = self._intake.journal.epoch
        await recover(self, self._intake.journal, self._replay, self._header)

    def _header(self) -> dict[str, Any]:
        return {"n": self._n, "highest": self._duplicates.highest}

    def _replay(self, segment: int, record: Record) -> None:
        if isinstance(record, Put):
            self._replay_put(segment, record)
        elif isinstance(record, Serials):
            for address, serial in record.serials.items():
                self._store.timeline(address).go_on_after(serial)
        elif isinstance(record, Segment):
            self._duplicates.remember(record.highest)
            self._n = max(self._n, record.n)
        elif isinstance(record, records.Timeline):
            timeline = self._store.timeline(record.address)
            entries = list(entries_of(record, segment))
            if not entries:
                self._let_go(timeline)
            for entry in entries:
                with contextlib.suppress(BadMessage):
                    self._remember(entry.item().key, None, 0, [timeline.address])
            timeline.restore(record.last, entries)
            timeline.recorded(segment)

    def _remember(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> None:
        """These addresses have it, and may be known to have it."""
        fresh, _ = self._duplicates.fresh(key, origin, n, addresses)
        self._duplicates.add(key, origin, n, fresh)

    def _replay_put(self, segment: int, put: Put) -> None:
        origin = self._judge(put)
        keys = list(zip(put.users or (), put.ids or (), strict=True))
        addresses = list(map(addresses_in, put.entries()))
        if self._duplicates.are_new(keys, origin, put.n or ()):
            self._duplicates.add_all(keys, origin, put.n or (), addresses)
        else:
            for key, n, own in zip(keys, put.n or (), addresses, strict=True):
                self._remember(key, origin, n, own)
        groups = list(map(self._store.group, put.entries()))
        for _ in self._store.append(put._replace(trace=None), groups, None, segment):
            pass

    async def ready(self) -> None:
        self.serve(self.ADDRESS, CONSISTENT)

    async def stopping(self) -> None:
        await super().stopping()
        self._intake.journal.close()

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        return {
            **self._readers.gauges(),
            "in": self._taken,
            "streams": len(self._store.timelines),
            "late": self.late,
            "backlog": len(self._hand_over),
            "dead_letters": self._parking.letters.count,
            "dead_letter": self._parking.letters.latest,
        }


def main(argv: list[str] | None = None) -> int:
    return run_service(Inbox, "inbox", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
