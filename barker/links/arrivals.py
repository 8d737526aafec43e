"""Arrivals: how a link reads, once it is up.

A stream puts what arrives into a buffer and wakes the task that waits for it, which comes to it one
turn of the loop later. For a batch that is little; for one bark, a third of all that the hop takes.
So bytes are handled where they arrive, in the place that asyncio calls a *protocol*. The stream's
own protocol steps aside for as long, and goes on looking after the writing.

There is one buffer for all links, which lives as long as the thread. A stream asks for 256 KiB anew
for every read, of which a bark needs 300 bytes: so much memory comes from the kernel each time, and
goes back to it, and that takes longer than the reading.
"""

import asyncio
import threading
from collections.abc import Callable


async def read_directly(
    reader: asyncio.StreamReader,
    transport: asyncio.BaseTransport,
    most: int,
    arrived: Callable[[bytes], bool],
) -> None:
    """Call `arrived` with what the stream still holds, `most` bytes at a time, and with all that
    comes, until it returns False or nothing comes any more.

    Raises what `arrived` raises, or OSError if the connection broke.
    """
    while len(data := await reader.read(most)) == most:
        if not arrived(data):
            return
    if not data:
        return
    stream = transport.get_protocol()
    assert isinstance(stream, asyncio.Protocol)
    arrivals = _Arrivals(stream, arrived, most)
    transport.set_protocol(arrivals)
    try:
        arrivals.handle(data)
        await arrivals.ended
    finally:
        if not transport.is_closing():  # else nothing more is read; and TLS may be gone already
            transport.set_protocol(stream)
    fault, arrivals.fault = arrivals.fault, None
    try:
        if fault:
            raise fault
    finally:
        # A fault holds on to every frame it came through, and to what was read there. If one of
        # them held on to the fault, only the collector could free any of it, and it seldom looks.
        del fault


class _Shared(threading.local):
    """Where a read goes before it is handled, which is done before anybody else's turn."""

    def __init__(self) -> None:
        self.buffer = memoryview(b"")

    def of(self, size: int) -> memoryview:
        if len(self.buffer) < size:
            self.buffer = memoryview(bytearray(size))
        return self.buffer


_shared = _Shared()


class _Arrivals(asyncio.BufferedProtocol):
    def __init__(
        self, stream: asyncio.Protocol, arrived: Callable[[bytes], bool], most: int
    ) -> None:
        self._stream = stream
        self._arrived = arrived
        self._buffer = _shared.of(most)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fault: Exception | None = None

    def _end(self, fault: Exception | None = None) -> None:
        if not self.ended.done():
            self.fault = fault
            self.ended.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.handle(bytes(self._buffer[:nbytes]))

    def handle(self, data: bytes) -> None:
        if self.ended.done():
            return  # the task that waits for that has not had its turn yet
        try:
            if not self._arrived(data):
                self._end()
        except Exception as fault:
            self._end(fault)

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
