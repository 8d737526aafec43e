"""WebSocket frames by hand: RFC 6455 from section 5 on, from the server's side.

Sans-I/O: bytes go in, bytes and messages come out, and a shell around it owns the socket. Left out:
extensions (none is negotiated, so every reserved bit is a fault), TLS, and the client's side,
except that `encode_frame` can mask so that tests can play the client.

How a shell uses it, once `barker.websocket.handshake` has made the connection a WebSocket:

1. Make a `WebSocket`. For all that arrives: `feed` it, handle the messages, then write
   `take_output`: pongs first, then messages, and the close frame, if there is one, last.
2. Once `state` is CLOSED, write `take_output`, end our side of the TCP connection, and read on for
   a moment before closing it. Closing with unread input resets it, and a reset overtakes our words.

Numbers in front of reasons and comments are sections of RFC 6455.
"""

from codecs import utf_8_decode
from collections.abc import Iterable
from enum import Enum, IntEnum
from struct import Struct
from typing import NamedTuple

#        first byte             second byte
#   7   6 5 4   3 2 1 0      7       6 ... 0
# +---+-------+---------+  +----+-------------+ - - - - - - - - - +- - - -+---------- - - -+
# |FIN| RSV   | opcode  |  |MASK|   length    | extended length,  | mask  |    payload     |
# |   | 1-3=0 |         |  |    |             | big-endian        |       |                |
# +---+-------+---------+  +----+-------------+ - - - - - - - - - +- - - -+---------- - - -+
#                                 0...125       none                4 bytes,  XORed with the
#                                 126           2 bytes: >= 126     if MASK   mask, over and
#                                 127           8 bytes: >= 65536             over again

FIN, RSV, OPCODE = 0x80, 0x70, 0x0F
MASK, LENGTH = 0x80, 0x7F
# 5.5: a control frame can come between the fragments of a message, so it has to be short.
MAX_CONTROL_BYTES = 125
# The longest of Barker's messages (a line of `wire`); beyond it: close code 1009, by the header
# alone, before any byte of the message is held.
MAX_MESSAGE_BYTES = 64 * 1024
# A frame takes as long to read as some hundred bytes, and an empty one costs its sender six. So a
# control frame, or a data frame of under so many bytes, is charged one; the content of others pays
# that back. A peer may owe one for every so many bytes of the largest message: 1,024, or 16 before
# its proof. Beyond it: 1008.
LIGHT_BYTES = 6
BYTES_FOR_ONE = 64
LEAST_LIGHT = 16


class Opcode(IntEnum):
    """5.2. The rest of the sixteen is reserved; 8 and above are control frames."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """7.4.1, and what IANA has registered since."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    # 1004 is reserved
    NO_CODE = 1005  # never sent: for the application, if a close frame had no code
    ABNORMAL = 1006  # never sent: there was no close frame at all
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_FAILURE = 1015  # never sent


class State(Enum):
    """Of a WebSocket. It only ever goes forward."""

    OPEN = "open"
    CLOSING = "closing"  # our close frame is out, and theirs has not come yet
    CLOSED = "closed"  # both are, or it failed: nothing more is read


class FrameError(Exception):
    """The peer's fault, and the code to close with."""

    def __init__(self, reason: str, code: CloseCode = CloseCode.PROTOCOL_ERROR) -> None:
        super().__init__(f"{int(code)}: {reason}")
        self.code = code
        self.reason = reason


class Message(NamedTuple):
    """A whole message. `opcode` is TEXT (then `data` is valid UTF-8) or BINARY."""

    opcode: Opcode
    data: bytes


_OPCODES = {int(opcode): opcode for opcode in Opcode}
_CONTINUATION, _TEXT = Opcode.CONTINUATION, Opcode.TEXT
_NEVER_SENT = {CloseCode.NO_CODE, CloseCode.ABNORMAL, CloseCode.TLS_FAILURE}
_SENT_CODES = frozenset(CloseCode) - _NEVER_SENT
_HEAD_16 = Struct("!BBH").pack
_HEAD_64 = Struct("!BBQ").pack

# Masking (5.3) stops a page from writing bytes of its choice past a proxy. For us it is an XOR over
# all input, so it has to be quick. Against a loop over the bytes (20 MB/s), measured on 3.12:
#
#   payload           16 B   200 B   1 KiB   16 KiB   1 MiB
#   as one big int     3x     14x     25x      36x     25x
#   by four tables     1x      7x     27x      64x     65x
#
# The big int is three calls, and wins for short payloads. The tables (one for each byte of the
# mask, for every fourth byte of the payload) are a dozen calls, but their inner loops are quicker.
_TABLES_FROM_BYTES = 1024
_TABLES = [
    (int.from_bytes(bytes(range(256))) ^ int.from_bytes(bytes([key]) * 256)).to_bytes(256)
    for key in range(256)
]


