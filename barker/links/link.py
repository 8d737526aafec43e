"""A link: one connection after its handshake, in either framing, with batches and heartbeats.

    connecting -> greeting -> up -> closing -> closed      (an acceptor begins at greeting)

Theory of operation:

* *Batches.* ``run`` reads what the socket holds, hands over every message in it, calls
  ``batch_end`` once, and writes once. Whatever costs a system call or a task switch is paid per
  batch and not per message; under load batches grow, and the cost per message falls. (This is what
  the LMAX people call the batching effect.)
* *Faults.* An exception that no check foresaw closes the link, and the conversation drops what the
  batch had begun (``batch_failed``). Nothing of it is acked, so the peer sends it again.
* *Sending never waits.* ``send`` appends to a list, which is written at the end of the loop's turn.
  Memory is bounded because every sender has a window: nothing more is sent until the peer acks.
  A peer that makes us answer and never reads the answers is cut off at ``MAX_WAITING_BYTES``.
* *Heartbeats.* A link that was silent for one heartbeat gets a ping; one that was silent for
  ``SILENT_HEARTBEATS`` is closed. The node's ticker does this for all its links at once.
* *Trust.* A link is up once both sides have proved that they know the secret
  (`barker.links.greeting`).

Left out: anything after a break. Whoever wants the link back has a ``Dialer``
(``barker.process.dialing``), and what was on the way is kept by a window
(``barker.delivery.window``).
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from barker.links.arrivals import read_directly
from barker.links.framing import Framing
from barker.links.greeting import Greeted, Greeting
from barker.wire import messages, protocol
from barker.wire.ops import Ack, Error, Hello, Op, Ping, Pong, op_of
from barker.wire.protocol import BarkerError, ProtocolError
from barker.wire.rights import SERVICE, require

log = logging.getLogger("barker.links.link")

# What one read may bring: a batch of some thousand barks, handled in some ten milliseconds.
READ_BYTES = 256 * 1024
# Bytes that may wait for a peer that does not read. Windows keep honest peers far below it.
MAX_WAITING_BYTES = 16 * 1024 * 1024
# The same for a peer that has not proved anything yet.
STRANGER_BYTES = 64 * 1024
# Senders with a window pause here, so that little is lost when a link breaks.
BUSY_BYTES = 1024 * 1024
# Heartbeats without a byte from the peer after which it counts as frozen. A ticker that looks four
# times a heartbeat then closes the link before the third one is over.
SILENT_HEARTBEATS = 2.5
# How long, and for how many bytes, a closing link listens so that its last words get through.
LINGER_S = 1.0
LINGER_BYTES = 1024 * 1024


# (state, what happens) -> the next state. An acceptor's link begins at greeting. docs/link.svg is
# drawn from this, and tests drive a link through all of it.
LIFE = {
    ("connecting", "connected"): "greeting",
    ("connecting", "refused, or nobody answers in time"): "closed",
    ("greeting", "both have proved that they know the secret"): "up",
    ("greeting", "wrong version or proof: error"): "closing",
    ("greeting", "the peer has gone"): "closed",
    ("up", "we are done, or it talks nonsense: error"): "closing",
    ("up", "the peer has gone, is silent, or does not read"): "closed",
    ("closing", "the peer has closed, too, or a second is over"): "closed",
}

M = TypeVar("M", bound=Op)
# The types in it are kept by `Conversation.add_handler`.
Handlers: TypeAlias = dict[type, Callable[["Link", Any], None]]


class Conversation:
    """What one party does with its links. A message without a handler is a protocol error."""

    def __init__(self) -> None:
        self.handlers: Handlers = {}

    def add_handler(self, kind: type[M], handler: Callable[["Link", M], None]) -> None:
        """Have `handler`, which must not wait, called with each message of that type."""
        self.handlers[kind] = handler

    def link_up(self, link: "Link") -> None:
        """The handshake is done; nothing was received yet."""

    def batch_end(self, link: "Link") -> None:
        """Every message of one read was handed over: the moment to write and to ack."""

    def batch_failed(self, link: "Link") -> None:
        """Called after an exception in a handler or in `batch_end`; the link is closed already.

        Drop what the batch has begun and not kept: its sender sends it again. Must not raise.
        """

    def link_down(self, link: "Link") -> None:
        """The link is closed; called once for each `link_up`, also if that has raised."""


class Link:
    """One connection. `peer` is the other side's `hello`; `heard` the time of its last bytes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framing: Framing
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self._framing = framing
        self._loop = asyncio.get_running_loop()
        self.waiting_bytes = self._transport.get_write_buffer_size  # has not left this process yet
        self._out: list[bytes] = []
        self._queued_bytes = 0
        self._handling = False  # what was read just now; when that is done, we flush anyway
        self._max_waiting_bytes = STRANGER_BYTES
        self._early: list[bytes] = []  # came in one read with the handshake's last message
        self.peer: Hello | None = None
        self.name = ""  # the peer's, once it has greeted us
        self.role = SERVICE  # as all who know the secret
        self.closed = False
        self.cleared = False  # `link_down` has done all that it does
        self.heard, self.pinged = self._loop.time(), 0.0
        self.messages_in = self.messages_out = 0
        # Of puts: the last number received; the last one kept or refused; the last one acked.
        self.received = self.committed = self.acked = 0
        self.pings = self.pongs = 0  # said by us, and heard
        self._waits: asyncio.Task[None] | None = None
        self._before_read: Callable[[float], object] | None = None
        self._before_close: Callable[[], object] | None = None

    def begin(self, framing: Framing, data: bytes) -> None:
        """Go on with the framing that the first bytes have asked for; `data` came after them."""
        self._framing = framing
        self._early = self._take(data)

    def __repr__(self) -> str:
        return f"link with {self.name or 'a stranger'} ({self._framing.name})"

    @property
    def state(self) -> str:
        """Where in its `LIFE` it is."""
        if self._transport.is_closing():
            return "closed"
        if self.closed:
            return "closing"
        return "up" if self.peer else "greeting"

    # --- sending ---

    def send(self, message: bytes) -> None:
        """Queue one message; it is written at the end of this turn of the loop, or by `flush`."""
        if not self._handling and not self._out and not self.closed:
            self._loop.call_soon(self.flush)
        self._out.append(message)
        self._queued_bytes += len(message)

    def write(self, messages: Iterable[bytes]) -> None:
        """Write messages now, behind all that is queued."""
        self._out += messages
        self.flush()

    def flush(self) -> None:
        """Write all that is queued, in one piece; nothing if the peer has reset the connection."""
        if out := self._out:
            if not (self.closed or self._transport.is_closing()):
                self.messages_out += len(out)
                self._transport.write(self._framing.pack(out))
                self._check_waiting()
            out.clear()
            self._queued_bytes = 0

    def _answer(self) -> None:
        """Write what the framing itself has to say: after the messages, for it may be a goodbye."""
        if (output := self._framing.take_output()) and not self._transport.is_closing():
            self._transport.write(output)
            self._check_waiting()

    def _check_waiting(self) -> None:
        if self.waiting_bytes() > self._max_waiting_bytes:
            self.abort("does not read what it asked for")

    def ping(self) -> None:
        """Ask for a pong. It comes after all that the peer has said before it heard of this."""
        self.pings += 1
        self.pinged = self._loop.time()
        self.send(messages.PING)

    def count_puts(self, seq: int, count: int) -> None:
        """Numbers of puts rise by one on each link; raises ProtocolError if `seq` is not next."""
        if seq != self.received + 1:
            raise ProtocolError(protocol.PROTOCOL, f"put {seq} after put {self.received}")
        self.received += count

    def commit(self) -> None:
        """All puts received so far are kept or refused, so that they may be acked."""
        self.committed = self.received

    def ack(self, seq: int) -> None:
        """Queue the ack of all puts up to number `seq`."""
        self.acked = seq
        self.send(messages.encode(Ack(seq)))

    def call_before_reads(self, work: Callable[[float], object]) -> None:
        """Have `work` called with the time before anything that was read is handled."""
        self._before_read = work

    def call_before_close(self, work: Callable[[], object]) -> None:
        """Have `work` called when the link is about to be closed, the last moment to send."""
        self._before_close = work

    @property
    def busy(self) -> bool:
        """Should a sender with a window wait for an ack before it sends more?"""
        return self._queued_bytes + self.waiting_bytes() > BUSY_BYTES

    def when_free(self, work: Callable[[], None]) -> None:
        """Call `work` once the peer has read most of what was written; never if it doesn't."""
        self._waits = self._loop.create_task(self._wait_for_room(work))

    async def _wait_for_room(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            await self._writer.drain()
            if not self.closed:
                try:
                    work()
                except Exception:
                    log.exception("%r", self)
                    self.abort()

    # --- receiving ---

    async def run(self, conversation: Conversation) -> None:
        """Hand everything that arrives to `conversation` until the link is closed."""
        try:
            conversation.link_up(self)
            early, self._early = self._early, []
            self._work(early, conversation)
            if not self.closed:
                arrived = functools.partial(self._arrived, conversation)
                await read_directly(self._reader, self._transport, READ_BYTES, arrived)
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
                await self.let_go()

    def _arrived(self, conversation: Conversation, data: bytes) -> bool:
        """One read's bytes; says whether there may be more. Raises what the conversation raises."""
        self.heard = now = self._loop.time()
        if self._before_read:
            self._before_read(now)  # which may have to close it
        if not self.closed:
            self._work(self._framing.feed(data), conversation)
        return not self.closed

    def _work(self, lines: list[bytes], conversation: Conversation) -> None:
        if lines:
            self._handle(lines, conversation)
        if self._framing.error:
            raise self._framing.error
        if self._framing.ended:
            self.close()
        else:
            self._answer()

    def _handle(self, lines: list[bytes], conversation: Conversation) -> None:
        self.messages_in += len(lines)
        self._handling = True
        try:
            fault = self._hand_over(lines, conversation.handlers)
            conversation.batch_end(self)
        except BaseException:
            self.abort()
            conversation.batch_failed(self)
            raise
        finally:
            self._handling = False
            self.flush()
        if fault:
            try:
                raise fault
            finally:
                del fault  # it holds on to this frame, and to all that was read

    def _hand_over(self, lines: list[bytes], handlers: Handlers) -> BarkerError | None:
        """All messages, up to one that is at fault; the messages before that one count."""
        try:
            for line in lines:
                message = messages.decode(line)
                require(self.role, message)
                handler = handlers.get(type(message))
                if handler is not None:
                    handler(self, message)
                elif isinstance(message, Ping):
                    self.send(messages.PONG)
                elif isinstance(message, Pong):
                    self.pongs += 1
                elif isinstance(message, Error):
                    log.warning("%r said: %s (%s)", self, message.reason, message.code)
                else:
                    raise ProtocolError(protocol.PROTOCOL, f"{op_of(message)} has no meaning here")
                if self.closed:
                    break
        except BarkerError as fault:
            return fault
        return None

    def _take(self, data: bytes) -> list[bytes]:
        self.heard = self._loop.time()
        return self._framing.feed(data)

    async def _next(self) -> Op:
        """One message, for the handshake."""
        while not self._early:
            if self._framing.error:
                raise self._framing.error
            data = await self._reader.read(READ_BYTES)
            if not data:
                raise EOFError
            self._early = self._take(data)
            self._answer()
        return messages.decode(self._early.pop(0))

    # --- the greeting ---

    async def greet(self, greeting: Greeting) -> None:
        """Both sides prove themselves; then the link is up. Raises what `greeting` raises."""
        try:
            said = next(greeting)
            while True:
                self.write(said)
                said = greeting.send(await self._next())
        except StopIteration as done:
            greeted: Greeted = done.value
        self.write(greeted.last)
        self.peer, self.name = greeted.hello, greeted.hello.name
        self._max_waiting_bytes = MAX_WAITING_BYTES

    # --- closing ---

    def close(self, fault: BarkerError | None = None) -> None:
        """Close in good order: what was sent still leaves, and `fault` as the last of it.

        `run` ends when the peer has closed too, at the latest after `LINGER_S`.
        """
        if self.closed:
            return
        if self._before_close:
            self._before_close()
        if fault:
            self.send(messages.encode(Error(fault.code, fault.reason[:500])))
        self.flush()
        self.closed = True
        self._framing.close(fault)
        with contextlib.suppress(OSError):  # the peer was faster
            self._answer()
            if self._writer.can_write_eof():
                self._writer.write_eof()
            else:  # TLS can't be closed by halves; its own goodbye still lets everything out
                self._writer.close()
        self._loop.call_later(LINGER_S, self._transport.abort)

    async def let_go(self) -> None:
        """See a `close` through, then close the socket for good; without one, at once.

        Closing a socket with unread input resets the connection, and a reset overtakes our last
        words. So we listen to what still comes for a moment before.
        """
        heard = 0 if self.closed else LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_S):
                while heard < LINGER_BYTES:
                    data = await self._reader.read(READ_BYTES)
                    heard += len(data) or LINGER_BYTES
        except (OSError, TimeoutError):
            pass
        finally:
            self.abort()
            # How it ended is kept for whoever asks. If nobody does, and the collector is the one to
            # find it, it is logged as a fault that was forgotten.
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def abort(self, reason: str = "") -> None:
        """Close at once: what has not left this process yet is dropped. Harmless if closed."""
        if reason and not self.closed:
            log.warning("%r closed: it %s", self, reason)
        self.closed = True
        self._transport.abort()
