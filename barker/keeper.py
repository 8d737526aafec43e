"""A keeper: what outboxes and inboxes have in common. They keep what they ack.

* Which addresses are ours is the ring's to say, as the directory tells it to everybody. A `put` to
  what belongs to another is refused as ``moved``.
* A batch of puts is written to the journal in one piece, and only then does anything come of it:
  it is applied, handed on, and acked, once for the whole batch. If the journal can't be written,
  the batch is refused as ``full``, as if it had never come.
* When it starts, a keeper plays its journal back before it lets anybody connect.
"""

import argparse
import asyncio
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from barker import state, wire
from barker.arguments import at_least_0, service_name
from barker.journal import Journal, NoJournal
from barker.link import Link, Message
from barker.routing import CONSISTENT, split
from barker.service import Service, log
from barker.streams import DEFAULT_KEEP
from barker.wire import BAD_MESSAGE, BadMessage, BarkerError

# A bark waiting in an outbox costs some 600 bytes; this many fit a small machine. Beyond it, full.
DEFAULT_BACKLOG = 1_200_000
# Streams of one manifold; one costs about 300 bytes. Beyond it, new addresses are refused as full.
MAX_STREAMS = 2_000_000
# What a journal keeps even if nobody needs it for its content: by the keys in it we know a bark
# again that comes a second time, and these are the keys of about 100 000 barks.
KEPT_BYTES = 32 * 1024 * 1024
# Puts of a batch that are applied before readers get their share of them: with more at once, a
# batch could push entries out of a timeline that a reader who keeps up has not been sent.
APPLIED_HANDFUL = 256
# Records played back between two looks at the loop, so that Ctrl-C is heard.
REPLAY_HANDFUL = 5000


class Kept(Protocol):
    """A put on its way to the journal: which one it is on its link, for whom, and its record."""

    @property
    def seq(self) -> int: ...
    @property
    def addresses(self) -> Sequence[str]: ...
    @property
    def line(self) -> bytes: ...


Stage = TypeVar("Stage", bound=Kept)