def unmask(data: bytes, mask: bytes) -> bytes:
    """5.3: byte i XOR byte i modulo 4 of the mask. Its own inverse."""
    size = len(data)
    if size < _TABLES_FROM_BYTES:
        keys = mask * (size >> 2) + mask[: size & 3]
        return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(
            size, "little"
        )
    out = bytearray(size)
    for i in range(4):
        out[i::4] = data[i::4].translate(_TABLES[mask[i]])
    return bytes(out)


def valid_close_code(code: int) -> bool:
    """7.4: may it be in a close frame? 3000 to 4999 are for libraries and applications."""
    return code in _SENT_CODES or 3000 <= code <= 4999


def frame_head(first: int, size: int, masked: int = 0) -> bytes:
    """The bytes before mask and payload. 5.2: a length takes the shortest of its three forms."""
    if size <= 125:
        return bytes((first, masked | size))
    if size <= 0xFFFF:
        return _HEAD_16(first, masked | 126, size)
    return _HEAD_64(first, masked | 127, size)


def encode_frame(
    opcode: int, payload: bytes, *, fin: bool = True, mask: bytes | None = None
) -> bytes:
    """One frame. 5.1: a server never masks; a client must, with four bytes that none can guess."""
    first = (FIN if fin else 0) | opcode
    if mask is None:
        return frame_head(first, len(payload)) + payload
    return frame_head(first, len(payload), MASK) + mask + unmask(payload, mask)


def encode_close(code: int, reason: str = "") -> bytes:
    """Our close frame. 5.5.1: two bytes of code, then the reason, cut where it fits a character."""
    text = reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return encode_frame(Opcode.CLOSE, code.to_bytes(2, "big") + text)


