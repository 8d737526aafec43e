"""Sealed: TLS as bytes in and bytes out, and as a transport for asyncio's streams.

asyncio has such a transport, with a buffer of 256 KiB for each connection. When the connection is
closed, the buffer stays in a cycle that only the garbage collector frees, and a service of ours
runs that rarely. This one holds nothing once its connection is lost. A stranger's handshake is done
without a transport (`barker.links.porch`).

Left out: closing one direction, which TLS lacks, and waiting for the other end's close.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any

# A record of TLS has at most 16 KiB.
RECORD_BYTES = 16 * 1024


class Sealed:
    """One end of TLS. `is_up` after the handshake, `ended` after the other end's goodbye."""

    def __init__(self, context: ssl.SSLContext, host: str | None = None) -> None:
        """`host` is the name that an opener has dialled; None for an acceptor."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=host is None, server_hostname=host
        )
        self.is_up = self.ended = False

    def receive(self, data: bytes) -> bytes:
        """The plain bytes of these, perhaps none. Then there may be output. Raises ssl.SSLError."""
        self._incoming.write(data)
        parts: list[bytes] = []
        with contextlib.suppress(ssl.SSLWantReadError):
            if not self.is_up:
                self._object.do_handshake()
                self.is_up = True
            while part := self._object.read(RECORD_BYTES):
                parts.append(part)
            self.ended = True
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        """Send this, once the handshake is done."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._object.write(rest) :]

    def close(self) -> None:
        """Send TLS's close notification."""
        if self.is_up:
            with contextlib.suppress(ssl.SSLError):
                self._object.unwrap()

    def take_output(self) -> bytes:
        """The bytes to write now, perhaps none."""
        return self._outgoing.read()


class SealedTransport(asyncio.Transport, asyncio.Protocol):
    """A transport for a stream, and the protocol of the transport below it.

    `up` is done after the handshake, when the stream gets its transport.
    """

    def __init__(self, sealed: Sealed, upper: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._sealed: Sealed | None = sealed
        self._upper: Any = upper
        self._below: Any = None
        self.up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- the protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = transport
        self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        if self._sealed is None:
            return
        try:
            plain = self._sealed.receive(data)
        except ssl.SSLError as fault:  # no earlier byte is missing
            self._flush()  # TLS has an alert for it
            self._fail(fault)
            self._below.close()
            return
        self._flush()
        if self._sealed.is_up and not self.up.done():
            self.up.set_result(None)
            self._upper.connection_made(self)
        self._deliver(plain)
        if self._sealed and self._sealed.ended:
            self._upper.eof_received()
            self.close()

    def _fail(self, fault: Exception) -> None:
        if not self.up.done():
            self.up.set_exception(fault)

    def _deliver(self, plain: bytes) -> None:
        """Hand over the plain bytes, as the protocol above wants them."""
        while plain and self._upper is not None:
            if not isinstance(self._upper, asyncio.BufferedProtocol):
                self._upper.data_received(plain)
                return
            buffer = memoryview(self._upper.get_buffer(len(plain)))
            size = min(len(buffer), len(plain))
            buffer[:size] = plain[:size]
            self._upper.buffer_updated(size)
            plain = plain[size:]

    def eof_received(self) -> None:
        if self._upper is not None and self.up.done():
            self._upper.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        upper, self._upper, self._sealed = self._upper, None, None
        if self.up.done() and upper is not None:
            upper.connection_lost(exc)
        self._fail(exc or EOFError())

    def pause_writing(self) -> None:
        if self.up.done():
            self._upper.pause_writing()

    def resume_writing(self) -> None:
        if self.up.done():
            self._upper.resume_writing()

    # --- the transport ---

    def get_protocol(self) -> asyncio.BaseProtocol:
        upper: asyncio.BaseProtocol = self._upper
        return upper

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._upper = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._sealed is not None and not self.is_closing():
            try:
                self._sealed.send(bytes(data))
            except ssl.SSLError:
                self.abort()
                return
            self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def _flush(self) -> None:
        if self._sealed is not None and (output := self._sealed.take_output()):
            self._below.write(output)

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if self._sealed is not None and not self.is_closing():
            self._sealed.close()
            self._flush()
        self._below.close()

    def abort(self) -> None:
        self._below.abort()

    def is_closing(self) -> bool:
        return bool(self._below.is_closing())

    def is_reading(self) -> bool:
        return bool(self._below.is_reading())

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._below.resume_reading()

    def get_write_buffer_size(self) -> int:
        return int(self._below.get_write_buffer_size())

    def get_write_buffer_limits(self) -> tuple[int, int]:
        low, high = self._below.get_write_buffer_limits()
        return low, high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._below.get_extra_info(name, default)
