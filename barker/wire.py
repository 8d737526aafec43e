"""The wire: what a message is, how it becomes a line of bytes, and what makes it bad.

A message is one JSON object with an ``op``. On TCP it is one line of UTF-8 ended by a newline.
Left out: negotiation of anything. There is one version, and a peer that speaks another is told so.

Rules that the rest of the system leans on:

* ``OPS`` is the whole protocol. ``decode`` lets nothing through that is not in it, so that no
  handler has to check a type.
* ``body`` is the last field of a line. ``decode`` cuts it out as the bytes it came in, and a hop
  passes those bytes on without encoding them again. A line in any other order is valid too; it is
  merely encoded afresh.
* A *bad message* is one message's fault (``BadMessage``: refuse it and go on). A *protocol error*
  means that we no longer know what the peer is talking about (``ProtocolError``: say why, close).
"""

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

VERSION = 1

# A longer line closes the link, because after it nobody can say where the next message begins.
MAX_LINE_BYTES = 64 * 1024
# One `put` names at most this many addresses: of 88 bytes at most, with quotes and comma, they and
# a body fit a line.
MAX_ADDRESSES = 500
# Counters travel through browsers, whose numbers are exact up to here (Number.MAX_SAFE_INTEGER).
MAX_COUNT = 2**53 - 1
# A put is unacked on one link at most this many times. It is part of the protocol because a
# receiver of stamped puts relies on it: whatever lies further back than this was settled long ago.
UNACKED_WINDOW = 4096

USER_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ADDRESS = re.compile(r"[a-z][a-z0-9-]{0,19}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")

# Reasons for a `refuse` (one put) ...
FULL = "full"  # ask again later: the queue or the disk has no room
MOVED = "moved"  # ask again elsewhere: the ring says that this share is another's
UNKNOWN_USER = "unknown-user"
TOO_LARGE = "too-large"
BAD_MESSAGE = "bad-message"
# ... and for an `error` (the whole link).
BAD_VERSION = "bad-version"
BAD_PROOF = "bad-proof"
PROTOCOL = "protocol"
TOO_MANY = "too-many"
NAME_TAKEN = "name-taken"
TIMEOUT = "timeout"

RETRYABLE = frozenset({FULL, MOVED})


