"""The opening handshake of RFC 6455 (section 4): how an HTTP request becomes a WebSocket.

Sans-I/O, like `barker.websocket.frames`, which goes on from here. A shell collects input until
`split_head` finds a request in it, gives that to `parse_request`, and writes the bytes of `answer`;
then the connection is a WebSocket, or it is to be closed. Left out: subprotocols and extensions
(none is negotiated), and everything else that HTTP can do.

Numbers in front of reasons and comments are sections of RFC 6455, unless they name another.
"""

import base64
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus

from barker.websocket.frames import CloseCode, encode_close

HEAD_END = b"\r\n\r\n"
# A browser's request is some 500 bytes; cookies of other services on localhost may add a few KiB.
# Beyond it: status 431.
MAX_HEAD_BYTES = 8192
# 1.3: no other protocol would add this to a key; so its hash proves a WebSocket server.
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "13"
# Pages opened from disk send "null" (browsers) or "file://" (some web views).
LOCAL_ORIGINS = frozenset({"null", "file://"})

# RFC 9112, 3: method, target, version. 3: fragments ("#") are never part of a WebSocket address.
_REQUEST_LINE = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[!\"$-~]*|https?://[!\"$-~]+) HTTP/1\.([01])"
)
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: a token
_NOT_IN_VALUE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")  # RFC 9110, 5.5
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~%!$&'()*+,;=-]*)(?::[0-9]{0,5})?")
_KEY = re.compile(r"[0-9A-Za-z+/]{22}==")  # 4.1: 16 bytes in base64
_NOT_OURS = "This service does not go by the name in the Host header."
# 11.3 and RFC 9112, 3.2: two of these would be two answers to one question.
_ONCE = frozenset({"host", "origin", "sec-websocket-key", "sec-websocket-version"})


class HandshakeError(Exception):
    """The request is refused; `response` is what to write before closing."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason

    def response(self, *, body: bool = True) -> bytes:
        """The HTTP answer; without its body if the request was a HEAD."""
        text = f"{self.reason}\n".encode()
        connection, more = "close", ""
        if self.status == HTTPStatus.UPGRADE_REQUIRED:
            # 4.4: name the right version. RFC 9110, 15.5.22 and 7.8: Upgrade, in both places.
            connection = "close, Upgrade"
            more = f"Upgrade: websocket\r\nSec-WebSocket-Version: {VERSION}\r\n"
        elif self.status == HTTPStatus.METHOD_NOT_ALLOWED:
            more = "Allow: GET, HEAD\r\n"  # RFC 9110, 15.5.6
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            f"Connection: {connection}\r\n{more}"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\n\r\n"
        )
        return head.encode() + (text if body else b"")


@dataclass(frozen=True)
class Request:
    """A request's head. Header names are in lower case; repeated lists are joined by commas."""

    method: str
    target: str
    headers: dict[str, str]
    version: str = "1.1"

    def tokens(self, name: str) -> list[str]:
        """The elements of a list header, in lower case."""
        return [token.strip(" \t").lower() for token in self.headers.get(name, "").split(",")]


def split_head(data: bytes) -> tuple[bytes, bytes] | None:
    """A connection's first bytes as the request's head and the rest; None: more has to come.

    Raises HandshakeError as soon as it cannot become one: 405 for any beginning but that of
    GET or HEAD, 400 for a bare line feed, 431 for too long a head.
    """
    if not (b"GET ".startswith(data[:4]) or b"HEAD ".startswith(data[:5])):
        raise HandshakeError(405, "This port takes GET and HEAD.")
    head, end, rest = data.partition(HEAD_END)
    if head.count(b"\n") != head.count(b"\r\n"):
        # RFC 9112, 2.2: a server may take it for the end of a line. Some do, and some do not.
        raise HandshakeError(400, "A line ends without a carriage return.")
    if len(head) + len(HEAD_END) > MAX_HEAD_BYTES:
        raise HandshakeError(431, f"A request's head has at most {MAX_HEAD_BYTES} bytes here.")
    return (head + end, rest) if end else None