class WebSocket:
    """The server's side of one connection, after the handshake.

    `state` is the state of closing. `error` is the peer's fault, if that is why it is CLOSED.
    `close_code` and `close_reason` are the peer's; without a code in its close frame they are 1005,
    without such a frame 1006 (7.1.5).
    """

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.state = State.OPEN
        self.error: FrameError | None = None
        self.close_code: int = CloseCode.ABNORMAL
        self.close_reason = ""
        self._max = max_message_bytes
        self._unread = b""  # less than a header, or than a control frame
        self._output: list[bytes] = []
        self._goodbye = b""  # our answer to a close frame or a fault: goes out after all else
        self._silent = False  # 5.5.1: our close frame is out, so no data may follow
        # The data frame whose payload is coming in.
        self._fin = False
        self._missing = 0
        self._mask = b""  # turned, so that it begins with the key for the next byte
        # The message with that frame; CONTINUATION: none.
        self._opcode = _CONTINUATION
        self._message = bytearray()  # grows in place: a list would hold an object per fragment
        self._half_character = b""
        self._light_frames = 0  # frames whose charge is not paid back

    # --- receiving ---

    def widen(self, max_message_bytes: int) -> None:
        """Take messages of this size from now on."""
        self._max = max_message_bytes

    def feed(self, data: bytes) -> list[Message]:
        """Every message that `data` completes. Never raises: see `error` and `state` afterwards.

        Messages before a close frame or a fault are returned and may still be replied to, until
        `take_output`. Later input is ignored.
        """
        messages: list[Message] = []
        if self._unread:
            data = self._unread + data
            self._unread = b""
        at, end = 0, len(data)
        try:
            while at < end and self.state is not State.CLOSED:
                start = at
                read = self._read_payload if self._missing else self._read_frame
                at = read(data, start, messages)
                if at == start:
                    self._unread = data[start:]
                    break
        except FrameError as error:
            # 7.1.7: fail the connection. 5.5.1: but never with a second close frame.
            self.error = error
            self._end(encode_close(error.code, error.reason))
        return messages

    def _read_frame(self, data: bytes, start: int, messages: list[Message]) -> int:
        """One frame, or its header and the present part of its payload; a control frame only whole.

        Returns where it ends: at `start` itself if too little has come.
        """
        end = len(data)
        if end - start < 2:
            return start
        first, second = data[start], data[start + 1]
        opcode = _OPCODES.get(first & OPCODE)
        if first & RSV:
            raise FrameError("5.2: reserved bits need an extension, and there is none")
        if opcode is None:
            raise FrameError("5.2: this opcode is reserved")
        if not second & MASK:
            raise FrameError("5.1: a client has to mask its frames")
        size = second & LENGTH
        payload = start + 6

        if opcode >= Opcode.CLOSE:
            if first < FIN:
                raise FrameError("5.5: control frames are never fragmented")
            if size > MAX_CONTROL_BYTES:
                raise FrameError("5.5: control frames have at most 125 bytes")
            if end < payload + size:
                return start
            self._charge(0)
            mask = data[payload - 4 : payload]
            self._control(opcode, unmask(data[payload : payload + size], mask))
            return payload + size

        if size >= 126:
            width, least = (2, 126) if size == 126 else (8, 0x10000)
            if end < start + 2 + width:
                return start
            size = int.from_bytes(data[start + 2 : start + 2 + width], "big")
            if size >> 63:
                raise FrameError("5.2: the highest bit of a length has to be 0")
            if size < least:
                raise FrameError("5.2: a length takes the shortest form")
            payload += width
        if (opcode is _CONTINUATION) is (self._opcode is _CONTINUATION):
            raise FrameError(
                "5.4: there is nothing to continue"
                if opcode is _CONTINUATION
                else "5.4: the message before this one has not ended"
            )
        if size > self._max - len(self._message):
            raise FrameError(f"10.4: messages have at most {self._max} bytes", CloseCode.TOO_BIG)
        if end < payload:
            return start
        if opcode is not _CONTINUATION:
            self._opcode = opcode
        self._fin = first >= FIN
        self._missing = size
        self._mask = data[payload - 4 : payload]
        self._charge(size)
        return self._read_payload(data, payload, messages)

    def _read_payload(self, data: bytes, start: int, messages: list[Message]) -> int:
        """The present part of a data frame's payload. Each byte is touched once, in any pieces."""
        end = min(start + self._missing, len(data))
        piece = unmask(data[start:end], self._mask)
        self._missing -= end - start
        ended = self._fin and not self._missing
        # 8.1: text is checked piece by piece, so that bad text ends here and not megabytes later.
        if self._opcode is _TEXT and (self._half_character or not piece.isascii()):
            text = self._half_character + piece
            try:
                # With `ended` false, a character may be cut short at the end, not be wrong.
                _, used = utf_8_decode(text, "strict", ended)
            except UnicodeDecodeError:
                used = -1
            self._half_character = text[used:]
            # Python waits for the third byte of a surrogate, though its second is wrong already.
            if used < 0 or (text[used : used + 1] == b"\xed" and text[used + 1 :] >= b"\xa0"):
                raise FrameError("8.1: text has to be UTF-8", CloseCode.INVALID_DATA)
        if not ended:
            self._message += piece
            turn = (end - start) & 3
            self._mask = self._mask[turn:] + self._mask[:turn]
            return end
        if self._message:
            piece = b"".join((self._message, piece))
            self._message = bytearray()
        if self.state is State.OPEN:  # 1.4: messages after our close frame are not delivered
            messages.append(Message(self._opcode, piece))
        self._opcode = _CONTINUATION
        return end

    def _charge(self, size: int) -> None:
        """Count one frame with so much content."""
        self._light_frames = max(0, self._light_frames + 1 - size // LIGHT_BYTES)
        if self._light_frames > max(LEAST_LIGHT, self._max // BYTES_FOR_ONE):
            raise FrameError("too many frames without content", CloseCode.POLICY_VIOLATION)

    def _control(self, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.PING:
            # 5.5.2: unless a close frame was received; then the state is not OPEN.
            self._output.append(encode_frame(Opcode.PONG, payload))
        elif opcode is Opcode.CLOSE:
            self.close_code = CloseCode.NO_CODE
            if payload:
                code = int.from_bytes(payload[:2], "big")
                if len(payload) == 1 or not valid_close_code(code):
                    raise FrameError("7.4: this is no close code")
                try:
                    self.close_reason = payload[2:].decode()
                except UnicodeDecodeError:
                    reason = "5.5.1: a reason has to be UTF-8"
                    raise FrameError(reason, CloseCode.INVALID_DATA) from None
                self.close_code = code
            # 5.5.1: the answer repeats the code. 1.4: later input is discarded.
            self._end(encode_frame(Opcode.CLOSE, payload[:2]))
        # 5.5.3: a pong, requested or not, needs no answer.

    def _end(self, goodbye: bytes) -> None:
        self.state = State.CLOSED
        if not self._silent:
            self._goodbye = goodbye
        self._message = bytearray()

    # --- sending ---

    def send(self, opcode: Opcode, payload: bytes) -> None:
        """Queue one frame (TEXT has to be UTF-8). After our close frame it is dropped (5.5.1)."""
        if not self._silent:
            self._output += (frame_head(FIN | opcode, len(payload)), payload)

    def pack(self, messages: Iterable[bytes]) -> bytes:
        """Many texts as the bytes to write, past the queue. Empty after our close frame."""
        if self._silent:
            return b""
        first = FIN | Opcode.TEXT
        return b"".join([part for m in messages for part in (frame_head(first, len(m)), m)])

    def take_output(self) -> bytes:
        """The bytes to write now, perhaps none. Our close frame always comes last."""
        if self._goodbye:
            self._output.append(self._goodbye)
            self._goodbye = b""
            self._silent = True
        output = b"".join(self._output)
        self._output.clear()
        return output

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """7.1.2: start the closing handshake; harmless if it has begun.

        Go on feeding, under a deadline, until `state` is CLOSED. Raises ValueError for a code that
        must not be sent.
        """
        if not valid_close_code(code):
            raise ValueError(f"{code} is no close code to send")
        if self.state is State.OPEN:
            self.state = State.CLOSING
            self._output.append(encode_close(code, reason))
            self._silent = True
