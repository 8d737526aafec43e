"""The intake: how outboxes and inboxes take puts. They keep what they ack.

* Which addresses are ours is the ring's to say, as the directory tells it to everybody. A `put` to
  what belongs to another is refused as ``moved``.
* A batch of puts is written to the journal in one piece, and only then does anything come of it: it
  is applied, handed on, and acked, once for the whole batch or for several
  (`barker.delivery.acks`). If the journal can't be written, the batch is refused as ``full``, as if
  it had never come. An exception before the journal has the batch closes the link, and it is as if
  the batch had never come, too. An exception after that leaves memory and journal different: the
  process ends, and the next start recovers what the journal has.
* After a ``full``, everything that comes over the same link is refused, too, until the sender can
  have heard of it: else what it had sent behind would overtake what it will send again. A ping goes
  with the refusal, and whatever comes before its pong was sent before.
* When it starts, a keeper plays its journal back before it lets anybody connect.
"""

import argparse
import asyncio
import contextlib
import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count, repeat
from operator import attrgetter
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from barker.delivery.acks import Acks
from barker.delivery.poison import Suspects
from barker.disk import files
from barker.disk.deadletters import DeadLetters, Letter
from barker.disk.journal import Journal, NoJournal
from barker.graph.people import People
from barker.links.link import Link
from barker.process.arguments import journal_arguments
from barker.process.service import Service, log
from barker.routing.routes import CONSISTENT, split
from barker.wire import messages, protocol, strictjson
from barker.wire.fields import addresses_in
from barker.wire.ops import Item, Put, Refuse
from barker.wire.protocol import BAD_MESSAGE, BadMessage, BarkerError

# Streams of one manifold; one costs about 300 bytes. Beyond it, new addresses are refused as full.
MAX_STREAMS = 2_000_000
# What a journal keeps even if nobody needs it for its content: by the keys in it we know a bark
# again that comes a second time, and these are the keys of about 100 000 barks.
KEPT_BYTES = 32 * 1024 * 1024
# Puts that make one record of the journal: what a record costs is shared by so many, and so many
# are lost if one is damaged. They are also applied before readers get their share of them: with
# more at once, a batch could push out of a timeline what a reader who keeps up was not sent yet.
HANDFUL = 128
# How long records are played back between two looks at the loop, so that Ctrl-C is heard. A number
# of records would say little: some hold one bark, some a hundred.
REPLAY_SLICE_S = 0.1
# When a dead letter could not be written, it is tried again after this.
PARK_AGAIN_S = 1.0
# What a record that makes no sense may raise when it is replayed. Nothing in a file keeps a
# manifold from starting, be it an earlier version's.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


# What a put has become on its way to the journal.
Stage = TypeVar("Stage")

_seq = attrgetter("seq")


class Arrived(NamedTuple):
    """One entry of a put: its number on the link, and its addresses that are ours."""

    seq: int
    addresses: Sequence[str]


# As `Arrived._make`, without a call of Python for each.
_new_arrived = functools.partial(tuple.__new__, Arrived)


