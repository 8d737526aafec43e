"""The inbox: timelines, and those who read them.

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
import functools
import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby, repeat
from operator import attrgetter
from typing import Any, NamedTuple

from barker.delivery.duplicates import Duplicates
from barker.delivery.streams import DEFAULT_KEEP, MAX_KEEP, Cursor
from barker.links.link import Link
from barker.manifold.cleaning import Cleaner
from barker.manifold.handover import HandOver
from barker.manifold.intake import MAX_STREAMS, Manifold
from barker.manifold.readers import DEFAULT_READER_WINDOW, MAX_READER_WINDOW, Readers
from barker.manifold.timelines import Entry, Moving, Timeline, entries_of
from barker.process.arguments import at_least_0
from barker.process.service import run_service
from barker.routing.routes import split
from barker.wire import bodies, messages, protocol, records
from barker.wire.fields import addresses_in
from barker.wire.ops import Credit, Item, Moved, Put, Subscribe, Subscribed, Unreadable
from barker.wire.protocol import BadMessage
from barker.wire.records import Segment, Serials


class Arrival(NamedTuple):
    """An entry of a put on its way to the journal, and to those timelines."""

    item: Item
    timelines: Sequence[Timeline]
    late: bool


# As `Arrival._make`, without a call of Python for each.
_new_arrival = functools.partial(tuple.__new__, Arrival)


def kept_number(text: str) -> int:
    """For argparse: what `--keep` takes."""
    count = at_least_0(text)
    if count > MAX_KEEP:
        raise argparse.ArgumentTypeError(f"{count} entries are more than {MAX_KEEP}, the most")
    return count


_address_of = attrgetter("address")
_source_of = attrgetter("item.origin", "item.old")


ABOUT = """\
Run an inbox. It keeps the timelines of readers, and sends them what is new. Of several inboxes,
each has its share of the readers.
"""
EXAMPLES = (
    "--port 5820",
    "--port 5821 --keep 2000",
)


class Inbox(Manifold[Arrival]):
    """Keeps timelines and serves their readers."""

    kind = address = "inbox"
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
        super().arguments(parser)

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.add_handler(Credit, self.on_credit)
        self._n = 0  # for what comes without a stamp
        self._timelines: dict[str, Timeline] = {}
        self._duplicates = Duplicates()
        self._latest: dict[str, int] = {}  # by author, the newest `at`
        self._readers = Readers()
        self._begun: set[Timeline | None] = set()  # of this batch: whose serial is in its records
        self._hand_over = HandOver(self, self.address, self._handed_over, self.park)
        self._cleaner = Cleaner(self._timelines)
        self.late = self._taken = 0
        self._leaving = False

    # --- a stop in good order ---

    def interrupted(self, number: int = signal.SIGTERM) -> None:
        if not self._leaving:
            self._leaving = True
            self.unserve(self.address)
            self.start(self._leave(), name="leave")

    async def _leave(self) -> None:
        await self._hand_over.leave()
        self.stop()

    def _timeline(self, address: str) -> Timeline:
        timeline = self._timelines.get(address)
        if timeline is None:
            if len(self._timelines) >= MAX_STREAMS:
                raise BadMessage(
                    protocol.FULL, f"{MAX_STREAMS} streams are all that one manifold has"
                )
            timeline = self._timelines[address] = Timeline(address, self.args.keep)
        return timeline

    def _all_timelines(self, addresses: Sequence[str]) -> list[Timeline]:
        try:
            return list(map(self._timelines.__getitem__, addresses))
        except KeyError:
            return list(map(self._timeline, addresses))

    # --- a bark's way in ---

    def take(
        self, addresses: Sequence[str], item: Item, fields: dict[str, Any] | None
    ) -> Arrival | None:
        is_first_hop = item.origin is None
        if is_first_hop:
            item = self._stamped(item, fields)
        timelines = self._all_timelines(addresses)
        # The timelines' own strings, since these are remembered.
        own = list(map(_address_of, timelines))
        # What is handed over may be older than any window, and what had no stamp had no counter:
        # the key is all that counts.
        origin = None if item.old or is_first_hop else item.origin
        fresh, late = self._duplicates.admit(item.key, origin, item.n, own)
        if not fresh:
            return None
        if is_first_hop:
            self._n += 1
            item = item._replace(n=self._n)
        if len(fresh) < len(own):
            timelines = self._all_timelines(fresh)
        return Arrival(item, timelines, late)

    def take_all(self, put: Put) -> Sequence[Arrival] | None:
        if put.origin is None or put.old:
            return None
        groups: dict[str, list[Timeline]] = {}
        for entry in set(put.to):
            addresses = addresses_in(entry)
            if not (self._ours.issuperset(addresses) and self._timelines.keys() >= {*addresses}):
                return None
            groups[entry] = list(map(self._timelines.__getitem__, addresses))
        timelines = list(map(groups.__getitem__, put.entries()))
        keys = list(zip(put.users or (), put.ids or (), strict=True))
        own = [list(map(_address_of, some)) for some in timelines]
        if not self._duplicates.admit_all(keys, put.origin, put.n or (), own):
            return None
        return list(map(_new_arrival, zip(put.items(), timelines, repeat(False), strict=False)))

    def _stamped(self, item: Item, fields: dict[str, Any] | None) -> Item:
        """We are its first manifold. Its counter is given when it is new."""
        body = bodies.admitted(item.body, fields)
        assert fields is not None
        user, id_ = bodies.check_key(fields)
        at = bodies.check_time(fields)
        return Item(body, self.epoch, 0, user, id_, at, trace=item.trace)

    def _is_late(self, user: str, at: int) -> bool:
        """Has something that the author said afterwards been here before?"""
        latest = self._latest.get(user, -1)
        if at < latest:
            return True
        if latest < 0 and len(self._latest) >= MAX_STREAMS:
            self._latest.clear()
        self._latest[user] = at
        return False

    def record(self, stages: Sequence[Arrival], segment: int) -> Iterator[bytes]:
        serials = {
            timeline.address: timeline.last
            for stage in stages
            for timeline in stage.timelines
            if timeline.recorded_in != segment and timeline not in self._begun
        }
        if serials:
            self._begun.update(map(self._timelines.get, serials))
            yield messages.encode(Serials(serials))
        for _, some in groupby(stages, key=_source_of):
            items, timelines, _ = zip(*some, strict=True)
            to = [" ".join(map(_address_of, each)) for each in timelines]
            yield messages.encode(Put.of(0, to, items))

    def keep(self, stages: Sequence[Arrival], segment: int) -> None:
        self._begun.clear()
        self._duplicates.confirm()
        grown = self._readers.grown
        entries = entry_bytes = 0
        for item, timelines, late in stages:
            body, origin, n, user, _, at, _, old, trace = item
            late = self._is_late(user, at) or late
            entry = Entry(body, origin or "", n, late, old, segment, trace)
            for timeline in timelines:
                serial = timeline.append(entry, old)
                timeline.recorded(segment)
                grown(timeline, serial, entry)
            self.late += late
            entries += len(timelines)
            entry_bytes += len(timelines) * len(body)
        self._taken += entries
        self._cleaner.count(entries, entry_bytes)

    def rollback(self) -> None:
        self._duplicates.reject()
        self._begun.clear()

    def hand_on(self) -> None:
        self._readers.flush()

    def batch_end(self, link: Link) -> None:
        super().batch_end(link)
        # Only between batches: a timeline's record stands for all that is in the journal before it,
        # and in the middle of a batch the journal is ahead of the timelines.
        self._cleaner.clean(self.journal)

    # --- readers ---

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        address, epoch, after, history, window = wish
        window = DEFAULT_READER_WINDOW if window is None else window
        try:
            if not self.is_ours(address):
                link.send(messages.encode(Moved(address)))
                return
            user = split(address)[1]
            if user not in self.people:
                self.people.ask_later(user, link, wish, self.subscribe)
                return
            timeline = self._timeline(address)
            cursor = Cursor.start(
                timeline,
                same_epoch=epoch == self.epoch,
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
        link.send(messages.encode(Subscribed(address, self.epoch, *figures)))
        self._readers.send(subscription)

    def on_credit(self, link: Link, credit: Credit) -> None:
        self._readers.credit(link, credit)

    def link_down(self, link: Link) -> None:
        super().link_down(link)
        self._readers.gone(link)

    # --- changes of the ring ---

    def ring_changed(self) -> None:
        self._readers.move(self.is_ours)
        if self._leaving or self.name in self.routes.route(self.address).by_name:
            # Else we are not in the ring yet, and what is ours is not for it to say.
            for timeline in self._timelines.values():
                if self.is_ours(timeline.address):
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
            timeline.recorded(self.journal.append([timeline_gone]))
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

    def header(self) -> dict[str, Any]:
        return {"n": self._n, "highest": self._duplicates.highest}

    def replay(self, segment: int, line: bytes) -> None:
        record = messages.decode_record(line)
        if isinstance(record, Put):
            self._replay_put(segment, record)
        elif isinstance(record, Serials):
            for address, serial in record.serials.items():
                self._timeline(address).go_on_after(serial)
        elif isinstance(record, Segment):
            self._duplicates.remember(record.highest)
            self._n = max(self._n, record.n)
        elif isinstance(record, records.Timeline):
            timeline = self._timeline(record.address)
            entries = list(entries_of(record, segment))
            if not entries:
                self._let_go(timeline)
            for entry in entries:
                with contextlib.suppress(BadMessage):
                    self._duplicates.admit(entry.item().key, None, 0, [timeline.address])
            self._duplicates.confirm()
            timeline.restore(record.last, entries)
            timeline.recorded(segment)

    def _replay_put(self, segment: int, put: Put) -> None:
        for to, item in zip(put.entries(), put.items(), strict=True):
            body, origin, n, user, _, at, _, old, _ = item
            addresses = addresses_in(to)
            self._duplicates.admit(item.key, None if old else origin, n, list(addresses))
            entry = Entry(body, origin or "", n, self._is_late(user, at), old, segment)
            self._cleaner.count(len(addresses), len(addresses) * len(body))
            for address in addresses:
                timeline = self._timeline(address)
                timeline.append(entry, old)
                timeline.recorded(segment)
            if origin == self.epoch:
                self._n = max(self._n, n)
        self._duplicates.confirm()

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        return {
            **self._readers.gauges(),
            "in": self._taken,
            "streams": len(self._timelines),
            "late": self.late,
            "backlog": len(self._hand_over),
            "dead_letters": self.dead_letters.count,
            "dead_letter": self.dead_letters.latest,
        }


def main(argv: list[str] | None = None) -> int:
    return run_service(Inbox, "inbox", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