class BarkerError(Exception):
    """Something a peer should be told; `code` is what goes on the wire."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class BadMessage(BarkerError):
    """One message is at fault: refuse it, go on with the link."""


class ProtocolError(BarkerError):
    """The link is at fault: send `error`, close it."""


# --- JSON, made once ---------------------------------------------------------------------------


def _no_constants(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is beyond all numbers that others can read")
    return value


# raw_decode() and encode() of objects made once: json.loads() would look at the first bytes of
# every line to guess an encoding, and half of a line's parsing time would go into that guess.
_decode_json = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constants).raw_decode
_encode_json = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def dumps(value: Any) -> bytes:
    """As compact UTF-8 JSON. Raises BadMessage for what has no encoding (lone surrogates)."""
    try:
        return _encode_json(value).encode()
    except (ValueError, TypeError, RecursionError) as fault:
        raise BadMessage(BAD_MESSAGE, f"not encodable: {fault}") from None


def loads(data: bytes) -> Any:
    """Decode exactly one JSON value. Raises BadMessage, also for NaN and for absurd nesting."""
    try:
        text = data.decode()
        value, end = _decode_json(text)
    except RecursionError:
        raise BadMessage(BAD_MESSAGE, "nested too deep") from None
    except (ValueError, StopIteration):
        raise BadMessage(BAD_MESSAGE, "not JSON in UTF-8") from None
    if end != len(text):
        raise BadMessage(BAD_MESSAGE, "something follows the JSON value")
    return value


# --- The protocol as a table -------------------------------------------------------------------

Check = Callable[[Any], bool]


class Field(NamedTuple):
    name: str
    check: Check
    required: bool = True


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= 500


@functools.lru_cache(maxsize=65536)
def _address_ok(value: str) -> bool:
    return ADDRESS.fullmatch(value) is not None


def is_address(value: Any) -> bool:
    return type(value) is str and _address_ok(value)


def is_addresses(value: Any) -> bool:
    return (
        type(value) is list
        and 0 < len(value) <= MAX_ADDRESSES
        and all(type(v) is str and _address_ok(v) for v in value)
        and len(set(value)) == len(value)
    )


def is_prefix(value: Any) -> bool:
    return value == "" or is_address(value)


def is_name(value: Any) -> bool:
    return type(value) is str and INSTANCE_NAME.fullmatch(value) is not None


def is_host(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 255 and value.isprintable()


def is_port(value: Any) -> bool:
    return type(value) is int and 0 < value < 65536


def or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def is_policy(value: Any) -> bool:
    return value in ("consistent", "ordered")


def is_hex(value: Any) -> bool:
    return type(value) is str and re.fullmatch(r"[0-9a-f]{16,64}", value) is not None


def is_targets(value: Any) -> bool:
    return type(value) is list and all(
        type(t) is dict
        and is_name(t.get("name"))
        and is_host(t.get("host"))
        and is_port(t.get("port"))
        and is_count(t.get("since"))
        for t in value
    )


def is_raw(value: Any) -> bool:
    return type(value) is bytes


def is_true(value: Any) -> bool:
    return value is True


def _op(*fields: Field) -> tuple[Field, ...]:
    return fields


# Every op with its fields, in the order in which they are written.
OPS: dict[str, tuple[Field, ...]] = {
    "hello": _op(
        Field("v", is_count),
        Field("name", is_name),
        Field("nonce", is_hex),
        Field("epoch", or_null(is_hex), False),  # directory: its own; others: the last they knew
    ),
    "proof": _op(Field("mac", is_hex)),
    "register": _op(
        Field("address", is_address),
        Field("name", is_name),
        Field("host", is_host),
        Field("port", is_port),
        Field("policy", is_policy),
        Field("kind", is_name),
        Field("since", is_count),
    ),
    "unregister": _op(Field("address", is_address), Field("name", is_name)),
    "watch": _op(Field("prefix", is_prefix)),
    "routes": _op(
        Field("address", is_address), Field("policy", is_policy), Field("targets", is_targets)
    ),
    "resolve": _op(Field("address", is_address)),
    "target": _op(
        Field("address", is_address),
        Field("name", or_null(is_name)),
        Field("host", or_null(is_host)),
        Field("port", or_null(is_port)),
    ),
    "put": _op(
        Field("seq", is_count),
        Field("to", is_addresses),
        Field("origin", is_hex, False),
        Field("n", is_count, False),
        Field("old", is_true, False),  # handed over by a former owner, with the first stamp
        Field("body", is_raw),
    ),
    "ack": _op(
        Field("seq", is_count, False),  # settles puts, or
        Field("address", is_address, False),  # reopens a reader's window
        Field("serial", is_count, False),
    ),
    "refuse": _op(
        Field("seq", is_count, False),  # absent: what was refused is a subscribe
        Field("code", is_name),
        Field("reason", is_text),
        Field("addresses", is_addresses),
    ),
    "subscribe": _op(
        Field("address", is_address),
        Field("epoch", or_null(is_hex), False),
        Field("after", is_count, False),
        Field("history", is_count, False),
        Field("window", is_count, False),
    ),
    "subscribed": _op(  # the first answer
        Field("address", is_address),
        Field("epoch", is_hex),  # whose serials they will be
        Field("serial", is_count),  # the one before the first that is sent
        Field("last", is_count),  # what comes after this one is not the past
        Field("history", is_count),  # how much of the past to show who has no wish
    ),
    "message": _op(
        Field("address", is_address),
        Field("epoch", is_hex),
        Field("serial", is_count),
        Field("late", is_true, False),  # something newer of the same author was here before
        Field("body", is_raw),
    ),
    "moved": _op(Field("address", is_address)),
    "gap": _op(Field("address", is_address), Field("missed", is_count)),
    "ping": _op(),
    "pong": _op(),
    "sample": _op(Field("body", is_raw)),
    "error": _op(Field("code", is_name), Field("reason", is_text)),
}


def encode(op: str, body: bytes | None = None, **fields: Any) -> bytes:
    """One message as bytes, without the newline. `body` is JSON already; it goes last."""
    head = dumps({"op": op, **fields})
    return head if body is None else b'%b,"body":%b}' % (head[:-1], body)


PING = encode("ping")
PONG = encode("pong")


def decode(line: bytes) -> dict[str, Any]:
    """One message, checked against `OPS`; a field that the table does not list is ignored.

    A `body` is there twice: as `body`, the bytes to pass on, and as `parsed`, the value they mean.
    Raises ProtocolError for anything that is not a message of this protocol.
    """
    # A line in our own form is HEAD,"body":BODY} where HEAD} is an object and BODY is a value. A
    # quote inside a string is always escaped, so the first ,"body": is a key; if it is not one of
    # the outermost object then HEAD} does not parse, and if something follows the body then BODY
    # doesn't. Such a line takes the slow way below; so does one with white space that would end it
    # as a line, since a WebSocket's message is not a line yet.
    head, cut, body = line.partition(b',"body":')
    if cut and b"\n" not in body:
        try:
            message = loads(head + b"}")
            if type(message) is dict and "body" not in message and body[-1:] == b"}":
                message["body"] = body = body[:-1]
                message["parsed"] = loads(body)
                return _checked(message)
        except BadMessage:
            pass
    try:
        message = loads(line.strip(b" \t\r\n"))
    except BadMessage as fault:
        raise ProtocolError(PROTOCOL, fault.reason) from None
    if type(message) is not dict:
        raise ProtocolError(PROTOCOL, "not a JSON object")
    if "body" in message:
        try:
            message["parsed"] = message["body"]
            message["body"] = dumps(message["body"])
        except BadMessage:
            # Half a surrogate pair has no encoding but its escape, in which form it came.
            message["body"] = json.dumps(message["body"]).encode()
    return _checked(message)


def _checked(message: dict[str, Any]) -> dict[str, Any]:
    op = message.get("op")
    fields = OPS.get(op) if type(op) is str else None
    if fields is None:
        raise ProtocolError(PROTOCOL, "unknown op")
    for name, check, required in fields:
        if name in message:
            if not check(message[name]):
                raise ProtocolError(PROTOCOL, f"{op}: bad {name}")
        elif required:
            raise ProtocolError(PROTOCOL, f"{op}: {name} is missing")
    return message


# --- Hot paths: the two lines of which there are most, put together without an encoder ----------


def stamped(origin: bytes, n: int, body: bytes) -> bytes:
    """The end of a `put` that a manifold has stamped: the part that stays the same at every hop."""
    return b'"origin":"%b","n":%d,"body":%b}' % (origin, n, body)


def stamp(end: bytes) -> int:
    """The counter in what `stamped` has made."""
    return int(end.split(b",", 2)[1].removeprefix(b'"n":'))


def unstamped(body: bytes) -> bytes:
    """The same for a client, whose first manifold will do the stamping."""
    return b'"body":%b}' % body


def addresses_json(addresses: Iterable[str]) -> bytes:
    """A list of addresses as JSON; their alphabet has nothing that needs an escape."""
    return b'["%b"]' % '","'.join(addresses).encode()


def put_line(seq: int, to: bytes, end: bytes) -> bytes:
    """A `put`: its number on this link, a JSON list of addresses, and its `stamped` end."""
    return b'{"op":"put","seq":%d,"to":%b,%b' % (seq, to, end)


def message_head(address: str, epoch: str) -> bytes:
    """The part of a `message` that is the same for all of a stream."""
    return encode("message", address=address, epoch=epoch)[:-1] + b',"serial":'


def message_line(head: bytes, serial: int, body: bytes, late: bool = False) -> bytes:
    if late:
        return b'%b%d,"late":true,"body":%b}' % (head, serial, body)
    return b'%b%d,"body":%b}' % (head, serial, body)


def ack_line(seq: int) -> bytes:
    return b'{"op":"ack","seq":%d}' % seq


def refuse_line(seq: int | None, code: str, reason: str, addresses: Sequence[str]) -> bytes:
    """Say no to a put, or (without `seq`) to a subscription."""
    number: dict[str, Any] = {} if seq is None else {"seq": seq}
    return encode("refuse", **number, code=code, reason=reason, addresses=list(addresses))
