"""Framing: one port takes newline-JSON and WebSocket, recognised by the first bytes.

A link does not see which: both framings turn bytes into messages and messages into bytes. The first
bytes of a connection decide its framing, before anything else is read. A method of HTTP begins a
request, and a browser's GET may become a WebSocket. Any other bytes are taken for a line, which has
to be a JSON object. A refusal has the framing of its input. No bad line is ever skipped. So
a web page, whose first line is HTTP, can't smuggle in a second line that we would understand.

Pure: bytes in, bytes and messages out.
"""

from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import Protocol

from barker.websocket.frames import CloseCode, Opcode, State, WebSocket
from barker.websocket.handshake import (
    HandshakeError,
    answer,
    parse_request,
    split_head,
)
from barker.wire import protocol
from barker.wire.protocol import MAX_LINE_BYTES, TOO_LARGE, BarkerError, ProtocolError

# RFC 9110, 9, and PATCH (RFC 5789). None but GET is of use here.
_METHODS = [
    method + b" " for method in b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH".split(b" ")
]
# The HTTP statuses of our codes.
_STATUS = {
    protocol.TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    protocol.TOO_MANY: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Framing(Protocol):
    """The interface of all framings."""

    @property
    def name(self) -> str: ...
    @property
    def error(self) -> ProtocolError | None: ...
    @property
    def ended(self) -> bool:
        """Read no more; the framing says so: a close frame came, or a bad request."""
        ...

    def feed(self, data: bytes) -> list[bytes]: ...
    def pack(self, messages: Iterable[bytes]) -> bytes: ...
    def take_output(self) -> bytes: ...
    def widen(self) -> None:
        """The peer has proved itself: from now on a message may be as long as any."""
        ...

    def close(self, fault: BarkerError | None = None) -> None: ...


class LineFraming:
    """Lines of one connection; `error` is set, for good, once a line was too long."""

    name = "line"
    ended = False  # lines have no close frame: only the connection ends

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
        """The framing's own output (none: lines have no control frames)."""
        return b""

    def widen(self) -> None:
        self._max = MAX_LINE_BYTES

    def close(self, fault: BarkerError | None = None) -> None:
        """Say goodbye in the framing's own way (lines have none: the socket is closed)."""


class WebSocketFraming:
    """Messages as text messages of a WebSocket, in the shape of `LineFraming`."""

    name = "websocket"

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._socket = WebSocket(max_line_bytes)
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

    def widen(self) -> None:
        self._socket.widen(MAX_LINE_BYTES)

    def close(self, fault: BarkerError | None = None) -> None:
        if fault is None:
            self._socket.close(CloseCode.GOING_AWAY)
        elif fault.reason == "messages are text":
            self._socket.close(CloseCode.UNSUPPORTED_DATA, fault.reason)
        else:
            self._socket.close(CloseCode.POLICY_VIOLATION, fault.code)


class HttpFraming:
    """A request for a WebSocket. It is answered in HTTP: becomes one (`upgraded`), or is refused.

    `rest` has the bytes after the request. `allowed_hosts` is as for `handshake.answer`.
    """

    name = "http"
    error = None

    def __init__(self, allowed_hosts: Collection[str] | None = None) -> None:
        self.ended = False  # refused
        self.upgraded = False
        self.rest = b""
        self._allowed_hosts = allowed_hosts
        self._data = b""
        self._output = b""

    def feed(self, data: bytes) -> list[bytes]:
        """No messages: only the request."""
        self._data += data
        try:
            parts = split_head(self._data)
            if parts:
                head, self.rest = parts
                request = parse_request(head)
                self._output, self.upgraded = answer(request, allowed_hosts=self._allowed_hosts)
                self.ended = not self.upgraded
        except HandshakeError as refusal:
            self._refuse(refusal)
        return []

    def pack(self, messages: Iterable[bytes]) -> bytes:
        return b""

    def take_output(self) -> bytes:
        output, self._output = self._output, b""
        return output

    def widen(self) -> None:
        pass

    def close(self, fault: BarkerError | None = None) -> None:
        if fault and not (self.ended or self.upgraded):
            status = _STATUS.get(fault.code, HTTPStatus.BAD_REQUEST)
            self._refuse(HandshakeError(status, str(fault)))

    def _refuse(self, refusal: HandshakeError) -> None:
        # RFC 9110, 9.3.2: the answer to a HEAD never has a body, even if the rest is malformed.
        self._output = refusal.response(body=not self._data.startswith(b"HEAD "))
        self.ended = True


def framing_of(
    data: bytes,
    allowed_hosts: Collection[str] | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Framing:
    """The framing of a connection by its first bytes, `data`; feed them to it next.

    Raises ProtocolError if they begin neither HTTP nor a line; no later bytes can mend that.
    """
    if any(data.startswith(m[: len(data)]) for m in _METHODS):
        return HttpFraming(allowed_hosts)
    if data.lstrip(b" \t\r\n")[:1] not in (b"{", b""):
        raise ProtocolError(protocol.PROTOCOL, "not a JSON object")
    return LineFraming(max_line_bytes)
