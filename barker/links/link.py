"""A link: a connection that is up, in either framing, with batches and heartbeats.

Theory of operation:

* *Batches.* ``run`` reads what the socket holds, hands over every message in it, calls
  ``batch_end`` once, and writes once. System calls and task switches are paid per batch and not per
  message. Under load batches grow, and the cost per message falls (LMAX calls this the batching
  effect).
* *Turns.* A read that takes long is handled in several turns (`barker.links.turns`). Each of them
  is a batch.
* *Faults.* An exception that no check foresaw closes the link, and the conversation drops the
  batch it had begun (``batch_failed``). None of it is acked, so the peer sends it again.
* *Sending never waits.* ``send`` appends to a list, which is written at the end of the loop's turn.
  Memory is bounded because every sender has a window: nothing more is sent until the peer acks.
  A peer that makes us answer and never reads the answers is disconnected at ``MAX_WAITING_BYTES``.
* *Heartbeats.* Each side sends something in every heartbeat: a ping, if there is nothing else. So a
  peer knows that we live even while it sends us a line that takes long. A link that was silent for
  ``SILENT_HEARTBEATS`` is closed. The node's ticker does this for all its links at once.

Left out: anything after a break. A ``Dialer`` opens the link again (``barker.process.dialing``),
and a window keeps the messages without an ack (``barker.delivery.window``).
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

from barker.links.arrivals import Then
from barker.links.connection import Connection
from barker.links.turns import Turns
from barker.wire import messages, protocol
from barker.wire.ops import Ack, Error, Op, Ping, Pong, Put, op_of
from barker.wire.protocol import BarkerError, ProtocolError
from barker.wire.rights import require

log = logging.getLogger("barker.links.link")

# Senders with a window pause here, so that little is lost when a link breaks.
BUSY_BYTES = 1024 * 1024
# Puts are joined until their bodies reach this size; with the last one, about the longest line.
MAX_JOINED_BYTES = protocol.MAX_LINE_BYTES // 2
# Heartbeats without a byte from the peer after which it counts as frozen. A ticker that looks four
# times a heartbeat then closes the link before the third one is over.
SILENT_HEARTBEATS = 2.5
M = TypeVar("M", bound=Op)
# `Conversation.add_handler` sees to the types in it.
Handlers: TypeAlias = dict[type, Callable[["Link", Any], None]]


class Conversation:
    """One party's side of its links. A message without a handler is a protocol error."""

    def __init__(self) -> None:
        self.handlers: Handlers = {}

    def add_handler(self, kind: type[M], handler: Callable[["Link", M], None]) -> None:
        """Have `handler`, which must not wait, called with each message of that type."""
        self.handlers[kind] = handler

    def link_up(self, link: "Link") -> None:
        """Called after the handshake, before any message."""

    def batch_end(self, link: "Link") -> None:
        """Called after every message of one read was handed over: now write, and ack."""

    def batch_failed(self, link: "Link") -> None:
        """Called after an exception in a handler or in `batch_end`; the link is closed already.

        Drop what the batch has begun and not kept: its sender sends it again. Must not raise.
        """

    def link_closing(self, link: "Link") -> None:
        """Called before we close the link: the last moment to send."""

    def link_down(self, link: "Link") -> None:
        """Called when the link is closed, once for each `link_up`, also if that has raised."""


def _batches(arrived: Iterable[Op]) -> Iterator[Op]:
    """The same messages, with puts that follow one another as one put.

    So the puts of one read are checked, kept and forwarded together, however many lines they have.
    A fault comes behind the messages before it.
    """
    puts: list[Put] = []
    size = 0
    try:
        for message in arrived:
            if isinstance(message, Put) and (
                not puts or (size < MAX_JOINED_BYTES and puts[-1].is_followed_by(message))
            ):
                puts.append(message)
                size += sum(map(len, message.bodies))
                continue
            if puts:
                yield Put.joined(puts)
            puts, size = [], 0
            if isinstance(message, Put):
                puts.append(message)
            else:
                yield message
    except BarkerError:
        if puts:
            yield Put.joined(puts)
        raise
    if puts:
        yield Put.joined(puts)


