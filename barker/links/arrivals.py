"""Arrivals: how a link reads, once it is up.

A stream puts bytes that arrive into a buffer and wakes the task that waits for them. The task runs
one turn of the loop later. For a batch that is little; for one bark it is a third of the hop's
time. So an asyncio *protocol* handles bytes where they arrive. The stream's own protocol steps
aside for as long, and still looks after the writing.

All links share one buffer, which lives as long as the thread. A stream allocates 256 KiB for every
read, of which a bark needs 300 bytes. The kernel maps and unmaps that memory each time, and this
takes longer than the reading.
"""

import asyncio
import enum
import threading
from collections.abc import Callable


class Then(enum.Enum):
    """The next step after some bytes were handled."""

    READ = enum.auto()  # all of it was: read on
    AGAIN = enum.auto()  # handle the rest in one of the next turns, with no new bytes
    STOP = enum.auto()  # read nothing more


Arrived = Callable[[bytes], Then]
Wait = Callable[[Callable[[], None]], None]


class _Shared(threading.local):
    """The buffer of each read. Its bytes are handled before the next read of any link."""

    def __init__(self) -> None:
        self.buffer = memoryview(b"")

    def of(self, size: int) -> memoryview:
        if len(self.buffer) < size:
            self.buffer = memoryview(bytearray(size))
        return self.buffer


_shared = _Shared()


class Arrivals(asyncio.BufferedProtocol):
    """The bytes that arrive on one connection, which is up."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        transport: asyncio.Transport,
        most: int,
        arrived: Arrived,
        wait: Wait,
    ) -> None:
        """`arrived` is called with the bytes that the stream still holds, `most` at a time, then
        with each read, until it returns STOP. While a rest is left, `wait` gets the call for it."""
        self._reader = reader
        self._transport = transport
        self._most = most
        self._arrived = arrived
        self._wait = wait
        self._buffer = _shared.of(most)
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fault: Exception | None = None
        self.is_direct = False  # the stream is empty, and reads come here

    @property
    def has_ended(self) -> bool:
        """Is the input at its end?"""
        return self._ended.done()

    async def run(self) -> None:
        """Read until the input ends, or `arrived` has returned STOP.

        Raises what `arrived` raises, or OSError if the connection broke.
        """
        while len(data := await self._reader.read(self._most)) == self._most:
            while (then := self._arrived(data)) is Then.AGAIN:
                data = b""
                await asyncio.sleep(0)
            if then is Then.STOP:
                return
        if not data:
            return
        transport = self._transport
        stream = transport.get_protocol()
        assert isinstance(stream, asyncio.Protocol)
        self._stream = stream
        transport.set_protocol(self)
        self.is_direct = True
        try:
            self.handle(data)
            await self._ended
        finally:
            self.is_direct = False
            self.read_on()
            if not transport.is_closing():  # else nothing more is read; and TLS may be gone already
                transport.set_protocol(stream)
        fault, self._fault = self._fault, None
        try:
            if fault:
                raise fault
        finally:
            # A fault refers to every frame it came through, and so to the bytes that were read. If
            # a frame referred to the fault in turn, only the garbage collector could free them, and
            # it seldom runs.
            del fault

    def _end(self, fault: Exception | None = None) -> None:
        if not self._ended.done():
            self._fault = fault
            self._ended.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.handle(bytes(self._buffer[:nbytes]))

    def handle(self, data: bytes) -> None:
        if self._ended.done():
            return  # the task that waits for the end has not had its turn yet
        try:
            then = self._arrived(data)
        except Exception as fault:
            self._end(fault)
            return
        if then is Then.STOP:
            self._end()
        elif then is Then.AGAIN:
            self._transport.pause_reading()
            self._wait(self.go_on)
        elif not data:
            self.read_on()

    def go_on(self) -> None:
        """Have the rest handled."""
        self.handle(b"")

    def read_on(self) -> None:
        """Everything that had arrived was handled: read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> bool | None:
        self._end()
        return self._stream.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._stream.connection_lost(exc)

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()
