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
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from barker.delivery.duplicates import Keys
from barker.graph.feed import FOLLOWERS
from barker.links.link import Link
from barker.manifold.intake import KEPT_BYTES, Manifold
from barker.manifold.push import Backlog, Push
from barker.process.agent import deepest
from barker.process.arguments import at_least_0, service_name
from barker.process.service import log, run_service
from barker.process.terminal import python
from barker.routing.routes import split
from barker.wire import bodies, messages, protocol, strictjson
from barker.wire.bodies import JOIN, check_event
from barker.wire.ops import Item, Put, new_item
from barker.wire.protocol import BAD_MESSAGE, BadMessage
from barker.wire.records import Segment, Settled

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


class Stamped(NamedTuple):
    """A bark or an event on its way to the journal, and the queue that it will wait in."""

    stream: "Backlog"
    item: Item
    push: "Push"


_push = attrgetter("push")


ABOUT = """\
Run an outbox. It takes barks from clients, keeps them in its journal, and pushes them on to the
business logic. Of several outboxes, each has its share of the authors.
"""
EXAMPLES = (
    "--port 5800",
    "--port 5801 --fsync",
)


class Outbox(Manifold[Stamped]):
    """Takes barks from clients, stamps them, pushes them on in the order in which they came."""

    kind = address = "outbox"
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
        super().arguments(parser)

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._epoch = ""  # in all our stamps
        self._latest_at = 0  # of this batch: what is further ahead is said now
        self._taken = 0  # barks that this process has taken over
        self._noting = False
        self._known_keys = Keys()
        self._room = 0  # barks that we may take before we look again
        self._streams: dict[str, Backlog] = {}
        self._push = Push(self, args.push, self.note_settled, self.park)
        self._events = Push(self, FOLLOWERS, self.note_settled, self.park)
        self._pushes = (self._push, self._events)
        self._grown: set[Push] = set()  # which of them have something new
        self._joined: list[str] = []  # of this batch: who exists by it

    # --- a bark's way through ---

    def on_put(self, link: Link, put: Put) -> None:
        self._latest_at = time.time_ns() // 1_000_000 + 1000 * MAX_AHEAD_S
        super().on_put(link, put)

    def take(
        self, addresses: Sequence[str], item: Item, fields: dict[str, Any] | None
    ) -> Stamped | None:
        address, *more = addresses
        if more:
            raise BadMessage(BAD_MESSAGE, "a bark has one author")
        if item.origin is not None:
            raise BadMessage(BAD_MESSAGE, "an outbox stamps what it takes itself")
        body = bodies.admitted(item.body, fields)
        assert fields is not None
        at = fields.get("at")
        if type(at) is int and at > self._latest_at:
            fields = {**fields, "at": self._latest_at - 1000 * MAX_AHEAD_S}
            body = strictjson.dumps(fields)
        if "kind" in fields:
            return self._take_event(address, body, fields, item.trace)
        key = bodies.check_bark(fields)
        stream = self._streams.get(address) or self._new_stream(address)
        user, id_ = key
        if user != stream.user:
            raise BadMessage(BAD_MESSAGE, f"{address} takes no barks of {user}")
        if self._room <= 0:
            self._see_room()
            if self._room <= 0:
                raise BadMessage(protocol.FULL, f"{len(self._push)} barks are waiting")
        if not self._known_keys.is_new(key):
            return None
        self._room -= 1
        content, push = fields["content"], self._push
        named = " ".join(bodies.mentions(content)) if "@" in content else ""
        n = push.next_n()
        stamp = (self._epoch, n, stream.user, id_, fields["at"], named, False, item.trace)
        item = new_item((body, *stamp))
        return Stamped(stream, item, push)

    def _see_room(self) -> None:
        self._room = self.args.max_backlog - len(self._push) - len(self._staged)

    def record(self, stages: Sequence[Stamped], segment: int) -> Iterator[bytes]:
        for push, some in groupby(stages, key=_push):
            items = [stage.item for stage in some]
            yield messages.encode(Put.of(0, push.to * len(items), items))

    def keep(self, stages: Sequence[Stamped], segment: int) -> None:
        self._known_keys.confirm()
        self._joined.clear()
        self._taken += len(stages)
        for push, some in groupby(stages, key=_push):
            streams, items, _ = zip(*some, strict=True)
            push.put_kept(items, streams)
            push.recorded(items[-1].n, segment)
            self._grown.add(push)

    def rollback(self) -> None:
        # The counters are free again: behind too wide a hole, an inbox would mark as late what only
        # comes again. But if the disk could not even cut off what it had begun to write, two barks
        # might come to share a counter.
        if self.journal.undone:
            for push in self._pushes:
                push.rollback()
        self._known_keys.reject()
        self._room = 0
        for user in self._joined:
            self.people.forget(user)
            self._streams.pop(f"{self.address}/{user}", None)
        self._joined.clear()

    def hand_on(self) -> None:
        for push in self._grown:
            push.pump()
            push.ages.added(push.put_count, self.now())
        self._grown.clear()

    def _new_stream(self, address: str) -> "Backlog":
        """For an author who has said nothing yet. Raises BadMessage if there is no such author."""
        user = split(address)[1]
        self._check_exists(user)
        stream = self._streams[address] = Backlog(user)
        return stream

    def _check_exists(self, user: str) -> None:
        if user not in self.people:
            if not self.people.complete:
                raise BadMessage(protocol.FULL, "who else exists is not known here yet")
            raise BadMessage(protocol.UNKNOWN_USER, f"there is no user {user}")

    # --- what changes the graph ---

    def _take_event(
        self, address: str, body: bytes, fields: dict[str, Any], trace: str
    ) -> Stamped | None:
        event = check_event(fields)
        if event.user != split(address)[1]:
            raise BadMessage(BAD_MESSAGE, f"{address} takes nothing of {event.user}")
        if len(self._events) + len(self._staged) >= MAX_EVENTS_WAITING:
            raise BadMessage(protocol.FULL, f"{len(self._events)} events are waiting")
        joins = event.user if event.kind == JOIN else ""
        if not joins:
            self._check_exists(event.user)
            self._check_exists(event.whom)
        elif event.user not in self.people and not self.people.complete:
            raise BadMessage(protocol.FULL, "whether the name is free is not known here yet")
        key = (event.user, event.id)
        if not self._known_keys.is_new(key):
            return None
        if joins:
            if joins in self.people:
                self._known_keys.forget(key)
                raise BadMessage(protocol.NAME_TAKEN, f"there is a user {joins} already")
            self._joined.append(joins)
            self.people.add(joins)  # what the same batch brings besides may be theirs
        stream = self._streams.get(address) or self._new_stream(address)
        stamp = (self._epoch, self._events.next_n(), stream.user, event.id, event.at)
        item = Item(body, *stamp, trace=trace)
        return Stamped(stream, item, self._events)

    # --- what is settled ---

    def note_settled(self) -> None:
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
            try:
                self.journal.append([push.settled_line(settled) for push, settled in news])
            except OSError:
                return  # a lag, no loss
            for push, settled in news:
                push.note(settled)
            self._drop_segments()

    def _drop_segments(self) -> None:
        journal = self.journal
        for number, size in list(journal.segments.items()):
            if journal.size - size < KEPT_BYTES or number == journal.current:
                return
            if any(push.needs(number) for push in self._pushes):
                return
            journal.drop(number)
            for push in self._pushes:
                push.dropped(number)

    # --- the journal ---

    def header(self) -> dict[str, Any]:
        return {
            "n": self._push.n,
            "settled": self._push.noted,
            "n_events": self._events.n,
            "settled_events": self._events.noted,
        }

    def replay(self, segment: int, line: bytes) -> None:
        record = messages.decode_record(line)
        if isinstance(record, Put):
            push = self._events if record.to[0] == FOLLOWERS else self._push
            for item in record.items():
                self._known_keys.is_new(item.key)
                address = f"{self.address}/{item.user}"
                stream = self._streams.get(address)
                if stream is None:  # also if there is no such user any more: it was acked
                    stream = self._streams[address] = Backlog(item.user)
                push.recorded(item.n, segment)
                if push is self._events and strictjson.loads(item.body).get("kind") == JOIN:
                    self.people.add(item.user)
                push.recovered.append((item, stream))
            self._known_keys.confirm()
        elif isinstance(record, Segment):
            self._push.given(record.n)
            self._events.given(record.n_events)
            self._push.was_settled(record.settled)
            self._events.was_settled(record.settled_events)
        elif isinstance(record, Settled):
            push = self._events if record.to == FOLLOWERS else self._push
            push.was_settled(record.n)

    async def prepare(self) -> None:
        await super().prepare()
        self._epoch = self.epoch
        for push in self._pushes:
            push.begin()
            push.take_recovered()
            if len(push):
                log.info("still to be pushed to %s: %d", push.service, len(push))
                push.ages.added(push.put_count, self.now())  # older than we can tell

    def lacks(self) -> str:
        missing = super().lacks()
        for push in self._pushes:
            if not missing and len(push) and not push.route.targets:
                kind = push.service
                missing = f"what is kept waits for {kind}; `{python()} -m barker.{kind}` starts one"
        return missing

    async def stopping(self) -> None:
        if not self.failed:  # else what the queue lacks would look settled
            self._write_settled()
        await super().stopping()
        waiting = sum(map(len, self._pushes))
        if waiting and self.args.no_journal:
            log.warning("still waiting, and gone with us: %d", waiting)

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        barks, events = (push.gauges() for push in self._pushes)
        oldest = self._push.ages.oldest
        return {
            **{name: barks[name] + events[name] for name in barks},
            "events": len(self._events),
            "in": self._taken,
            "peak": self._push.ages.peak,
            "oldest_ms": None if oldest is None else round(1000 * (self.now() - oldest)),
            "streams": len(self._streams),
            "deepest": deepest((a, s.pending) for a, s in self._streams.items()),
            "dead_letters": self.dead_letters.count,
            "dead_letter": self.dead_letters.latest,
        }

    def sampled(self) -> None:
        self._push.ages.new_second()


def main(argv: list[str] | None = None) -> int:
    return run_service(Outbox, "outbox", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
