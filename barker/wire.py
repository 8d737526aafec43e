"""The wire: what a message is, how it becomes a line of bytes, and what makes it bad.

A message is one JSON object with an ``op``. On TCP it is one line of UTF-8 ended by a newline.
Left out: negotiation of anything. There is one version, and a peer that speaks another is told so.

Rules that the rest of the system leans on:

* ``OPS`` is the whole protocol. ``decode`` lets nothing through that is not in it, so that no
  handler has to check a type.
* ``body`` is the last field of a line. ``decode`` cuts it out as the bytes it came in, and a hop
  passes those bytes on without encoding them again. A line in any other order is valid too; it is
  merely encoded afresh.
* Who has many to say says them in one line: ``puts`` is so many ``put``s, ``messages`` so many
  ``message``s, and their ``bodies`` come last. A line is parsed by one call of C code, however many
  bodies it has, and what a line costs besides is shared by all of them.
* A *body* is a small object without others in it. One body that isn't is a bad message; who says
  many at once has to know before.
* A *bad message* is one message's fault (``BadMessage``: refuse it and go on). A *protocol error*
  means that we no longer know what the peer is talking about (``ProtocolError``: say why, close).
"""

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple, NoReturn

VERSION = 1

# A longer line closes the link, because after it nobody can say where the next message begins.
MAX_LINE_BYTES = 64 * 1024
# One `put` names at most this many addresses: of 88 bytes at most, with quotes and comma, they and
# a body fit a line.
MAX_ADDRESSES = 500
# A bark of 280 characters, every one escaped, is under 4 KiB. A first manifold that took a larger
# body could not hand it on: with stamp and addresses it has to fit a line at every later hop.
MAX_BODY_BYTES = 8 * 1024
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


def loads(data: bytes, decode: Callable[[str], tuple[Any, int]] = _decode_json) -> Any:
    """Decode exactly one JSON value. Raises BadMessage, also for NaN and for absurd nesting."""
    try:
        text = data.decode()
        value, end = decode(text)
    except RecursionError:
        raise BadMessage(BAD_MESSAGE, "nested too deep") from None
    except (ValueError, StopIteration):
        raise BadMessage(BAD_MESSAGE, "not JSON in UTF-8") from None
    if end != len(text):
        raise BadMessage(BAD_MESSAGE, "something follows the JSON value")
    return value


