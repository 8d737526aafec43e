"""The outbox: the first manifold that a bark meets. It queues, and pushes the queue on in order.

    python -m barker.outbox --port 5800

It checks that the author may say this here, makes the body canonical, stamps the bark with its
epoch and a counter, and acks it once the journal has it. From then on the bark is the outbox's,
until the service behind has acked it in turn, or has refused it for good: then it is a dead letter.
A full queue refuses.

What changes the graph (`barker.wire.bodies`) is taken, stamped, journaled and acked like a bark.
Then it goes another way, to ``followers``, in a queue of its own with counters of its own: so
neither waits for the other, and a receiver of barks finds no holes in their counters.

The journal holds the stamped puts, and now and then how far they are settled, for each queue:
everything up to that counter may be forgotten. What is not settled is pushed again after a restart,
in order, before anything new. A bark whose place on the ring has become another outbox's is still
pushed from here.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from typing import Any, NamedTuple

from barker.delivery.acks import Acks
from barker.delivery.duplicates import Keys
from barker.disk import files
from barker.disk.deadletters import DeadLetters
from barker.disk.journal import Journal
from barker.graph.feed import FOLLOWERS
from barker.graph.people import People
from barker.links.link import Link
from barker.manifold.intake import KEPT_BYTES, Faults, Intake
from barker.manifold.parking import Parking
from barker.manifold.push import Push
from barker.manifold.recovery import recover
from barker.manifold.share import Share
from barker.process.agent import deepest
from barker.process.arguments import at_least_0, journal_arguments, service_name
from barker.process.service import Service, log, run_service
from barker.process.terminal import python
from barker.routing.routes import CONSISTENT, split
from barker.wire import bodies, messages, protocol, strictjson
from barker.wire.bodies import JOIN, check_event
from barker.wire.ops import Put
from barker.wire.protocol import BAD_MESSAGE, FULL, BadMessage
from barker.wire.records import Record, Segment, Settled

# How long the journal may lag behind in what is settled: what it doesn't know to be settled is
# pushed once more after a crash, and dropped as known by the inboxes.
SETTLE_NOTE_S = 0.05
# Events that may wait while no followers service is there; one is about as large as a bark.
MAX_EVENTS_WAITING = 100_000
# A bark waiting in an outbox costs some 600 bytes; this many fit a small machine. Beyond it, full.
DEFAULT_BACKLOG = 1_200_000
# How far the clock that said `at` may be ahead of ours; what is further ahead is said now, by ours.
# One behind may be right: pages keep barks while they are offline. The last word about an edge
# counts, and one from the future would stand for as long as it takes that future to come.
MAX_AHEAD_S = 60


class Row(NamedTuple):
    """One entry that is taken: a body and its columns, but for the counter."""

    body: bytes
    user: str
    id: str
    at: int
    named: str
    trace: str


class Accepted:
    """What is to be kept of one line."""

    __slots__ = ("barks", "events", "joins", "keys", "puts")

    def __init__(self) -> None:
        self.barks: list[Row] = []
        self.events: list[Row] = []
        self.keys: set[tuple[str, str]] = set()
        self.joins: set[str] = set()  # users who exist by it
        self.puts: list[tuple[Push, Put, bytes]] = []  # by queue, the same with its `put_tail`

    def __bool__(self) -> bool:
        return bool(self.barks or self.events)


ABOUT = """\
Run an outbox. It takes barks from clients, keeps them in its journal, and pushes them on to the
business logic. Of several outboxes, each has its share of the authors.
"""
EXAMPLES = (
    "--port 5800",
    "--port 5801 --fsync",
)


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
        self._intake = Intake(self, self._check, self._record, self._apply, self._share.of)
        self._epoch = ""  # in all our stamps
        self._taken = 0  # barks and events that this process has taken over
        self._noting = False
        self._known_keys = Keys()
        self._authors: dict[str, str] = {}  # by address, all who have said something here

    # --- a bark's way through ---

    def link_closing(self, link: Link) -> None:
        self._acks.say(link)

    def on_put(self, link: Link, put: Put) -> None:
        self._intake.take(link, put)

    def batch_end(self, link: Link) -> None:
        self._acks.owe(link)

    def link_down(self, link: Link) -> None:
        self._acks.link_down(link)
        self._intake.link_down(link)

    def _check(self, put: Put) -> tuple[Accepted | None, Faults]:
        accepted, faults = Accepted(), []
        latest = time.time_ns() // 1_000_000 + 1000 * MAX_AHEAD_S
        room = self.args.max_backlog - len(self._barks)
        keys, known = accepted.keys, self._known_keys
        full: BadMessage | None = None
        meanings = strictjson.objects(put.bodies)
        rows = zip(put.entries(), put.bodies, meanings, put.trace or repeat(""), strict=False)
        for place, (entry, body, fields, trace) in enumerate(rows):
            try:
                if full:
                    raise full
                if put.origin is not None:
                    raise BadMessage(BAD_MESSAGE, "an outbox stamps what it takes itself")
                if " " in entry:
                    raise BadMessage(BAD_MESSAGE, "a bark has one author")
                body = bodies.admitted(body, fields)
                assert fields is not None
                at = fields.get("at")
                if type(at) is int and at > latest:
                    fields = {**fields, "at": latest - 1000 * MAX_AHEAD_S}
                    body = strictjson.dumps(fields)
                if "kind" in fields:
                    self._check_event(entry, body, fields, trace, accepted)
                    continue
                key = bodies.check_bark(fields)
                user = self._authors.get(entry)
                if user is None:
                    user = split(entry)[1]
                    self._check_exists(user, accepted)
                if key[0] != user:
                    raise BadMessage(BAD_MESSAGE, f"{entry} takes no barks of {key[0]}")
                if len(accepted.barks) >= room:
                    raise BadMessage(FULL, f"{len(self._barks)} barks are waiting")
                if key not in keys and known.is_new(key):
                    keys.add(key)
                    content = fields["content"]
                    named = " ".join(bodies.mentions(content)) if "@" in content else ""
                    accepted.barks.append(Row(body, user, key[1], fields["at"], named, trace))
            except BadMessage as fault:
                faults.append((place, fault))
                if fault.code == FULL:  # what follows must not overtake it
                    full = BadMessage(FULL, "something before it was refused as full")
        return accepted or None, faults

    def _record(self, accepted: Accepted, segment: int) -> Sequence[bytes]:
        lines = []
        for push, rows in ((self._barks, accepted.barks), (self._events, accepted.events)):
            if rows:
                texts, users, ids, at, named, trace = zip(*rows, strict=True)
                put = Put(
                    seq=0,
                    to=[push.service],
                    bodies=texts,
                    origin=self._epoch,
                    n=push.numbers(len(rows), undone=self._intake.journal.undone),
                    users=users,
                    ids=ids,
                    at=at,
                    named=named if any(named) else None,
                    trace=trace if any(trace) else None,
                )
                tail = messages.put_tail(put)
                accepted.puts.append((push, put, tail))
                lines.append(messages.put_line(0, put.to, tail))
        return lines

    def _apply(self, accepted: Accepted, segment: int) -> None:
        self._known_keys.add(accepted.keys)
        for user in accepted.joins:
            self._people.add(user)
        for push, put, tail in accepted.puts:
            self._taken += len(put.bodies)
            self._has_heard(put.users or ())
            push.add(put, segment, tail)
            push.pump()

    def _has_heard(self, users: Sequence[str]) -> None:
        """These have said something here, and so they exist."""
        self._authors.update((f"{self.ADDRESS}/{user}", user) for user in {*users})

    def _check_exists(self, user: str, accepted: Accepted) -> None:
        if user not in self._people and user not in accepted.joins:
            if not self._people.complete:
                raise BadMessage(FULL, "who else exists is not known here yet")
            raise BadMessage(protocol.UNKNOWN_USER, f"there is no user {user}")

    # --- what changes the graph ---

    def _check_event(
        self, address: str, body: bytes, fields: dict[str, Any], trace: str, accepted: Accepted
    ) -> None:
        event = check_event(fields)
        if event.user != split(address)[1]:
            raise BadMessage(BAD_MESSAGE, f"{address} takes nothing of {event.user}")
        if len(self._events) + len(accepted.events) >= MAX_EVENTS_WAITING:
            raise BadMessage(FULL, f"{len(self._events)} events are waiting")
        joins = event.kind == JOIN
        if not joins:
            self._check_exists(event.user, accepted)
            self._check_exists(event.whom, accepted)
        elif event.user not in self._people and not self._people.complete:
            raise BadMessage(FULL, "whether the name is free is not known here yet")
        key = (event.user, event.id)
        if key in accepted.keys or not self._known_keys.is_new(key):
            return
        if joins:
            if event.user in self._people or event.user in accepted.joins:
                raise BadMessage(protocol.NAME_TAKEN, f"there is a user {event.user} already")
            accepted.joins.add(event.user)  # what the same line brings besides may be theirs
        accepted.keys.add(key)
        accepted.events.append(Row(body, event.user, event.id, event.at, "", trace))

    # --- what is settled ---

    def _note_settled(self) -> None:
        """Something was settled: tell the journal in a moment, once for all of that moment."""
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
            self._drop_segments()

    def _drop_segments(self) -> None:
        journal = self._intake.journal
        for number, size in list(journal.segments.items()):
            if journal.size - size < KEPT_BYTES or number == journal.current:
                return
            if any(push.needs(number) for push in self._pushes):
                return
            journal.drop(number)
            for push in self._pushes:
                push.dropped(number)

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

    def _header(self) -> dict[str, Any]:
        return {
            "n": self._barks.n,
            "settled": self._barks.noted,
            "n_events": self._events.n,
            "settled_events": self._events.noted,
        }

    def _replay(self, segment: int, record: Record) -> None:
        if isinstance(record, Put):
            push = self._events if record.to[0] == FOLLOWERS else self._barks
            users = record.users or ()
            self._known_keys.add(zip(users, record.ids or (), strict=True))
            self._has_heard(users)  # also if there is no such user any more: it was acked
            push.recover(record, segment)
            if push is self._events:
                for user, body in zip(users, record.bodies, strict=True):
                    if strictjson.loads(body).get("kind") == JOIN:
                        self._people.add(user)
        elif isinstance(record, Segment):
            self._barks.given(record.n)
            self._events.given(record.n_events)
            self._barks.was_settled(record.settled)
            self._events.was_settled(record.settled_events)
        elif isinstance(record, Settled):
            push = self._events if record.to == FOLLOWERS else self._barks
            push.was_settled(record.n)

    async def ready(self) -> None:
        self.serve(self.ADDRESS, CONSISTENT)

    def lacks(self) -> str:
        missing = super().lacks()
        for push in self._pushes:
            if not missing and len(push) and not push.sender.route.targets:
                kind = push.service
                missing = f"what is kept waits for {kind}; `{python()} -m barker.{kind}` starts one"
        return missing

    async def stopping(self) -> None:
        if not self.failed:  # else what the queue lacks would look settled
            self._write_settled()
        await super().stopping()
        self._intake.journal.close()
        waiting = sum(map(len, self._pushes))
        if waiting and self.args.no_journal:
            log.warning("still waiting, and gone with us: %d", waiting)

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        barks, events = (push.sender.gauges() for push in self._pushes)
        oldest = self._barks.ages.oldest
        waiting: Counter[str] = self._barks.by_author + self._events.by_author
        return {
            **{name: barks[name] + events[name] for name in barks},
            "events": len(self._events),
            "in": self._taken,
            "peak": self._barks.ages.peak,
            "oldest_ms": None if oldest is None else round(1000 * (self.now() - oldest)),
            "streams": len(self._authors),
            "deepest": deepest((f"{self.ADDRESS}/{user}", n) for user, n in waiting.items()),
            "dead_letters": self._parking.letters.count,
            "dead_letter": self._parking.letters.latest,
        }

    def sampled(self) -> None:
        self._barks.ages.new_second()


def main(argv: list[str] | None = None) -> int:
    return run_service(Outbox, "outbox", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
