"""Lines: messages on TCP, each ended by a newline. Sans-I/O: bytes in, messages out, and back.

`framing.WebSocketFraming` has the same methods for browsers; a link doesn't care which it has.
"""

from collections.abc import Iterable

from barker.wire import MAX_LINE_BYTES, TOO_LARGE, BarkerError, ProtocolError


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
