"""A connection: a socket as lines, its greeting, its unsent bytes, and how it ends.

It ends by the table in `barker.links.life`. In state *closing* the last messages are sent; then the
peer has a second to close, too. Left out: the handling of lines once the connection is up
(`barker.links.link`), and how it is opened (`barker.links.connecting`, `barker.links.accepting`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from barker.links.arrivals import Arrivals, Arrived, Wait
from barker.links.framing import Framing, LineFraming
from barker.links.greeting import Greeting, Peer
from barker.links.life import Event, Life
from barker.links.stranger import Stranger
from barker.wire import messages
from barker.wire.ops import Error
from barker.wire.protocol import BarkerError

log = logging.getLogger("barker.links.link")

# Most bytes of one read: a batch of some thousand barks, handled in some ten milliseconds.
READ_BYTES = 256 * 1024
# Bytes that may wait for a peer that does not read. Windows keep honest peers far below it.
MAX_WAITING_BYTES = 16 * 1024 * 1024
# The same for a peer that has not proved itself yet.
STRANGER_BYTES = 64 * 1024
# How long, and for how many bytes, a closing connection reads on, to get its last words through.
LINGER_S = 1.0
LINGER_BYTES = 1024 * 1024


class Connection:
    """One socket. `peer` is the other side, once it has proved itself."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, life: Life
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self.life = life
        self.framing: Framing = LineFraming()
        self.waiting_bytes = self._transport.get_write_buffer_size  # not out of this process yet
        self.drained = writer.drain  # waits until the peer has read most of the bytes
        self._max_waiting_bytes = STRANGER_BYTES
        self._early: list[bytes] = []  # lines behind the greeting, in the same read
        self._arrivals: Arrivals | None = None
        self.peer: Peer | None = None
        self.name = ""  # the peer's, once it has greeted us

    def __repr__(self) -> str:
        return f"link with {self.name or 'a stranger'} ({self.framing.name})"

    # --- beginning ---

    def take_over(self, stranger: Stranger) -> None:
        """Go on where a stranger has proved itself."""
        assert stranger.peer
        self.framing, self._early = stranger.framing, stranger.early
        self._know(stranger.peer)

    def _know(self, peer: Peer) -> None:
        self.peer, self.name = peer, peer.name
        self._max_waiting_bytes = MAX_WAITING_BYTES

    async def greet(self, greeting: Greeting, heard: Callable[[], None]) -> None:
        """Both sides prove themselves; then it is up. `heard` is called after each message.

        Raises what `greeting` raises, and EOFError if the peer ends it before that.
        """
        said = greeting.begin()
        while True:
            self.write(list(map(messages.encode, said)))
            if greeting.peer:
                break
            while not self._early:
                await self._hear_more()
            said = greeting.receive(messages.decode(self._early.pop(0)))
            heard()
        self._know(greeting.peer)
        self.life.step(Event.PROVED)

    async def _hear_more(self) -> None:
        """The next lines. Raises EOFError at the end, and OSError."""
        if self.framing.error:
            raise self.framing.error
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise EOFError
        self._early = self.framing.feed(data)

    def take_early(self) -> list[bytes]:
        """The lines that came in the same read as the end of the greeting."""
        early, self._early = self._early, []
        return early

    # --- working ---

    async def read_directly(self, arrived: Arrived, wait: Wait) -> None:
        """See `barker.links.arrivals`."""
        assert isinstance(self._transport, asyncio.Transport)
        self._arrivals = Arrivals(self._reader, self._transport, READ_BYTES, arrived, wait)
        await self._arrivals.run()

    @property
    def is_reading(self) -> bool:
        """Does a read go to `arrived` at once?"""
        return self._arrivals is not None and self._arrivals.is_direct

    @property
    def has_ended(self) -> bool:
        """Is the input at its end?"""
        return self.life.over or (self._arrivals is not None and self._arrivals.has_ended)

    def go_on(self) -> None:
        """Have `arrived` called without new bytes: a rest was left to be handled."""
        assert self._arrivals
        self._arrivals.go_on()

    def fileno(self) -> int:
        """Of its socket; -1 if that is closed. For selectors."""
        return int(self._transport.get_extra_info("socket").fileno())

    def write(self, lines: Sequence[bytes]) -> bool:
        """Write these now, in one piece; False if nothing is written any more."""
        if self.life.over or self._transport.is_closing():  # the latter: the peer has reset it
            return False
        if lines:
            self._write(self.framing.pack(lines))
        return True

    def answer(self) -> None:
        """Write the framing's own output: after the messages, for it may be a close frame."""
        if (output := self.framing.take_output()) and not self._transport.is_closing():
            self._write(output)

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        if self.waiting_bytes() > self._max_waiting_bytes:
            self.abort("does not read what it asked for")

    # --- closing ---

    def close(self, fault: BarkerError | None = None) -> None:
        """Close in good order: the written bytes still leave, and `fault` as the last of them.

        Then call `let_go`, which ends at the latest after `LINGER_S`.
        """
        if not self.life.step(Event.CLOSE):
            return
        if fault and not self._transport.is_closing():
            error = messages.encode(Error(fault.code, fault.reason[:500]))
            self._write(self.framing.pack([error]))
        self.framing.close(fault)
        with contextlib.suppress(OSError):  # the peer was faster
            self.answer()
            if self._writer.can_write_eof():
                self._writer.write_eof()
            else:  # TLS can't be half closed; its close notification still lets everything out
                self._writer.close()
        asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    async def let_go(self) -> None:
        """Wait for the end of a `close`, then close the socket; without a `close`, at once.

        Closing a socket with unread input resets the connection, and a reset overtakes our last
        words. So we first read for a moment, and discard that.
        """
        heard = 0 if self.life.over else LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_S):
                while heard < LINGER_BYTES:
                    data = await self._reader.read(READ_BYTES)
                    heard += len(data) or LINGER_BYTES
        except (OSError, TimeoutError):
            pass
        finally:
            self.abort()
            # The stream keeps the fault by which it ended. If we never fetch it, asyncio logs it as
            # forgotten.
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def abort(self, reason: str = "") -> None:
        """Close at once, and drop the bytes still in this process. Harmless if closed."""
        if reason and not self.life.over:
            log.warning("%r closed: it %s", self, reason)
        if self.life.step(Event.GONE):
            self._transport.abort()
