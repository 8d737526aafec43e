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
from barker.link import Message
from barker.routing import split
from barker.service import log
from barker.streams import Duplicates
from barker.wire import BAD_MESSAGE, BadMessage

# How long the journal may lag behind in what is settled: what it doesn't know to be settled is
# pushed once more after a crash, and dropped as known by the inboxes.
SETTLE_NOTE_S = 0.05


class Stamped(NamedTuple):
    """A bark on its way to the journal."""

    seq: int
    addresses: Sequence[str]
    line: bytes
    end: bytes
    n: int
    key: tuple[str, str]


class Outbox(Keeper[Stamped]):
    """Takes barks from clients, stamps them, pushes them on in the order in which they came."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._n = 0  # the last counter that was given away
        self._taken = 0  # barks that this process has taken over
        self._settled = 0  # the journal knows that everything up to this one is settled
        self._noting = False
        self._last_n: dict[int, int] = {}  # by segment, the last counter in it
        self._recovered: deque[Put] = deque()
        self._duplicates = Duplicates()
        self._streams: dict[str, Backlog] = {}
        self._push = Push(self, args.push)

    # --- a bark's way through ---

    def take(self, seq: int, addresses: Sequence[str], message: Message) -> Stamped | None:
        address, *more = addresses
        if more:
            raise BadMessage(BAD_MESSAGE, "a bark has one author")
        body = message["body"]
        bark = barks.check_bark(body, message["parsed"])
        if bark.user != split(address)[1]:
            raise BadMessage(BAD_MESSAGE, f"{address} takes no barks of {bark.user}")
        if bark.user not in self.world:
            raise BadMessage(wire.UNKNOWN_USER, f"there is no user {bark.user}")
        if len(self._push) + len(self._staged) >= self.args.max_backlog:
            raise BadMessage(wire.FULL, f"{len(self._push)} barks are waiting")
        key = (bark.user, bark.id)
        if not self._duplicates.admit(key, None, 0, addresses)[0]:
            return None
        self._n += 1
        end = wire.stamped(self.epoch.encode(), self._n, body)
        line = wire.put_line(self._n, wire.addresses_json(addresses), end)
        return Stamped(seq, addresses, line, end, self._n, key)

    def keep(self, stage: Stamped, segment: int) -> None:
        self._last_n[segment] = stage.n
        self._taken += 1
        self._push.put(self._push.to, stage.end, self._stream(stage.addresses[0]))

    def withdraw(self, stage: Stamped) -> None:
        # Its counter is free again: behind too wide a hole, an inbox would take a bark that comes
        # again for one settled long ago. But if the disk could not even cut off what it had begun
        # to write, two barks might come to share the counter.
        if self.journal.undone:
            self._n = min(self._n, stage.n - 1)
        self._duplicates.withdraw(stage.key, stage.addresses)

    def hand_on(self) -> None:
        self._push.pump()
        self._push.ages.added(self._push.done + len(self._push), self.now())

    def _stream(self, address: str) -> "Backlog":
        stream = self._streams.get(address)
        if stream is None:
            stream = self._streams[address] = Backlog()
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
        if line.startswith(b'{"op":"put"'):
            put = wire.decode(line)
            n, body, fields = put["n"], put["body"], put["parsed"]
            self._n = max(self._n, n)
            self._last_n[segment] = n
            self._duplicates.admit((fields["user"], fields["id"]), None, 0, put["to"])
            end = wire.stamped(put["origin"].encode(), n, body)
            waiting.append(Put(b"", end, put["to"], self._stream(put["to"][0])))
        else:
            record = wire.loads(line)
            if record["op"] == "segment":
                self._n = max(self._n, record["n"])
                self._settled = max(self._settled, record["settled"])
            else:
                self._settled = max(self._settled, record["seq"])
                self._n = max(self._n, self._settled)  # its put may be what was damaged
            while waiting and wire.stamp(waiting[0].end) <= self._settled:
                waiting.popleft()

    async def prepare(self) -> None:
        await super().prepare()
        waiting, self._recovered = self._recovered, deque()
        for put in waiting:
            if wire.stamp(put.end) > self._settled:
                self._push.put(self._push.to, put.end, put.job)
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

    __slots__ = ("pending",)
    void = False

    def __init__(self) -> None:
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
        return min((wire.stamp(put.end) for put in self.oldest()), default=default)

    def settled(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.pending -= 1
        self.ages.settled(self.done)
        self._outbox.note_settled()

    def refused(self, job: Job, code: str, reason: str, addresses: Sequence[str]) -> None:
        log.error("%s will never take a bark of ours: %s (%s)", self.service, reason, code)
        self.settled([job])
