"""The outbox: the first manifold that a bark meets. It queues, and pushes the queue on in order.

It checks that the author may say this here, stamps the bark with its epoch and a counter, and acks
it once the journal has it. From then on the bark is the outbox's, until the service behind has
acked it in turn. A full queue refuses.

The journal holds the stamped puts, and now and then how far they are settled: everything up to that
counter may be forgotten. What is not settled is pushed again after a restart, in order, before
anything new. A bark whose place on the ring has become another outbox's is still pushed from here.
"""

import argparse
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from barker import barks, wire
from barker.agent import deepest
from barker.ages import Ages
from barker.delivery import Delivery, Job, Put
from barker.keeper import KEPT_BYTES, Keeper
from barker.routing import split
from barker.service import log
from barker.streams import Keys
from barker.wire import BAD_MESSAGE, Arriving, BadMessage, Load

# How long the journal may lag behind in what is settled: what it doesn't know to be settled is
# pushed once more after a crash, and dropped as known by the inboxes.
SETTLE_NOTE_S = 0.05


class Stamped(NamedTuple):
    """A bark on its way to the journal."""

    load: Load
    stream: "Backlog"
    key: tuple[str, str]


class Outbox(Keeper[Stamped]):
    """Takes barks from clients, stamps them, pushes them on in the order in which they came."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._n = 0  # the last counter that was given away
        self._source = b""  # what all our stamps begin with
        self._taken = 0  # barks that this process has taken over
        self._settled = 0  # the journal knows that everything up to this one is settled
        self._noting = False
        self._last_n: dict[int, int] = {}  # by segment, the last counter in it
        self._recovered: deque[Put] = deque()
        self._known_keys = Keys()
        self._room = 0  # barks that we may take before we look again
        self._streams: dict[str, Backlog] = {}
        self._push = Push(self, args.push)

    # --- a bark's way through ---

    def take(self, put: Arriving) -> Stamped | None:
        address, *more = put.addresses
        if more:
            raise BadMessage(BAD_MESSAGE, "a bark has one author")
        key = barks.check_bark(put.fields)
        stream = self._streams.get(address) or self._new_stream(address)
        if key[0] != stream.user:
            raise BadMessage(BAD_MESSAGE, f"{address} takes no barks of {key[0]}")
        if self._room <= 0:
            self._see_room()
            if self._room <= 0:
                raise BadMessage(wire.FULL, f"{len(self._push)} barks are waiting")
        if not self._known_keys.is_new(key):
            return None
        self._n += 1
        self._room -= 1
        return Stamped(Load(self._source, self._n, put.body), stream, key)

    def _see_room(self) -> None:
        self._room = self.args.max_backlog - len(self._push) - len(self._staged)

    def record(self, stages: Sequence[Stamped], segment: int) -> list[bytes]:
        first = stages[0].load
        return [
            wire.puts_line(
                first.n,
                [stage.stream.to for stage in stages],
                first.source,
                [stage.load.n for stage in stages],
                [stage.load.body for stage in stages],
            )
        ]

    def keep(self, stages: Sequence[Stamped], segment: int) -> None:
        self._last_n[segment] = stages[-1].load.n
        self._taken += len(stages)
        put, to = self._push.put, self._push.to
        for stage in stages:
            put(to, stage.load, stage.stream)

    def withdraw(self, stage: Stamped) -> None:
        # Its counter is free again: behind too wide a hole, an inbox would take a bark that comes
        # again for one settled long ago. But if the disk could not even cut off what it had begun
        # to write, two barks might come to share the counter.
        if self.journal.undone:
            self._n = min(self._n, stage.load.n - 1)
        self._known_keys.forget(stage.key)

    def hand_on(self) -> None:
        self._push.pump()
        self._push.ages.added(self._push.done + len(self._push), self.now())

    def _new_stream(self, address: str) -> "Backlog":
        """For an author who has said nothing yet. Raises BadMessage if there is no such author."""
        user = split(address)[1]
        if user not in self.world:
            raise BadMessage(wire.UNKNOWN_USER, f"there is no user {user}")
        stream = self._streams[address] = Backlog(user)
        return stream

    # --- what is settled ---

    def note_settled(self) -> None:
        """Something was settled: tell the journal in a moment, once for all of that moment."""
        if not self._noting:
            self._noting = True
            self.later(SETTLE_NOTE_S, self._write_settled)

    def _write_settled(self) -> None:
        self._noting = False
        settled = self._push.oldest_n(self._n + 1) - 1
        if settled > self._settled:
            try:
                self.journal.append([wire.ack_line(settled)])
            except OSError:
                return  # a lag, no loss
            self._settled = settled
            self._drop_segments()

    def _drop_segments(self) -> None:
        journal = self.journal
        for number, size in list(journal.segments.items()):
            if journal.size - size < KEPT_BYTES or number == journal.current:
                return
            if self._last_n.get(number, 0) > self._settled:
                return
            journal.drop(number)
            self._last_n.pop(number, None)

    # --- the journal ---

    def header(self) -> dict[str, Any]:
        return {"n": self._n, "settled": self._settled}

    def replay(self, segment: int, line: bytes) -> None:
        waiting = self._recovered
        record = wire.decode_record(line)
        if record["op"] in ("put", "puts"):
            source = wire.source(record["origin"])
            for _, to, _, n, _, body, fields in wire.puts_in(record):
                self._n = max(self._n, n)
                self._last_n[segment] = n
                self._known_keys.is_new((fields["user"], fields["id"]))
                stream = self._streams.get(to[0])
                if stream is None:  # also if there is no such user any more: it was acked
                    stream = self._streams[to[0]] = Backlog(fields["user"])
                waiting.append(Put(b"", to, stream, source, n, body))
            return
        if record["op"] == "segment":
            self._n = max(self._n, record["n"])
            self._settled = max(self._settled, record["settled"])
        else:
            self._settled = max(self._settled, record["seq"])
            self._n = max(self._n, self._settled)  # its put may be what was damaged
        while waiting and waiting[0].n <= self._settled:
            waiting.popleft()

    async def prepare(self) -> None:
        await super().prepare()
        self._source = wire.source(self.epoch)
        waiting, self._recovered = self._recovered, deque()
        for put in waiting:
            if put.n > self._settled:
                self._push.put(self._push.to, Load(put.source, put.n, put.body), put.job)
        if len(self._push):
            log.info("%d barks are still to be pushed", len(self._push))
            self._push.ages.added(len(self._push), self.now())  # older than we can tell

    async def stopping(self) -> None:
        self._write_settled()
        await super().stopping()
        if len(self._push) and self.args.no_journal:
            log.warning("%d barks were still waiting", len(self._push))

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        oldest = self._push.ages.oldest
        return {
            **self._push.gauges(),
            "in": self._taken,
            "peak": self._push.ages.peak,
            "oldest_ms": None if oldest is None else round(1000 * (self.now() - oldest)),
            "streams": len(self._streams),
            "deepest": deepest((a, s.pending) for a, s in self._streams.items()),
        }

    def sampled(self) -> None:
        self._push.ages.new_second()


class Backlog:
    """One author's stream: `pending` barks that nobody has taken over yet."""

    __slots__ = ("pending", "to", "user")
    void = False

    def __init__(self, user: str) -> None:
        self.user = user
        self.to = wire.addresses_json([f"outbox/{user}"])
        self.pending = 0


class Push(Delivery):
    """An outbox's queue towards the service behind it."""

    def __init__(self, outbox: Outbox, service: str) -> None:
        super().__init__(outbox, service)
        self.to = (service,)
        self.ages = Ages()
        self._outbox = outbox

    def oldest_n(self, default: int) -> int:
        """The counter of the oldest bark that nobody has taken over yet."""
        return min((put.n for put in self.oldest()), default=default)

    def settled(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.pending -= 1
        self.ages.settled(self.done)
        self._outbox.note_settled()

    def refused(self, job: Job, code: str, reason: str, addresses: Sequence[str]) -> None:
        log.error("%s will never take a bark of ours: %s (%s)", self.service, reason, code)
        self.settled([job])
