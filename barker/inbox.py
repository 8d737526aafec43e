"""The inbox: timelines and their readers.

    python -m barker.inbox --port 5820

A timeline is the stream of one reader's barks, of which the latest are retained. Readers subscribe
to it, and get its history and then each new bark, at their own speed. Reading settles nothing.

When the ring changes, readers of timelines that are no longer ours get ``moved``, and the timelines
themselves are handed over (`barker.manifold.handover`).

The journal holds every put. In each segment, the first record with a bark for a timeline has the
last serial before it, and from there serials can be counted. So no segment needs those before it,
and old ones are dropped (`barker.manifold.retained`).
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from barker.delivery.acks import Acks
from barker.disk import files
from barker.disk.deadletters import DeadLetters
from barker.disk.journal import Journal
from barker.graph.people import People
from barker.links.link import Link
from barker.manifold.cleaning import KEPT_BYTES, Cleaner, clean_up
from barker.manifold.delays import Delays
from barker.manifold.handover import HandOver
from barker.manifold.intake import Intake
from barker.manifold.newcomers import Newcomers
from barker.manifold.parking import Parking
from barker.manifold.readers import DEFAULT_READER_WINDOW, MAX_READER_WINDOW, Readers
from barker.manifold.reception import Accepted, Reception
from barker.manifold.recovery import recover
from barker.manifold.retained import Parts, RetainedTimelines
from barker.manifold.share import Share
from barker.manifold.store import TimelineStore
from barker.manifold.timelines import Entry, Moving, Timeline
from barker.process.arguments import at_least_0, journal_arguments
from barker.process.health import Health
from barker.process.service import Service, run_service
from barker.routing.routes import CONSISTENT, split
from barker.streams.cursor import Cursor
from barker.streams.stream import DEFAULT_KEEP, MAX_KEEP
from barker.wire import messages, records
from barker.wire.ops import Credit, Moved, Put, Subscribe, Subscribed, Unreadable
from barker.wire.protocol import BadMessage
from barker.wire.records import Record, Segment, Serials


def kept_number(text: str) -> int:
    """For argparse: the argument of `--keep`."""
    count = at_least_0(text)
    if count > MAX_KEEP:
        raise argparse.ArgumentTypeError(f"{count} entries are more than {MAX_KEEP}, the most")
    return count


ABOUT = """\
Run an inbox. It keeps the timelines of readers, and sends them each new bark. Of several inboxes,
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
        self._people = People(
            self,
            files.world(args.state).names,
            lambda users: self._newcomers.known(users),
            lambda: self._newcomers.all_known(),
        )
        self._newcomers = Newcomers(self, self._people, self.subscribe)
        self._acks = Acks(self)
        self._parking = Parking(self)
        self._share = Share(self, self.ADDRESS, self._ring_changed)
        self._store = TimelineStore(self.args.keep)
        self._reception = Reception(self._store)
        check = self._reception.check
        self._intake = Intake(self, check, self._record, self._apply, self._share.of)
        self._readers = Readers(self.slices)
        self._hand_over = HandOver(self, self.ADDRESS, self._handed_over, self._parking.park)
        self._health = Health(
            self,
            self.ADDRESS,
            CONSISTENT,
            lambda: self._intake.illness(is_out=self._health.is_out),
        )
        self._cleaner = Cleaner(RetainedTimelines(self._store), KEPT_BYTES)
        self._parts = Parts()
        self._delays = Delays()
        self.late = self._taken = 0
        self._leaving = False

    # --- a bark's way in ---

    def link_closing(self, link: Link) -> None:
        self._acks.say(link)

    def on_put(self, link: Link, put: Put) -> None:
        self._intake.take(link, put)

    def batch_end(self, link: Link) -> None:
        self._acks.owe(link)
        self._cleaner.clean(self._intake.journal)

    def link_down(self, link: Link) -> None:
        self._acks.link_down(link)
        self._intake.link_down(link)
        self._readers.gone(link)
        self._newcomers.link_down(link)

    def _record(self, accepted: Accepted, segment: int) -> tuple[Sequence[bytes], Accepted]:
        serials = self._store.serials_before(segment, accepted.groups)
        lines = [messages.encode(Serials(serials))] if serials else []
        return [*lines, messages.encode(accepted.put._replace(seq=0))], accepted

    def _apply(self, accepted: Accepted, segment: int) -> None:
        self._reception.accept(accepted)
        put, groups, late = accepted.put, accepted.groups, accepted.late
        taken, late_ones = self._store.append(put, groups, late, segment, self._readers.grown)
        self._taken += taken
        self.late += late_ones
        self._readers.flush()
        if put.at and not put.old:
            self._delays.add(put.at, now_ms())

    # --- a stop in good order ---

    def interrupted(self, number: int = signal.SIGTERM) -> None:
        if not self._leaving:
            self._leaving = True
            self._health.end()
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
                self._newcomers.wait(link, user, wish)
                return
            timeline = self._store.timeline(address)
            cursor = Cursor.start(
                timeline,
                same_epoch=epoch == self._reception.epoch,
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
        link.send(messages.encode(Subscribed(address, self._reception.epoch, *figures)))
        self._readers.send(subscription)

    def on_credit(self, link: Link, credit: Credit) -> None:
        self._readers.credit(link, credit)

    # --- changes of the ring ---

    def _ring_changed(self) -> None:
        self.slices.add(self._readers.move(self._share.is_ours))
        is_out = self._leaving or self._health.is_out
        if is_out or self.name in self.routes.route(self.ADDRESS).by_name:
            # Else we are not in the ring yet, and it does not say which timelines are ours.
            self._hand_over.look_at(list(self._store.timelines.values()), self._share.is_ours)

    def _handed_over(self, moving: Moving) -> None:
        """The new owner has all entries that the timeline had when it began to move."""
        timeline = moving.timeline
        if timeline.moving is not moving:
            return  # it came back to us meanwhile
        timeline.stay()
        if self._share.is_ours(timeline.address):
            return  # so it does, and its turn to be looked at has not come yet
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
        self._store.let_go(timeline)

    # --- the journal ---

    async def prepare(self) -> None:
        if not self.args.no_journal:
            letters = DeadLetters(self.args.state / "dead-letters" / f"{self.name}.jsonl")
            self._parking.open(letters)
            folder = self.args.state / "journal" / self.name
            self._intake.open(Journal(folder, fsync=self.args.fsync))
        self._reception.begin(self._intake.journal.epoch)
        if await recover(self, self._intake.journal, self._replay, self._header):
            self._parts.clear()
            await clean_up(self, self._cleaner, self._intake.journal)

    def _header(self) -> dict[str, Any]:
        return {"n": self._reception.n, "highest": self._reception.highest}

    def _replay(self, segment: int, record: Record) -> None:
        if isinstance(record, Put):
            groups = self._store.groups(record.entries())
            self._reception.recover(record, groups)
            put = record._replace(trace=None)
            self._store.append(put, groups, None, segment, lambda entry, group, full: None)
        elif isinstance(record, Serials):
            for address, serial in record.serials.items():
                self._store.timeline(address).go_on_after(serial)
        elif isinstance(record, Segment):
            self._reception.recover_counters(record)
        elif isinstance(record, records.Timeline):
            entries = self._parts.add(record, segment)
            if entries is not None:
                self._recover_timeline(record, entries, segment)

    def _recover_timeline(
        self, record: records.Timeline, entries: Sequence[Entry], segment: int
    ) -> None:
        timeline = self._store.timeline(record.address)
        if not entries:
            self._let_go(timeline)
        for entry in entries:
            with contextlib.suppress(BadMessage):
                self._reception.recover_entry(entry.item().key, timeline.mark)
        if record.at:
            timeline.replace(record.last, entries)
        else:
            timeline.restore(record.last, entries)
        timeline.recorded(segment)

    async def ready(self) -> None:
        self._health.begin()

    def ticked(self) -> None:
        self._health.look()

    async def stopping(self) -> None:
        await super().stopping()
        await self._intake.durable.close()

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        return {
            **self._readers.gauges(),
            "in": self._taken,
            "streams": len(self._store.timelines),
            "late": self.late,
            **self._delays.gauges(now_ms()),
            "backlog": len(self._hand_over),
            "dead_letters": self._parking.letters.count,
            "dead_letter": self._parking.letters.latest,
        }

    def sampled(self) -> None:
        self._delays.begin()


def now_ms() -> int:
    """The wall clock, as barks' authors know it."""
    return time.time_ns() // 1_000_000


def main(argv: list[str] | None = None) -> int:
    return run_service(Inbox, "inbox", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