class Link:
    """One connection. `peer` is the other side, `heard` the time of its last bytes."""

    def __init__(
        self,
        connection: Connection,
        conversation: Conversation,
        before_read: Callable[[float], None],
        turns: Turns,
    ) -> None:
        """`before_read` is called with the time, before a read is handled."""
        assert connection.peer, "it is up"
        self._connection = connection
        self._framing = connection.framing
        self._life = connection.life
        self._conversation = conversation
        self._before_read = before_read
        self._turns = turns
        self._rest: Iterator[Op] | None = None  # messages that were read, and wait for their turn
        self._holds = False  # arriving bytes are held
        self._held: deque[bytes] = deque()  # the bytes of each read
        self._loop = asyncio.get_running_loop()
        self.waiting_bytes = connection.waiting_bytes
        self.peer, self.name = connection.peer, connection.name
        self.role = connection.peer.role
        self._out: list[bytes] = []
        self._queued_bytes = 0
        self._handling = False  # messages of a read just now; after these, we flush anyway
        self.cleared = False  # `link_down` is done
        self.heard = self.said = self._loop.time()
        self.pinged = 0.0
        self.messages_in = self.messages_out = 0
        # Of puts: the last number received; the last one kept or refused; the last one acked.
        self.received = self.committed = self.acked = 0
        self.pings = self.pongs = 0  # sent by us, and received
        self._waits: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return repr(self._connection)

    @property
    def closed(self) -> bool:
        """Nothing more is sent or handled."""
        return self._life.over

    @property
    def is_behind(self) -> bool:
        """Do messages wait for their turn? Then newer ones are unread."""
        return self._rest is not None or bool(self._held)

    # --- after a stall (`barker.process.stalls`) ---

    def hold(self) -> None:
        """Handle nothing until `release`. Closes the link if it is only just up."""
        self._holds = self._connection.is_reading
        if not self._holds:
            self.abort()

    def release(self) -> None:
        """Handle the held bytes, and go on."""
        self._holds = False
        self.heard = self._loop.time()
        if self.is_behind and not self.closed:
            self._connection.go_on()

    @property
    def has_ended(self) -> bool:
        """Is it closed, at this side or the other? Then the held bytes were the last."""
        return self._connection.has_ended

    def fileno(self) -> int:
        """Of its socket; -1 if that is closed. For selectors."""
        return self._connection.fileno()

    # --- sending ---

    def send(self, message: bytes) -> None:
        """Queue one message; it is written at the end of this turn of the loop, or by `flush`."""
        if not self._handling and not self._out:
            self._loop.call_soon(self.flush)
        self._out.append(message)
        self._queued_bytes += len(message)

    def write(self, messages: Iterable[bytes]) -> None:
        """Write messages now, behind all that is queued."""
        self._out += messages
        self.flush()

    def flush(self) -> None:
        """Write all queued messages, in one piece; none if the peer has reset the connection."""
        if out := self._out:
            if self._connection.write(out):
                self.messages_out += len(out)
                self.said = self._loop.time()
            out.clear()
            self._queued_bytes = 0

    def ping(self) -> None:
        """Request a pong. It comes after all that the peer sent before it received the ping."""
        self.pings += 1
        self.pinged = self._loop.time()
        self.send(messages.PING)

    def count_puts(self, seq: int, count: int) -> None:
        """Numbers of puts rise by one on each link; raises ProtocolError if `seq` is not next."""
        if seq != self.received + 1:
            raise ProtocolError(protocol.PROTOCOL, f"put {seq} after put {self.received}")
        self.received += count

    def commit(self, seq: int) -> None:
        """All puts up to number `seq` are kept or refused, so that they may be acked."""
        self.committed = seq

    def ack(self, seq: int) -> None:
        """Queue the ack of all puts up to number `seq`."""
        self.acked = seq
        self.send(messages.encode(Ack(seq)))

    @property
    def busy(self) -> bool:
        """Should a sender with a window wait for an ack before it sends more?"""
        return self._queued_bytes + self.waiting_bytes() > BUSY_BYTES

    def when_free(self, work: Callable[[], None]) -> None:
        """Call `work` once the peer has read most of the written bytes; never if it doesn't."""
        self._waits = self._loop.create_task(self._wait_for_room(work))

    async def _wait_for_room(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            await self._connection.drained()
            if not self.closed:
                try:
                    work()
                except Exception:
                    log.exception("%r", self)
                    self.abort()

    # --- receiving ---

    async def run(self) -> None:
        """Hand over everything that arrives until the link is closed."""
        conversation = self._conversation
        try:
            conversation.link_up(self)
            self._work(self._connection.take_early())
            while self._rest is not None and not self.closed:
                await asyncio.sleep(0)
                self._work([])
            if not self.closed:
                await self._connection.read_directly(self._arrived, self._turns.wait)
        except BarkerError as fault:
            log.warning("%r: %s", self, fault)
            self.close(fault)
        except OSError as fault:
            if not isinstance(fault, (ConnectionError, TimeoutError)):
                log.info("%r: %s", self, fault)
        finally:
            try:
                conversation.link_down(self)
                self.cleared = True
            finally:
                await self._connection.let_go()

    def _arrived(self, data: bytes) -> Then:
        """Handle one read's bytes; without any, the rest. Raises what the conversation raises."""
        self.heard = now = self._loop.time()
        self._before_read(now)  # which may call `hold`
        if self._holds or self._held:
            if data:
                self._held.append(data)
            if self._holds:
                return Then.READ
            data = b"" if self._rest is not None else self._held.popleft()
        if not self._life.over:
            self._work(self._framing.feed(data) if data else [])
        if self._life.over:
            return Then.STOP
        return Then.AGAIN if self._rest is not None or self._held else Then.READ

    def _work(self, lines: list[bytes]) -> None:
        if lines:
            self._take_in(lines)
            if self._turns.taken:
                return
        if self._rest is not None:
            self._handle()
            if self._rest is not None:
                return
        if self._framing.error:
            raise self._framing.error
        if self._framing.ended:
            self.close()
        else:
            self._connection.answer()

    def _take_in(self, lines: list[bytes]) -> None:
        """Handle these lines from now on."""
        self.messages_in += len(lines)
        arrived: Iterator[Op] = map(self._decode, lines)
        self._rest = _batches(arrived) if len(lines) > 1 else arrived

    def _handle(self) -> None:
        conversation = self._conversation
        self._handling = True
        self._turns.begin()
        try:
            fault = self._hand_over(conversation.handlers)
            conversation.batch_end(self)
        except BaseException:
            self.abort()
            conversation.batch_failed(self)
            raise
        finally:
            self._handling = False
            self.flush()
            self._turns.end()
        if fault:
            try:
                raise fault
            finally:
                del fault  # it refers to this frame, and so to all that was read

    def _hand_over(self, handlers: Handlers) -> BarkerError | None:
        """Hand over this turn's messages, up to a faulty one; those before it count."""
        try:
            for message in self._rest or ():
                handler = handlers.get(type(message))
                if handler is not None:
                    handler(self, message)
                elif isinstance(message, Ping):
                    self.send(messages.PONG)
                elif isinstance(message, Pong):
                    self.pongs += 1
                elif isinstance(message, Error):
                    log.warning("%r was refused: %s (%s)", self, message.reason, message.code)
                else:
                    raise ProtocolError(protocol.PROTOCOL, f"{op_of(message)} has no meaning here")
                if self.closed:
                    break
                if self._turns.over:
                    return None
        except BarkerError as fault:
            self._rest = None
            return fault
        self._rest = None
        return None

    def _decode(self, line: bytes) -> Op:
        message = messages.decode(line)
        require(self.role, message)
        return message

    # --- closing ---

    def close(self, fault: BarkerError | None = None) -> None:
        """Close in good order: sent messages still leave, and `fault` as the last of them.

        `run` ends when the peer has closed too, or after a second.
        """
        if not self.closed:
            self._conversation.link_closing(self)
            self.flush()
            self._connection.close(fault)

    def abort(self, reason: str = "") -> None:
        """Close at once, and drop the bytes still in this process. Harmless if closed."""
        self._connection.abort(reason)
