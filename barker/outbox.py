"""The outbox: the first manifold that a bark meets. It queues, and pushes the queue on in order.

    python -m barker.outbox --port 5800

It checks that the author may bark here, makes the body canonical, stamps the bark with its epoch
and a counter, and acks it once the journal has it. From then on the bark is the outbox's, until the
service behind has acked it in turn, or has refused it for good: then it is a dead letter. A full
queue refuses.

An event about the graph (`barker.wire.bodies`) is taken, stamped, journaled and acked like a bark.
Then it goes another way, to ``followers``, in a queue of its own with counters of its own. So
neither waits for the other, and a receiver of barks finds no holes in their counters. A join is
taken when followers has given the name to it (`barker.manifold.joining`).

The journal holds the stamped puts, and now and then how far they are settled, for each queue: all
up to that counter may be forgotten. Puts that are not settled are pushed again after a restart, in
order, before any new one. A bark whose place on the ring has become another outbox's is still
pushed from here.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import heapq
import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from barker.delivery.acks import Acks
from barker.disk import files
from barker.disk.deadletters import DeadLetters
from barker.disk.journal import Journal
from barker.graph.feed import FOLLOWERS
from barker.graph.people import People
from barker.links.link import Link
from barker.manifold.admission import Admission, Admitted
from barker.manifold.cleaning import KEPT_BYTES, Cleaner, clean_up
from barker.manifold.intake import Intake
from barker.manifold.joining import Joining
from barker.manifold.owed import OwedRecords
from barker.manifold.parking import Parking
from barker.manifold.push import Push
from barker.manifold.recovery import recover
from barker.manifold.share import Share
from barker.process.agent import MAX_NAMED_STREAMS, deepest
from barker.process.arguments import at_least_0, journal_arguments, service_name
from barker.process.health import Health
from barker.process.service import Service, log, run_service
from barker.process.slices import Steps
from barker.process.terminal import python
from barker.routing.routes import CONSISTENT
from barker.wire import messages
from barker.wire.ops import Put
from barker.wire.records import Record, Segment, Settled

# How long the journal may lag behind the settled counter: puts that it does not know to be settled
# are pushed once more after a crash, and dropped as known by the inboxes.
SETTLE_NOTE_S = 0.05
# Events that may wait while no followers service is there; one is about as large as a bark.
MAX_EVENTS_WAITING = 100_000
# A bark waiting in an outbox costs some 600 bytes; this many fit a small machine. Beyond it, full.
DEFAULT_BACKLOG = 1_200_000
# The average size of a waiting bark; if they are larger, fewer may wait.
BARK_BYTES = 900
ABOUT = """\
Run an outbox. It takes barks from clients, keeps them in its journal, and pushes them on to the
business logic. Of several outboxes, each has its share of the authors.
"""
EXAMPLES = (
    "--port 5800",
    "--port 5801 --fsync",
)


class Kept(NamedTuple):
    """One line's part of the journal: by queue, a put and its `put_tail`."""

    admitted: Admitted
    puts: Sequence[tuple[Push, Put, bytes]]


