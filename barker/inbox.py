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
import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from barker.delivery.duplicates import Duplicates
from barker.delivery.streams import DEFAULT_KEEP, MAX_KEEP, Cursor
from barker.links.link import Link, Message
from barker.manifold.cleaning import Cleaner
from barker.manifold.handover import HandOver
from barker.manifold.intake import MAX_STREAMS, Manifold
from barker.manifold.readers import DEFAULT_READER_WINDOW, MAX_READER_WINDOW, Readers
from barker.manifold.timelines import Entry, Moving, Timeline
from barker.process.arguments import at_least_0
from barker.process.service import run_service
from barker.routing.routes import split
from barker.wire import bodies, messages, protocol, strictjson
from barker.wire.messages import Arriving
from barker.wire.protocol import BadMessage
from barker.wire.strictjson import canonical


class Arrival(NamedTuple):
    """A bark on its way to the journal."""

    body: bytes
    origin: str
    n: int
    old: bool
    late: bool
    timelines: Sequence[Timeline]
    user: str
    at: object


def kept_number(text: str) -> int:
    """For argparse: what `--keep` takes."""
    count = at_least_0(text)
    if count > MAX_KEEP:
        raise argparse.ArgumentTypeError(f"{count} entries are more than {MAX_KEEP}, the most")
    return count


_address_of = attrgetter("address")
_quoted = attrgetter("quoted")
_source_of = attrgetter("origin", "old")


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

    def take(self, put: Arriving) -> Arrival | None:
        key = bodies.check_key(put.fields)
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
        at = put.fields.get("at")
        return Arrival(body, origin, n, put.old, late, timelines, key[0], at)

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
            yield messages.puts_line(
                0,
                [b"[%b]" % b",".join(map(_quoted, stage.timelines)) for stage in group],
                messages.source(origin, old),
                [stage.n for stage in group],
                [stage.body for stage in group],
                strictjson.dumps(serials) if serials else b"",
            )

    def keep(self, stages: Sequence[Arrival], segment: int) -> None:
        self._begun.clear()
        self._duplicates.confirm()
        grown = self._readers.grown
        entries = entry_bytes = 0
        for body, origin, n, old, late, timelines, user, at in stages:
            late = self._is_late(user, at) or late
            entry = Entry(body, origin, n, late, old, segment)
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

    def subscribe(self, link: Link, message: Message) -> None:
        address = message["address"]
        try:
            if not self.is_ours(address):
                link.send(messages.encode("moved", address=address))
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
            link.send(messages.refuse_line(None, fault.code, fault.reason, [address]))
            return
        link.send(
            messages.encode(
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
            timeline_gone = messages.encode(
                "timeline", address=timeline.address, last=timeline.last, entries=[]
            )
            timeline.recorded(self.journal.append([timeline_gone]))
        except OSError:
            return  # then it is handed over once more at some time, and dropped as known
        self._let_go(timeline)

    def _let_go(self, timeline: Timeline) -> None:
        """It is another's now. If that one leaves, all of it comes back, and is new here then."""
        for entry in timeline.entries:
            fields = strictjson.loads(entry.body)
            self._duplicates.withdraw((fields["user"], fields["id"]), [timeline.address])
        timeline.let_go()

    # --- the journal ---

    def header(self) -> dict[str, Any]:
        return {"n": self._n, "highest": self._duplicates.highest}

    def replay(self, segment: int, line: bytes) -> None:
        record = messages.decode_record(line)
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
                fields = strictjson.loads(entry.body)
                key = (fields["user"], fields["id"])
                self._duplicates.admit(key, None, 0, [timeline.address])
            self._duplicates.confirm()
            timeline.restore(record["last"], entries)
            timeline.recorded(segment)

    def _replay_puts(self, segment: int, record: dict[str, Any]) -> None:
        for address, serial in record.get("serials", {}).items():
            timeline = self._timeline(address)
            timeline.go_on_after(serial)
        for _, to, origin, n, old, body, fields in messages.puts_in(record):
            user = fields["user"]
            self._duplicates.admit((user, fields["id"]), None if old else origin, n, list(to))
            entry = Entry(
                body, origin or "", n, self._is_late(user, fields.get("at")), old, segment
            )
            self._cleaner.count(len(to), len(to) * len(body))
            for address in to:
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
