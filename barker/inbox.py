"""The inbox: timelines, and those who read them.

A timeline is the stream of one reader's barks, of which the latest are retained. Readers subscribe
to it, get its history and then what comes, each at its own speed. Reading settles nothing.

When the ring changes, readers of what is no longer ours are told ``moved``, and the timelines
themselves are handed over (`barker.handover`).

The journal holds every put. In each segment, the first record that has something for a timeline
says after which serial that comes, and from there they can be counted: so every segment can do
without those before it. An old one can go when no timeline refers to it any more. A timeline that
nobody writes to would hold on to its segment for ever; so when the journal has grown beyond a
multiple of what is retained, such timelines are written anew, whole, at its end, a few for each
batch.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from barker import barks, wire
from barker.handover import HandOver
from barker.keeper import KEPT_BYTES, MAX_STREAMS, Keeper
from barker.link import Link, Message
from barker.readers import DEFAULT_READER_WINDOW, MAX_READER_WINDOW, Readers
from barker.routing import split
from barker.service import log
from barker.streams import Cursor, Duplicates
from barker.strictjson import canonical
from barker.timelines import Entry, Moving, Timeline
from barker.wire import Arriving, BadMessage

# The journal may be larger than a fresh copy of all timelines by this factor. A larger one costs
# disk; a smaller one has timelines written anew more often.
JOURNAL_FACTOR = 2
# What an entry takes in such a copy, besides its body.
ENTRY_OVERHEAD = 100
# Entries that are written anew for each batch, so that no batch takes much longer than others.
REWRITTEN_AT_ONCE = 500


class Arrival(NamedTuple):
    """A bark on its way to the journal."""

    entry: Entry
    timelines: Sequence[Timeline]
    key: tuple[str, str]
    at: object


_address_of = attrgetter("address")
_quoted = attrgetter("quoted")
_source_of = attrgetter("entry.origin", "entry.old")


class Inbox(Keeper[Arrival]):
    """Keeps timelines and serves their readers."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._n = 0  # for what comes without a stamp
        self._timelines: dict[str, Timeline] = {}
        self._duplicates = Duplicates()
        self._latest: dict[str, int] = {}  # by author, the newest `at`
        self._readers = Readers()
        self._begun: set[Timeline | None] = set()  # of this batch: whose serial is in its records
        self._hand_over = HandOver(self, self.address, self._handed_over, self.park)
        self._checked_segment = 0
        # What entries take in a copy of their timeline: sums since the start, for the mean.
        self._entries = self._entry_bytes = 1
        self._rewriting: Iterator[Timeline] | None = None
        self.late = self._taken = 0
        self._leaving = False

    # --- a stop in good order ---

    def interrupted(self) -> None:
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
                raise BadMessage(wire.FULL, f"{MAX_STREAMS} streams are all that one manifold has")
            timeline = self._timelines[address] = Timeline(address, self.args.keep)
        return timeline

    def _all_timelines(self, addresses: Sequence[str]) -> list[Timeline]:
        try:
            return list(map(self._timelines.__getitem__, addresses))
        except KeyError:
            return list(map(self._timeline, addresses))

    # --- a bark's way in ---

    def take(self, put: Arriving) -> Arrival | None:
        key = barks.check_key(put.fields)
        # Without a stamp we are its first hop.
        body = canonical(put.body, put.fields) if put.origin is None else put.body
        timelines = self._all_timelines(put.addresses)
        # The timelines' own strings, since these are remembered.
        addresses = list(map(_address_of, timelines))
        # What is handed over may be older than any window; its key is all that counts.
        origin, n = put.origin, put.n
        fresh, late = self._duplicates.admit(key, None if put.old else origin, n, addresses)
        if not fresh:
            return None
        if origin is None:
            self._n += 1
            origin, n = self.epoch, self._n
        if len(fresh) < len(addresses):
            timelines = self._all_timelines(fresh)
        return Arrival(Entry(body, origin, n, late, put.old), timelines, key, put.fields.get("at"))

    def _is_late(self, user: str, at: object) -> bool:
        """Has something that the author said afterwards been here before?"""
        if type(at) is not int:
            return False
        latest = self._latest.get(user, -1)
        if at < latest:
            return True
        if latest < 0 and len(self._latest) >= MAX_STREAMS:
            self._latest.clear()
        self._latest[user] = at
        return False

    def record(self, stages: Sequence[Arrival], segment: int) -> Iterator[bytes]:
        for (origin, old), some in groupby(stages, key=_source_of):
            group = list(some)
            serials = {
                timeline.address: timeline.last
                for stage in group
                for timeline in stage.timelines
                if timeline.recorded_in != segment and timeline not in self._begun
            }
            if serials:
                self._begun.update(map(self._timelines.get, serials))
            yield wire.puts_line(
                0,
                [b"[%b]" % b",".join(map(_quoted, stage.timelines)) for stage in group],
                wire.source(origin, old),
                [stage.entry.n for stage in group],
                [stage.entry.body for stage in group],
                wire.dumps(serials) if serials else b"",
            )

    def keep(self, stages: Sequence[Arrival], segment: int) -> None:
        self._begun.clear()
        self._duplicates.confirm()
        grown = self._readers.grown
        entries = entry_bytes = 0
        for entry, timelines, key, at in stages:
            entry.segment = segment
            entry.late = self._is_late(key[0], at) or entry.late
            for timeline in timelines:
                serial = timeline.append(entry, entry.old)
                timeline.recorded_in = segment
                grown(timeline, serial, entry)
            self.late += entry.late
            entries += len(timelines)
            entry_bytes += len(timelines) * len(entry.body)
        self._taken += entries
        self._count(entries, entry_bytes)

    def _count(self, entries: int, entry_bytes: int) -> None:
        self._entries += entries
        self._entry_bytes += entry_bytes + entries * ENTRY_OVERHEAD

    def rollback(self) -> None:
        self._duplicates.reject()
        self._begun.clear()

    def hand_on(self) -> None:
        self._readers.flush()

    def batch_end(self, link: Link) -> None:
        super().batch_end(link)
        # Only between batches: a timeline's record stands for all that is in the journal before it,
        # and in the middle of a batch the journal is ahead of the timelines.
        self._clean()

    # --- readers ---

    def subscribe(self, link: Link, message: Message) -> None:
        address = message["address"]
        try:
            if not self.is_ours(address):
                link.send(wire.encode("moved", address=address))
                return
            user = split(address)[1]
            if user not in self.people:
                self.people.ask_later(user, link, message, self.subscribe)
                return
            timeline = self._timeline(address)
            epoch = message.get("epoch")
            cursor = Cursor.start(
                timeline,
                same_epoch=epoch == self.epoch,
                new_reader=epoch is None,
                after=max(message.get("after", 0), timeline.handed_over),
                history=message.get("history", self.args.history),
                window=min(message.get("window", DEFAULT_READER_WINDOW) or 1, MAX_READER_WINDOW),
            )
            subscription = self._readers.add(link, timeline, cursor, self.epoch)
        except BadMessage as fault:
            link.send(wire.refuse_line(None, fault.code, fault.reason, [address]))
            return
        link.send(
            wire.encode(
                "subscribed",
                address=address,
                epoch=self.epoch,
                serial=cursor.sent,
                last=timeline.last,
                history=self.args.history,
                # A stream holds up to twice `keep`: as many again that were handed over.
                retained=2 * self.args.keep,
            )
        )
        self._readers.send(subscription)

    def on_ack(self, link: Link, message: Message) -> None:
        self._readers.ack(link, message.get("address", ""), message.get("serial", 0))

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
                    timeline.moving = None
                elif timeline.moving is None:
                    self._hand_over.add(timeline)
            self._hand_over.go_on()

    def _handed_over(self, moving: Moving) -> None:
        """The new owner has all that was in the timeline when it began to move."""
        timeline = moving.timeline
        if timeline.moving is not moving:
            return  # it came back to us meanwhile
        timeline.moving = None
        if timeline.last != moving.last:
            self._hand_over.add(timeline)  # it was still growing: all of it again
            return
        try:
            timeline_gone = wire.encode(
                "timeline", address=timeline.address, last=timeline.last, entries=[]
            )
            timeline.recorded_in = self.journal.append([timeline_gone])
        except OSError:
            return  # then it is handed over once more at some time, and dropped as known
        self._let_go(timeline)

    def _let_go(self, timeline: Timeline) -> None:
        """It is another's now. If that one leaves, all of it comes back, and is new here then."""
        for entry in timeline.entries:
            fields = wire.loads(entry.body)
            self._duplicates.withdraw((fields["user"], fields["id"]), [timeline.address])
        timeline.restore(timeline.last, ())
        timeline.handed_over = timeline.last

    # --- the journal ---

    def header(self) -> dict[str, Any]:
        return {"n": self._n, "highest": self._duplicates.highest}

    def replay(self, segment: int, line: bytes) -> None:
        record = wire.decode_record(line)
        if record["op"] in ("put", "puts"):
            self._replay_puts(segment, record)
        elif record["op"] == "segment":
            self._duplicates.remember(record["highest"])
            self._n = max(self._n, record["n"])
        else:
            timeline = self._timeline(record["address"])
            entries = [Entry.from_json(e, segment) for e in record["entries"]]
            if not entries:
                self._let_go(timeline)
            for entry in entries:
                fields = wire.loads(entry.body)
                key = (fields["user"], fields["id"])
                self._duplicates.admit(key, None, 0, [timeline.address])
            self._duplicates.confirm()
            timeline.restore(record["last"], entries)
            timeline.recorded_in = segment

    def _replay_puts(self, segment: int, record: dict[str, Any]) -> None:
        for address, serial in record.get("serials", {}).items():
            timeline = self._timeline(address)
            timeline.last = max(serial, timeline.last)
        for _, to, origin, n, old, body, fields in wire.puts_in(record):
            user = fields["user"]
            self._duplicates.admit((user, fields["id"]), None if old else origin, n, list(to))
            entry = Entry(
                body, origin or "", n, self._is_late(user, fields.get("at")), old, segment
            )
            self._count(len(to), len(to) * len(body))
            for address in to:
                timeline = self._timeline(address)
                timeline.append(entry, old)
                timeline.recorded_in = segment
            if origin == self.epoch:
                self._n = max(self._n, n)
        self._duplicates.confirm()

    def _clean(self) -> None:
        """Drop the oldest segment if the journal is too large, after freeing it from references."""
        journal = self.journal
        if self._rewriting is None:
            if journal.current == self._checked_segment:
                return  # nothing is dropped but when a segment is full
            self._checked_segment = journal.current
            oldest = next(iter(journal.segments), journal.current)
            entries = sum(len(t.entries) for t in self._timelines.values())
            retained = entries * self._entry_bytes // self._entries
            if journal.size <= KEPT_BYTES + JOURNAL_FACTOR * retained or oldest == journal.current:
                return
            self._rewriting = iter([t for t in self._timelines.values() if _needs(t, oldest)])
        done = 0
        try:
            for timeline in self._rewriting:
                segment = journal.append([timeline.record()])
                rewritten = [entry.copied_to(segment) for entry in timeline.entries]
                timeline.restore(timeline.last, rewritten)
                timeline.recorded_in = segment
                done += len(rewritten) + 1
                if done > REWRITTEN_AT_ONCE:
                    return
        except OSError as fault:
            log.error("the journal can't be cleaned: %s", fault.strerror)
        else:
            journal.drop(next(iter(journal.segments)))
        self._rewriting = None

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


def _needs(timeline: Timeline, segment: int) -> bool:
    entries = timeline.entries
    # Also of one that is empty: its last serial must not be given away again.
    return (
        timeline.last > 0 and (entries[0].segment if entries else timeline.recorded_in) <= segment
    )