class Manifold(Service, Generic[Stage]):
    """What both kinds have in common; they fill in `take`, `keep`, `rollback`, `replay`, ..."""

    address: ClassVar[str]  # what it serves, with one stream for each address below

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        journal_arguments(parser)

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.add_handler(Put, self.on_put)
        self.people = People(self, files.world(args.state).names)
        self.journal: Journal | NoJournal = NoJournal()
        # Of this batch: what it comes to, the puts that are in it, and those that we had before,
        # perhaps in it.
        self._staged: list[Stage] = []
        self._fresh: list[Arrived] = []
        self._known: list[Arrived] = []
        self._moved: dict[int, list[str]] = {}  # of this batch, by number of the put
        self._ours: set[str] = set()
        self._full: dict[Link, int] = {}  # how many pongs until it has heard that something was
        self._acks = Acks(self)
        self._suspects = Suspects()
        self.dead_letters = DeadLetters(None)
        self._unparked: deque[tuple[Letter, Callable[[], None]]] = deque()
        self.watch(self.address, self._ring_changed)

    # --- what the two kinds fill in ---

    def take(
        self, addresses: Sequence[str], item: Item, fields: dict[str, Any] | None
    ) -> Stage | None:
        """Check an entry of a put to addresses that are ours; None if we have it already.

        `fields` is what the body means, if we are its first manifold; None if it means nothing.
        Raises BadMessage.
        """
        raise NotImplementedError

    def take_all(self, put: Put) -> Sequence[Stage] | None:
        """All entries of a put at once, if there is nothing special about any of them.

        None: take them one by one.
        """
        return None

    def record(self, stages: Sequence[Stage], segment: int) -> Iterable[bytes]:
        """What that segment of the journal is to have of these."""
        raise NotImplementedError

    def keep(self, stages: Sequence[Stage], segment: int) -> None:
        """They are in the journal, in that segment: apply them."""
        raise NotImplementedError

    def rollback(self) -> None:
        """The batch is not in the journal: be as if `take` had not been called since the last one.

        It may also come after a `take` that raised half-way.
        """
        raise NotImplementedError

    def hand_on(self) -> None:
        """A batch was applied: send what is to be sent because of it."""
        raise NotImplementedError

    def replay(self, segment: int, line: bytes) -> None:
        """Apply a record of the journal, as it was applied when it was written."""
        raise NotImplementedError

    def header(self) -> dict[str, object]:
        """What has to be known if all segments of the journal before this one are gone."""
        raise NotImplementedError

    def ring_changed(self) -> None:
        """Shares may have moved."""

    # --- life ---

    @property
    def epoch(self) -> str:
        """Whose counters ours are: the journal's."""
        return self.journal.epoch

    async def prepare(self) -> None:
        if not self.args.no_journal:
            self.dead_letters = DeadLetters(self.args.state / "dead-letters" / f"{self.name}.jsonl")
            folder = self.args.state / "journal" / self.name
            self.journal = Journal(folder, fsync=self.args.fsync)
        log.debug("recovering from %d segments", len(self.journal.segments))
        begun, records = self.now(), 0
        looked = begun
        for segment, line in self.journal.recover():
            try:
                self.replay(segment, line)
            except (BarkerError, *_NONSENSE) as fault:
                log.warning("a record of segment %d makes no sense: %r", segment, fault)
                self.journal.report_damage()
            records += 1
            if self.now() - looked > REPLAY_SLICE_S:
                await asyncio.sleep(0)
                looked = self.now()
                if self._stop.is_set():
                    return
        with contextlib.suppress(OSError):  # until it can be written, puts are refused
            self.journal.begin(self.header)
        if records:
            log.info("recovered from %d records in %.2f s", records, self.now() - begun)

    async def ready(self) -> None:
        self.serve(self.address, CONSISTENT)

    async def stopping(self) -> None:
        await super().stopping()
        self.journal.close()

    # --- the share of the ring ---

    def is_ours(self, address: str) -> bool:
        """Does the ring give us this address? Remembered until the ring changes."""
        if address in self._ours:
            return True
        service, key = split(address)
        if service != self.address or not key:
            raise BadMessage(BAD_MESSAGE, f"{address} is not below {self.address}/")
        owner = self.routes.route(service).owner(key)
        # As long as nobody has told us of a ring, whoever asks knows better than we do.
        ours = owner is None or owner.name == self.name
        if ours:
            if len(self._ours) > MAX_STREAMS:
                self._ours.clear()
            self._ours.add(address)
        return ours

    def _ring_changed(self) -> None:
        self._ours.clear()
        self.ring_changed()

    # --- puts ---

    def on_put(self, link: Link, put: Put) -> None:
        link.count_puts(put.seq, len(put.bodies))
        if put.trace:
            self.note_traces(put.trace)
        are_ours, take = self._ours.issuperset, self.take
        check = self._suspects.check if self._suspects else None
        if not check and not self._full and (stages := self.take_all(put)) is not None:
            self._staged += stages
            entries = map(addresses_in, put.entries())
            self._fresh += map(_new_arrived, zip(count(put.seq), entries, strict=False))
            return
        meanings = strictjson.objects(put.bodies) if put.origin is None else repeat(None)
        entries = map(addresses_in, put.entries())
        arrivals = map(_new_arrived, zip(count(put.seq), entries, strict=False))
        for arrived, item, fields in zip(arrivals, put.items(), meanings, strict=False):
            try:
                if check:
                    check(item.body)
                if self._full and self._is_full(link):
                    raise BadMessage(protocol.FULL, "something before it was refused as full")
                addresses = arrived[1]
                if not are_ours(addresses):
                    arrived = self._only_ours(arrived)
                    if not (addresses := arrived.addresses):
                        continue
                stage = take(addresses, item, fields)
                if stage is None:
                    self._known.append(arrived)
                else:
                    self._staged.append(stage)
                    self._fresh.append(arrived)
            except BadMessage as fault:
                self._refuse_one(link, arrived, fault)
            except Exception as fault:
                self._suspects.blame(item.body, fault)
                raise

    def _refuse_one(self, link: Link, arrived: Arrived, fault: BadMessage) -> None:
        """Only one refusal can be said of an entry, so it is for all its addresses."""
        addresses = [*arrived.addresses, *self._moved.pop(arrived.seq, ())]
        self._refuse(link, Refuse(arrived.seq, fault.code, fault.reason, addresses))

    def _only_ours(self, arrived: Arrived) -> Arrived:
        seq, addresses = arrived
        moved = [a for a in addresses if not self.is_ours(a)]
        if not moved:
            return arrived
        self._moved[seq] = moved
        return Arrived(seq, [a for a in addresses if a not in moved])

    def _is_full(self, link: Link) -> bool:
        """Was something of this link refused as full, which its peer may not have heard yet?"""
        if link in self._full and link.pongs >= self._full[link]:
            del self._full[link]
        return link in self._full

    def _refuse(self, link: Link, refusal: Refuse) -> None:
        link.send(messages.encode(refusal))
        if refusal.code == protocol.FULL and link not in self._full:
            link.ping()
            self._full[link] = link.pings

    def link_closing(self, link: Link) -> None:
        self._acks.say(link)

    def link_down(self, link: Link) -> None:
        self._full.pop(link, None)
        self._acks.say(link)  # it may have ended at the other side only
        self._acks.forget(link)

    def batch_end(self, link: Link) -> None:
        if self._staged:
            self._commit(link)
        self._fresh.clear()
        self._known.clear()
        if self._moved:
            for seq, moved in self._moved.items():
                reason = "another one's share of the ring"
                self._refuse(link, Refuse(seq, protocol.MOVED, reason, moved))
            self._moved.clear()
        link.commit()
        self._acks.owe(link)

    def batch_failed(self, link: Link) -> None:
        self._staged = []
        self._fresh.clear()
        self._known.clear()
        self._moved.clear()
        self.rollback()

    def _commit(self, link: Link) -> None:
        staged = self._staged
        handfuls = [staged]
        if len(staged) > HANDFUL:
            handfuls = [staged[i : i + HANDFUL] for i in range(0, len(staged), HANDFUL)]
        records: list[bytes] = []
        try:
            segment = self.journal.turn()
            for handful in handfuls:
                records += self.record(handful, segment)
            self.journal.append(records)
        except OSError as fault:
            self._staged = []
            reason = f"the journal can't be written: {fault.strerror or fault}"
            self.rollback()
            # What repeats something of this batch must not be acked before that is kept.
            for arrived in sorted(self._fresh + self._known, key=_seq):
                self._refuse_one(link, arrived, BadMessage(protocol.FULL, reason))
        else:
            self._staged = []
            try:
                for handful in handfuls:
                    self.keep(handful, segment)
                    self.hand_on()
            except Exception:
                self.fail("the journal has a batch that could not be applied")

    # --- what is refused behind us ---

    def park(self, letter: Letter, parked: Callable[[], None]) -> None:
        """Something that we have acked was refused for good: keep it as a dead letter.

        `parked` is called when that is done; at once, unless the disk has no room.
        """
        self._unparked.append((letter, parked))
        if len(self._unparked) == 1:
            self._park_all()

    def _park_all(self) -> None:
        while self._unparked:
            letter, parked = self._unparked[0]
            try:
                self.dead_letters.park(letter, time.time_ns() // 1_000_000)
            except Exception as fault:
                log.error("a dead letter stays in its queue: %s", fault)
                self.later(PARK_AGAIN_S, self._park_all)
                return
            self._unparked.popleft()
            parked()