def parse_request(head: bytes) -> Request:
    """Read a request's head, up to and including `HEAD_END`.

    Raises HandshakeError: 405 for a method other than GET and HEAD, 431 if it is too long, and 400
    for any other breach of RFC 9112.
    """
    if len(head) > MAX_HEAD_BYTES:
        raise HandshakeError(431, f"A request's head has at most {MAX_HEAD_BYTES} bytes here.")
    if not head.endswith(HEAD_END):
        raise HandshakeError(400, "The request's head does not end in an empty line.")
    # Latin-1 gives every byte a character: nothing is lost, and nothing is an error yet.
    line, *fields = head[: -len(HEAD_END)].decode("latin-1").split("\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if not match:
        raise HandshakeError(400, "This is no HTTP/1.1 request line.")
    method, target, minor = match.groups()
    if method not in ("GET", "HEAD"):
        raise HandshakeError(405, "This port takes GET and HEAD.")
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        # RFC 9112, 5.1 and 5.2: no space before the colon, no line that continues another; both
        # have hidden headers from one parser and shown them to the next. A token has no space.
        if not colon or not _FIELD_NAME.fullmatch(name) or _NOT_IN_VALUE.search(value):
            raise HandshakeError(400, "A header line is malformed.")
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            if name in _ONCE:
                raise HandshakeError(400, f"There are two {name} headers.")
            value = f"{headers[name]}, {value}"  # RFC 9110, 5.3
        headers[name] = value
    # RFC 9112, 3.2: HTTP/1.0 may lack it.
    if ("host" not in headers and minor != "0") or not _HOST.fullmatch(headers.get("host", "")):
        raise HandshakeError(400, "The Host header is missing or malformed.")
    return Request(method, target, headers, f"1.{minor}")


def accept_key(key: str) -> str:
    """4.2.2: the answer to `Sec-WebSocket-Key`. It proves a WebSocket server, and is no secret."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def answer(
    request: Request,
    *,
    allowed_hosts: Collection[str] | None = None,
    allowed_origins: Collection[str] | None = None,
) -> tuple[bytes, bool]:
    """The bytes to write, and whether the connection is a WebSocket after them; if not, close it.

    `allowed_hosts` are names or addresses without port, in lower case; None allows all. Given,
    they stop a page whose own name was made to resolve to this machine (DNS rebinding).
    `allowed_origins` are those of pages, besides the local ones.

    No browser tells a page why a handshake was refused. So a page from disk that calls us by a name
    which is not ours gets the reason in a close frame, behind which nothing else can come.
    """
    try:
        _check_upgrade(request, allowed_origins or ())
    except HandshakeError as refusal:
        return refusal.response(body=request.method != "HEAD"), False
    switching = (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(request.headers['sec-websocket-key'])}\r\n\r\n"
    ).encode()
    host = re.sub(r":[0-9]*$", "", request.headers["host"]).lower().strip("[]")
    if allowed_hosts is None or host in {name.strip("[]") for name in allowed_hosts}:
        return switching, True
    if request.headers.get("origin") in LOCAL_ORIGINS:
        return switching + encode_close(CloseCode.POLICY_VIOLATION, _NOT_OURS), False
    return HandshakeError(403, _NOT_OURS).response(), False


def _check_upgrade(request: Request, allowed_origins: Collection[str]) -> None:
    """4.2.1, item by item, but for the host. Raises HandshakeError."""
    headers = request.headers
    if (
        request.method != "GET"
        or request.version == "1.0"
        or "websocket" not in request.tokens("upgrade")
        or "upgrade" not in request.tokens("connection")
    ):
        raise HandshakeError(
            426,
            "This port speaks WebSocket (RFC 6455) and is no web site.\n"
            "To use Barker in a browser, open the file webui/index.html.\n"
            "If you came to accept our certificate: that is done. Go back to the page.",
        )
    # 10.2: browsers can't be made to lie about a page's origin; any other client can.
    origin = headers.get("origin")
    if origin is not None and origin not in LOCAL_ORIGINS and origin not in allowed_origins:
        raise HandshakeError(403, "Pages of this origin may not connect.")
    if headers.get("sec-websocket-version") != VERSION:
        raise HandshakeError(426, f"This port speaks version {VERSION} of the protocol only.")
    if not _KEY.fullmatch(headers.get("sec-websocket-key", "")):
        raise HandshakeError(400, "Sec-WebSocket-Key has to be 16 bytes in base64.")