class Keeper(Service, Generic[Stage]):
    """What both kinds have in common; they fill in `take`, `keep`, `withdraw`, `replay`, ..."""

    kind = "manifold"

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "address",
            type=service_name,
            help="what it serves, with one stream for each address below: outbox, inbox",
        )
        parser.add_argument(
            "--push",
            type=service_name,
            metavar="SERVICE",
            help="push what comes in to this service",
        )
        parser.add_argument(
            "--history",
            type=at_least_0,
            default=25,
            metavar="N",
            help="entries that a new reader gets if it doesn't say (default: %(default)s)",
        )
        parser.add_argument(
            "--keep",
            type=at_least_0,
            default=DEFAULT_KEEP,
            metavar="N",
            help="entries of a timeline that are retained (default: %(default)s)",
        )
        parser.add_argument(
            "--max-backlog",
            type=at_least_0,
            default=DEFAULT_BACKLOG,
            metavar="N",
            help="entries that may wait to be pushed (default: %(default)s)",
        )
        parser.add_argument(
            "--no-journal",
            action="store_true",
            help="keep nothing on disk: what is acked is lost with the process",
        )
        parser.add_argument(
            "--fsync",
            action="store_true",
            help="have each batch on the disk itself before it is acked, for power cuts",
        )

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.address: str = args.address
        self.world = state.world(args.state)
        self.journal: Journal | NoJournal = NoJournal()
        self._staged: list[Stage] = []
        self._moved: dict[int, list[str]] = {}  # of this batch, by number of the put
        self._known: list[
            tuple[int, Sequence[str]]
        ] = []  # of this batch: had before, perhaps in it
        self._ours: dict[str, bool] = {}
        self.watch(self.address, self._ring_changed)

    # --- what the two kinds fill in ---

    def take(self, seq: int, addresses: Sequence[str], message: Message) -> Stage | None:
        """Check a put to addresses that are ours; None if we have it already. Or BadMessage."""
        raise NotImplementedError

    def keep(self, stage: Stage, segment: int) -> None:
        """It is in the journal, in that segment: apply it."""
        raise NotImplementedError

    def withdraw(self, stage: Stage) -> None:
        """It is not in the journal: be as if `take` had not been called."""
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
    def name_stem(self) -> str:
        return self.address

    @property
    def epoch(self) -> str:
        """Whose counters ours are: the journal's."""
        return self.journal.epoch

    async def prepare(self) -> None:
        if not self.args.no_journal:
            folder = self.args.state / "journal" / self.name
            self.journal = Journal(folder, fsync=self.args.fsync)
        log.debug("recovering from %d segments", len(self.journal.segments))
        begun, records = self.now(), 0
        for segment, line in self.journal.recover():
            try:
                self.replay(segment, line)
            except (BarkerError, ArithmeticError, LookupError, TypeError, ValueError) as fault:
                log.warning("a record of segment %d makes no sense: %r", segment, fault)
                self.journal.damages += 1
            records += 1
            if records % REPLAY_HANDFUL == 0:
                await asyncio.sleep(0)
                if self._stop.is_set():
                    return
        try:
            self.journal.begin(self.header)
        except OSError as fault:
            log.error("the journal can't be written: %s", fault.strerror)
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
        ours = self._ours.get(address)
        if ours is None:
            service, key = split(address)
            if service != self.address or not key:
                raise BadMessage(BAD_MESSAGE, f"{address} is not below {self.address}/")
            owner = self.routes.route(service).owner(key)
            # As long as nobody has told us of a ring, whoever asks knows better than we do.
            ours = owner is None or owner.name == self.name
            if len(self._ours) > MAX_STREAMS:
                self._ours.clear()
            self._ours[address] = ours
        return ours

    def _ring_changed(self) -> None:
        self._ours.clear()
        self.ring_changed()

    # --- puts ---

    def on_put(self, link: Link, message: Message) -> None:
        seq = message["seq"]
        link.count_put(seq)
        addresses: Sequence[str] = message["to"]
        try:
            moved = [a for a in addresses if not self.is_ours(a)]
            ours = [a for a in addresses if a not in moved] if moved else addresses
            if ours:
                stage = self.take(seq, ours, message)
                if stage is not None:
                    self._staged.append(stage)
                else:
                    self._known.append((seq, ours))
            if moved:
                self._moved[seq] = moved
        except BadMessage as fault:
            # Only one refusal can be said of a put, so it is for all its addresses.
            link.send(wire.refuse_line(seq, fault.code, fault.reason, addresses))

    def batch_end(self, link: Link) -> None:
        if self._staged:
            self._commit(link)
        self._known.clear()
        if self._moved:
            for seq, moved in self._moved.items():
                reason = "another one's share of the ring"
                link.send(wire.refuse_line(seq, wire.MOVED, reason, moved))
            self._moved.clear()
        if link.acked != link.received:
            link.acked = link.received
            link.send(wire.ack_line(link.received))
        self.hand_on()

    def _commit(self, link: Link) -> None:
        # Until `append` returns they are still `_staged`: a header that it writes goes before them.
        staged = self._staged
        try:
            segment = self.journal.append([stage.line for stage in staged])
        except OSError as fault:
            self._staged = []
            reason = f"the journal can't be written: {fault.strerror or fault}"
            log.error("%s", reason)
            for stage in staged:
                self.withdraw(stage)
            # What repeats something of this batch must not be acked before that is kept.
            refused = [(stage.seq, stage.addresses) for stage in staged] + self._known
            for seq, addresses in sorted(refused):
                addresses = [*addresses, *self._moved.pop(seq, ())]
                link.send(wire.refuse_line(seq, wire.FULL, reason, addresses))
        else:
            self._staged = []
            for i, stage in enumerate(staged, start=1):
                self.keep(stage, segment)
                if i % APPLIED_HANDFUL == 0:
                    self.hand_on()