class Outbox(Service):
    """Takes barks from clients, stamps them, pushes them on in the order in which they came."""

    kind = ADDRESS = "outbox"
    default_port = 5800

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--push",
            type=service_name,
            default="bizlogic",
            metavar="SERVICE",
            help="push barks on to this service (default: %(default)s)",
        )
        parser.add_argument(
            "--max-backlog",
            type=at_least_0,
            default=DEFAULT_BACKLOG,
            metavar="N",
            help="barks that may wait to be pushed (default: %(default)s)",
        )
        journal_arguments(parser)

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.add_handler(Put, self.on_put)
        self._people = People(self, files.world(args.state).names)
        self._acks = Acks(self)
        self._parking = Parking(self)
        self._barks = Push(self, args.push, self._note_settled, self._parking.park)
        self._events = Push(self, FOLLOWERS, self._note_settled, self._parking.park)
        self._pushes = (self._barks, self._events)
        self._share = Share(self, self.ADDRESS, lambda: None)
        self._joining = Joining(self)
        full = self._barks_full, self._events_full
        self._admission = Admission(self.ADDRESS, self._people, *full, self._joining.check)
        check = self._admission.check
        self._intake = Intake(self, check, self._record, self._apply, self._share.of)
        self._health = Health(
            self,
            self.ADDRESS,
            CONSISTENT,
            lambda: self._intake.illness(is_out=self._health.is_out),
        )
        self._cleaner = Cleaner(OwedRecords(self._pushes, self._push_of), KEPT_BYTES)
        self._epoch = ""  # in all our stamps
        self._taken = 0  # barks and events that this process has taken over
        self._deepest = deepest(())
        self._looking = False
        self._noting = False

    # --- a bark's way through ---

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

    def _barks_full(self, more: int) -> str:
        waiting, size = len(self._barks), self._barks.waiting_bytes
        if waiting + more > self.args.max_backlog:
            return f"{waiting} barks are waiting"
        is_large = size > self.args.max_backlog * BARK_BYTES
        return f"{size} bytes of barks are waiting" if is_large else ""

    def _events_full(self, more: int) -> str:
        waiting = len(self._events)
        return f"{waiting} events are waiting" if waiting + more > MAX_EVENTS_WAITING else ""

    def _record(self, admitted: Admitted, segment: int) -> tuple[Sequence[bytes], Kept]:
        puts = []
        for push, columns in ((self._barks, admitted.barks), (self._events, admitted.events)):
            if columns:
                n = push.numbers(len(columns.bodies), undone=self._intake.journal.undone)
                put = Put(
                    seq=0,
                    to=[push.service],
                    bodies=columns.bodies,
                    origin=self._epoch,
                    n=n,
                    users=columns.users,
                    ids=columns.ids,
                    at=columns.at,
                    named=columns.named,
                    trace=columns.trace,
                )
                puts.append((push, put, messages.put_tail(put)))
        lines = [messages.put_line(0, put.to, tail) for _, put, tail in puts]
        return lines, Kept(admitted, puts)

    def _apply(self, kept: Kept, segment: int) -> None:
        self._admission.accept(kept.admitted)
        for push, put, tail in kept.puts:
            self._taken += len(put.bodies)
            push.add(put, segment, tail)
            push.pump()

    # --- settled puts ---

    def _note_settled(self) -> None:
        """Entries were settled: record that in a moment, once for all of that moment."""
        if not self._noting:
            self._noting = True
            self.later(SETTLE_NOTE_S, self._write_settled)

    def _write_settled(self) -> None:
        self._noting = False
        news = []
        for push in self._pushes:
            settled = push.oldest_n(push.n + 1) - 1
            if settled > push.noted:
                news.append((push, settled))
        if news:
            lines = [push.settled_line(settled) for push, settled in news]
            try:
                self._intake.journal.append(lines)
            except OSError:
                return  # a lag, no loss
            for push, settled in news:
                push.note(settled)
        if self._cleaner.clean(self._intake.journal):
            self._note_settled()  # go on with it, also if no further entry comes

    # --- the journal ---

    async def prepare(self) -> None:
        if not self.args.no_journal:
            letters = DeadLetters(self.args.state / "dead-letters" / f"{self.name}.jsonl")
            self._parking.open(letters)
            folder = self.args.state / "journal" / self.name
            self._intake.open(Journal(folder, fsync=self.args.fsync))
        journal = self._intake.journal
        self._epoch = journal.epoch
        if not await recover(self, journal, self._replay, self._header):
            return
        for push in self._pushes:
            push.take_recovered()
            if len(push):
                log.info("still to be pushed to %s: %d", push.service, len(push))
        await clean_up(self, self._cleaner, journal)

    def _header(self) -> dict[str, Any]:
        return {
            "n": self._barks.n,
            "settled": self._barks.noted,
            "n_events": self._events.n,
            "settled_events": self._events.noted,
        }

    def _replay(self, segment: int, record: Record) -> None:
        if isinstance(record, Put):
            push = self._push_of(record.to[0])
            self._admission.recover(record, joins=push is self._events)
            push.recover(record, segment)
        elif isinstance(record, Segment):
            self._barks.given(record.n)
            self._events.given(record.n_events)
            self._barks.was_settled(record.settled)
            self._events.was_settled(record.settled_events)
        elif isinstance(record, Settled):
            push = self._events if record.to == FOLLOWERS else self._barks
            push.was_settled(record.n)

    def _push_of(self, service: str) -> Push:
        """The queue of the entries that the journal has for that service."""
        return self._events if service == FOLLOWERS else self._barks

    async def ready(self) -> None:
        self._health.begin()

    def ticked(self) -> None:
        self._health.look()

    def lacks(self) -> str:
        missing = super().lacks()
        for push in self._pushes:
            if not missing and len(push) and not push.sender.route.targets:
                kind = push.service
                missing = f"its queue waits for {kind}; `{python()} -m barker.{kind}` starts one"
            elif not missing and len(push) and push.sender.why_deferred:
                missing = f"its queue for {push.service} waits: {push.sender.why_deferred}"
        if not missing and len(self._joining):
            missing = f"joins are {self._joining.why}"
        return missing

    async def stopping(self) -> None:
        if not self.failed:  # else entries that the queue lacks would look settled
            self._write_settled()
        await super().stopping()
        await self._intake.durable.close()
        waiting = sum(map(len, self._pushes))
        if waiting and self.args.no_journal:
            log.warning("still waiting, and gone with us: %d", waiting)

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        barks, events = (push.sender.gauges() for push in self._pushes)
        oldest = self._barks.ages.oldest
        if not self._looking:
            self._looking = True
            self.slices.add(self._look_for_deepest())
        return {
            **{name: barks[name] + events[name] for name in barks},
            "events": len(self._events) + len(self._joining),
            "in": self._taken,
            "peak": self._barks.ages.peak,
            "oldest_ms": None if oldest is None else round(1000 * (self.now() - oldest)),
            "streams": self._admission.authors,
            "deepest": self._deepest,
            "dead_letters": self._parking.letters.count,
            "dead_letter": self._parking.letters.latest,
        }

    def _look_for_deepest(self) -> Steps:
        """Find the author with the most waiting entries; with very many, a sample or two late."""
        most: list[tuple[int, str]] = []
        try:
            barks, events = self._pushes
            only_events = (author for author in list(events.authors) if author not in barks.authors)
            for author in chain(list(barks.authors), only_events):
                waiting = barks.waiting_of(author) + events.waiting_of(author)
                if waiting:
                    heapq.heappush(most, (waiting, f"{self.ADDRESS}/{author}"))
                if len(most) > MAX_NAMED_STREAMS:
                    heapq.heappop(most)
                yield
            self._deepest = deepest((address, n) for n, address in most)
        finally:
            self._looking = False

    def sampled(self) -> None:
        self._barks.ages.new_second()


def main(argv: list[str] | None = None) -> int:
    return run_service(Outbox, "outbox", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
