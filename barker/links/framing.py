"""Framing: one port takes newline-JSON and WebSocket, told apart by the first bytes.

A link sees neither: both framings turn bytes into messages and messages into bytes. What a
connection speaks is settled by its first byte, once, before anything else is looked at: ``G`` or
``H`` may be a browser's GET (or a HEAD), and anything else is taken for a line, which had better be
a JSON object. No bad line is ever skipped, so that a request smuggled in by a web page (whose first
line is HTTP) can't have a second line that we would understand.
"""

import asyncio
from collections.abc import Collection, Iterable
from typing import Protocol

from barker.websocket.frames import CloseCode, Opcode, State, WebSocket
from barker.websocket.handshake import (
    MAX_HEAD_BYTES,
    HandshakeError,
    answer,
    parse_request,
    split_head,
)
from barker.wire import protocol
from barker.wire.protocol import MAX_LINE_BYTES, TOO_LARGE, BarkerError, ProtocolError


class Framing(Protocol):
    """What `LineFraming` and `WebSocketFraming` have in common."""

    name: str
    error: ProtocolError | None

    @property
    def ended(self) -> bool:
        """The peer has said goodbye in the framing's own way."""
        ...

    def feed(self, data: bytes) -> list[bytes]: ...
    def pack(self, messages: Iterable[bytes]) -> bytes: ...
    def take_output(self) -> bytes: ...
    def close(self, fault: protocol.BarkerError | None = None) -> None: ...


class LineFraming:
    """One connection's framing; `error` is set, for good, once a line was too long."""

    name = "line"
    ended = False  # lines know no goodbye but the end of the connection

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._tail = b""
        self.error: ProtocolError | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Every message that `data` completes. After an over-long line `error` is set, for good."""
        if self.error:
            return []
        data = self._tail + data
        lines = data.split(b"\n")
        self._tail = lines.pop()
        if len(data) > self._max:
            for i, line in enumerate((*lines, self._tail)):
                if len(line) > self._max:
                    self.error = ProtocolError(TOO_LARGE, f"a line of over {self._max} bytes")
                    self._tail = b""
                    return lines[:i]
        return lines

    def pack(self, messages: Iterable[bytes]) -> bytes:
        """Many messages as the bytes to write."""
        return b"\n".join(messages) + b"\n"

    def take_output(self) -> bytes:
        """What the framing itself has to say (nothing: lines have no control frames)."""
        return b""

    def close(self, fault: BarkerError | None = None) -> None:
        """Say goodbye in the framing's own way (lines have none: the socket is closed)."""


class WebSocketFraming:
    """Messages as text messages of a WebSocket, in the shape of `LineFraming`."""

    name = "websocket"

    def __init__(self) -> None:
        self._socket = WebSocket(protocol.MAX_LINE_BYTES)
        self.error: ProtocolError | None = None
        self.pack = self._socket.pack
        self.take_output = self._socket.take_output

    @property
    def ended(self) -> bool:
        return self._socket.state is State.CLOSED

    def feed(self, data: bytes) -> list[bytes]:
        lines = []
        for opcode, line in self._socket.feed(data):
            if opcode is not Opcode.TEXT:
                self.error = ProtocolError(protocol.PROTOCOL, "messages are text")
                break
            lines.append(line)
        fault = self._socket.error
        if fault:
            code = TOO_LARGE if fault.code is CloseCode.TOO_BIG else protocol.PROTOCOL
            self.error = ProtocolError(code, fault.reason)
        return lines

    def close(self, fault: protocol.BarkerError | None = None) -> None:
        if fault is None:
            self._socket.close(CloseCode.GOING_AWAY)
        elif fault.reason == "messages are text":
            self._socket.close(CloseCode.UNSUPPORTED_DATA, fault.reason)
        else:
            self._socket.close(CloseCode.POLICY_VIOLATION, fault.code)


async def choose_framing(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    allowed_hosts: Collection[str] | None = None,
) -> tuple[Framing | None, bytes]:
    """The framing of a new connection, and what has come of it; None if the answer was a no.

    `allowed_hosts` is as for `handshake.answer`. The caller sets the deadline. Raises ProtocolError
    for what is neither, and EOFError and OSError as reading does.
    """
    data = await _read(reader)
    if data[:1] not in (b"G", b"H"):
        if data.lstrip(b" \t\r\n")[:1] not in (b"{", b""):
            # Of another protocol, or another HTTP method: nothing that still comes can mend it.
            raise ProtocolError(protocol.PROTOCOL, "not a JSON object")
        return LineFraming(), data
    try:
        while (parts := split_head(data)) is None:
            data += await _read(reader)
        head, rest = parts
        response, upgraded = answer(parse_request(head), allowed_hosts=allowed_hosts)
    except HandshakeError as refusal:
        response, upgraded, rest = refusal.response(), False, b""
    writer.write(response)
    return WebSocketFraming() if upgraded else None, rest


async def _read(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(MAX_HEAD_BYTES)
    if not data:
        raise EOFError
    return data