def _only_flat(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if not _NESTED.isdisjoint(map(type, dict(pairs).values())) or len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


_NESTED = frozenset({dict, list})
_decode_flat = json.JSONDecoder(
    parse_float=_finite, parse_constant=_no_constants, object_pairs_hook=_only_flat
).raw_decode


def is_flat(body: bytes, value: Any) -> bool:
    """Is `value`, as `body` says it, an object without others in it?

    Not under a key that is there twice either: the last one counts, so what the first one has would
    not be in `value`, and yet be passed on.
    """
    if type(value) is not dict:
        return False
    if body.count(b"{") == 1 and b"[" not in body:
        return True  # by far the most
    try:
        loads(body, _decode_flat)
    except BadMessage:
        return False
    return True


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


# So many are remembered to be good, since a pattern takes longer than all the rest of a check. One
# costs some 200 bytes.
REMEMBERED_NAMES = 150_000


@functools.lru_cache(maxsize=REMEMBERED_NAMES)
def _address_ok(value: str) -> bool:
    return ADDRESS.fullmatch(value) is not None


def is_address(value: Any) -> bool:
    return type(value) is str and _address_ok(value)


def is_addresses(value: Any) -> bool:
    return (
        type(value) is list
        and 0 < len(value) <= MAX_ADDRESSES
        and set(map(type, value)) == {str}
        and all(map(_address_ok, value))
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


# Of `puts` and `messages`. These see every bark, so they ask sets and `map` instead of looping.


def is_raws(value: Any) -> bool:
    return (
        type(value) is list
        and set(map(type, value)) == {bytes}
        and max(map(len, value)) <= MAX_BODY_BYTES
    )


def is_counts(value: Any) -> bool:
    return (
        type(value) is list
        and set(map(type, value)) == {int}
        and min(value) >= 0
        and max(value) <= MAX_COUNT
    )


def is_address_lists(value: Any) -> bool:
    """One list of addresses for each body, or a single one for all of them."""
    if type(value) is not list or set(map(type, value)) != {list}:
        return False
    addresses = list(chain.from_iterable(value))
    return (
        min(map(len, value)) > 0
        and max(map(len, value)) <= MAX_ADDRESSES
        and set(map(type, addresses)) == {str}
        and all(map(_address_ok, set(addresses)))
        and (len(addresses) == len(value) or all(len(set(some)) == len(some) for some in value))
    )


def is_serials(value: Any) -> bool:
    """For each body an object: address -> serial."""
    return (
        type(value) is list
        and set(map(type, value)) == {dict}
        and all(value)
        and all(map(_address_ok, set(chain.from_iterable(value))))
        and is_counts(list(chain.from_iterable(map(dict.values, value))))
    )


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
    "puts": _op(  # many of them, numbered from `seq` on
        Field("seq", is_count),
        Field("to", is_address_lists),
        Field("origin", is_hex, False),
        Field("n", is_counts, False),
        Field("old", is_true, False),
        Field("bodies", is_raws),
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
    "messages": _op(  # many of them; a body that goes to several streams is there once
        Field("epoch", is_hex),
        Field("late", is_true, False),
        Field("to", is_serials),
        Field("bodies", is_raws),
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
    So are `bodies`; then both are lists.
    Raises ProtocolError for anything that is not a message of this protocol.
    """
    message = _decode_group(line) if line.startswith(_GROUPS) else _decode_canonical(line)
    return _checked(message or _decode_any(line))


def decode_record(line: bytes) -> dict[str, Any]:
    """A line of a journal. What the protocol's table does not have is not checked.

    Raises BarkerError.
    """
    if line.startswith(b'{"op":"put'):
        return decode(line)
    record = loads(line)
    if type(record) is not dict or type(record.get("op")) is not str:
        raise BadMessage(BAD_MESSAGE, "this is no record")
    return record


def _decode_canonical(line: bytes) -> dict[str, Any] | None:
    """A line in our own form: HEAD,"body":BODY} where HEAD} is an object and BODY is a value.

    A quote inside a string is always escaped, so the first ,"body": is a key; if it is not one of
    the outermost object then HEAD} does not parse, and if something follows the body then BODY
    doesn't. Such a line is for `_decode_any`; so is one with white space that would end it as a
    line, since a WebSocket's message is not a line yet.
    """
    head, cut, body = line.partition(b',"body":')
    if cut and b"\n" not in body and body[-1:] == b"}":
        try:
            message = loads(head + b"}")
            if type(message) is dict and "body" not in message:
                message["body"] = body = body[:-1]
                message["parsed"] = loads(body)
                return message
        except BadMessage:
            pass
    return None


# How a line with many bodies begins, and what is between them. A tab inside a string is always
# escaped, so a comma and a tab are never inside of one.
_GROUPS = (b'{"op":"puts",', b'{"op":"messages",')
BETWEEN = b",\t"


def _decode_group(line: bytes) -> dict[str, Any] | None:
    """A line in our own form: HEAD,"bodies":[BODY,<tab>BODY,<tab>BODY]}

    HEAD} is an object and [BODIES] is a value, as above. If every opening brace in that is one with
    which a piece between tabs begins, and there are no brackets, then nothing is nested, and each
    piece is a body. If not (there may be braces in a text), each piece is parsed by itself.
    """
    head, cut, bodies = line.partition(b',"bodies":[')
    if not cut or bodies[-2:] != b"]}" or b"\n" in line:
        return None
    try:
        message = loads(head + b"}")
        pieces = bodies[:-2].split(BETWEEN)
        if (
            bodies.count(b"{") == len(pieces) == bodies.count(b"},\t{") + 1
            and b"[" not in bodies
            and bodies[:1] == b"{"
            and bodies[-3:] == b"}]}"
        ):
            parsed = loads(b"[" + bodies[:-1])
        else:
            parsed = [loads(piece, _decode_flat) for piece in pieces]
    except BadMessage:
        return None
    if type(message) is not dict or len(parsed) != len(pieces) or {*map(type, parsed)} != {dict}:
        return None
    message["parsed"], message["bodies"] = parsed, pieces
    return message


def _decode_any(line: bytes) -> dict[str, Any]:
    """Any valid JSON: bodies are encoded afresh."""
    try:
        message = loads(line.strip(b" \t\r\n"))
    except BadMessage as fault:
        raise ProtocolError(PROTOCOL, fault.reason) from None
    if type(message) is not dict:
        raise ProtocolError(PROTOCOL, "not a JSON object")
    if message.get("op") in ("puts", "messages"):
        parsed = message["parsed"] = message.get("bodies")
        if type(parsed) is list:
            message["bodies"] = [_encode_again(body) for body in parsed]
            if not all(map(is_flat, message["bodies"], parsed)):
                raise ProtocolError(PROTOCOL, "bodies are objects without others in them")
    elif "body" in message:
        message["parsed"] = message["body"]
        message["body"] = _encode_again(message["body"])
    return message


def _encode_again(body: Any) -> bytes:
    try:
        return dumps(body)
    except BadMessage:
        pass
    try:
        # Half a surrogate pair has no encoding but its escape, in which form it came.
        return json.dumps(body).encode()
    except RecursionError:
        raise ProtocolError(PROTOCOL, "nested too deep") from None


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
    if op in ("puts", "messages"):
        count = len(message["bodies"])
        if len(message["to"]) == 1 and op == "puts":
            message["to"] *= count
        lists = [message["to"], *([message["n"]] if op == "puts" and "n" in message else ())]
        if any(len(some) != count for some in lists):
            raise ProtocolError(PROTOCOL, f"{op}: lists of different lengths")
    return message


class Arriving(NamedTuple):
    """One put as it came, alone or with others."""

    seq: int
    addresses: Sequence[str]
    origin: str | None  # of its stamp; None: it has none
    n: int
    old: bool
    body: bytes
    fields: Any  # what the body means


def puts_in(message: dict[str, Any]) -> Iterator[Arriving]:
    """Every put of a `put` or a `puts`, in order."""
    seq, n, old = message["seq"], message.get("n"), "old" in message
    origin = None if n is None else message.get("origin")
    if message["op"] == "put":
        to, body = message["to"], message["body"]
        yield Arriving(seq, to, origin, n or 0, old, body, message["parsed"])
    else:
        bodies = message["bodies"]
        yield from map(
            Arriving._make,
            zip(
                range(seq, seq + len(bodies)),
                message["to"],
                repeat(origin),
                n or repeat(0),
                repeat(old),
                bodies,
                message["parsed"],
                strict=False,  # `repeat` has no end; `decode` has compared the others
            ),
        )


# --- Hot paths: the lines of which there are most, put together without an encoder --------------

# A line with many bodies ends here, so that it is never too long for its reader, and so that the
# reader begins with the first ones while we still write the others.
MAX_GROUP_BYTES = 32 * 1024
# What a put takes in such a line besides addresses and body: its counter, some commas.
STAMP_BYTES = 24


class Load(NamedTuple):
    """What is put: a body and whose stamp it has.

    `source` is the part of a line that is the same for all that one origin has stamped; it is empty
    for a client, whose first manifold will do the stamping.
    """

    source: bytes
    n: int
    body: bytes


def source(origin: str, old: bool = False) -> bytes:
    """See `Load`; `old` is what a former owner hands over, with the first stamp."""
    return b'"origin":"%b",%b' % (origin.encode(), b'"old":true,' * old)


def stamped(origin: str, n: int, body: bytes) -> Load:
    return Load(source(origin), n, body)


def unstamped(body: bytes) -> Load:
    return Load(b"", 0, body)


def addresses_json(addresses: Iterable[str]) -> bytes:
    """A list of addresses as JSON; their alphabet has nothing that needs an escape."""
    return b'["%b"]' % '","'.join(addresses).encode()


def put_line(seq: int, to: bytes, load: Load, serials: bytes = b"") -> bytes:
    """A `put`: its number on this link, a JSON list of addresses, and what is put.

    `serials` are for journals: a JSON object.
    """
    return b'{"op":"put","seq":%d,"to":%b,%b%b"body":%b}' % (
        seq,
        to,
        b'"serials":%b,' % serials if serials else b"",
        b'%b"n":%d,' % load[:2] if load.source else b"",
        load.body,
    )


def puts_line(
    seq: int,
    to: Sequence[bytes],
    source: bytes,
    n: Sequence[int],
    bodies: Sequence[bytes],
    serials: bytes = b"",
) -> bytes:
    """The same for many of one source, numbered from `seq` on; for one, a `put`."""
    if len(bodies) == 1:
        return put_line(seq, to[0], Load(source, n[0], bodies[0]), serials)
    return b'{"op":"puts","seq":%d,"to":[%b],%b%b"bodies":[%b]}' % (
        seq,
        to[0] if len(set(to)) == 1 else b",".join(to),
        b'"serials":%b,' % serials if serials else b"",
        b'%b"n":[%b],' % (source, ",".join(map(str, n)).encode()) if source else b"",
        BETWEEN.join(bodies),
    )


def message_line(address: str, epoch: str, serial: int, body: bytes) -> bytes:
    """A `message`: one entry of a stream."""
    return encode("message", body, address=address, epoch=epoch, serial=serial)


def messages_line(epoch: bytes, to: Sequence[bytes], bodies: Sequence[bytes], late: bool) -> bytes:
    """Many of them: for each body the streams that it goes to, as `"ADDRESS":SERIAL,...`.

    If it is one body for one stream, a `message`.
    """
    if len(to) == 1 and b"," not in to[0]:
        address, _, serial = to[0].partition(b":")
        return b'{"op":"message","address":%b,"epoch":"%b","serial":%b,%b"body":%b}' % (
            address,
            epoch,
            serial,
            b'"late":true,' * late,
            bodies[0],
        )
    return b'{"op":"messages","epoch":"%b",%b"to":[{%b}],"bodies":[%b]}' % (
        epoch,
        b'"late":true,' * late,
        b"},{".join(to),
        BETWEEN.join(bodies),
    )


def ack_line(seq: int) -> bytes:
    return b'{"op":"ack","seq":%d}' % seq


def refuse_line(seq: int | None, code: str, reason: str, addresses: Sequence[str]) -> bytes:
    """Say no to a put, or (without `seq`) to a subscription."""
    number: dict[str, Any] = {} if seq is None else {"seq": seq}
    return encode("refuse", **number, code=code, reason=reason, addresses=list(addresses))
