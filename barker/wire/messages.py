"""The wire: how a message becomes a line of bytes, and a line of bytes a message.

A message is one JSON object with an ``op``. On TCP it is one line of UTF-8 ended by a newline.
Left out: negotiation of anything. There is one version, and a peer that speaks another is told so.

Rules that the rest of the system leans on:

* ``body`` is the last field of a line. ``decode`` cuts it out as the bytes it came in, and a hop
  passes those bytes on without encoding them again. A line in any other order is valid too; it is
  merely encoded afresh, which changes no body that is canonical (`barker.wire.strictjson`), as all
  are behind their first hop.
* Who has many to say says them in one line: ``puts`` is so many ``put``s, ``messages`` so many
  ``message``s, and their ``bodies`` come last. A line is parsed by one call of C code, however many
  bodies it has, and what a line costs besides is shared by all of them.
* A *body* is a small object without others in it. One body that isn't is a bad message; who says
  many at once has to know before.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from barker.wire import quick
from barker.wire.protocol import (
    BAD_MESSAGE,
    MAX_NESTING,
    OPS,
    PROTOCOL,
    BadMessage,
    ProtocolError,
)
from barker.wire.quick import BETWEEN, GROUPS
from barker.wire.strictjson import dumps, flat_object, is_flat, loads, parse


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
    if message := quick.decode(line):
        return message
    message = _decode_group(line) if line.startswith(GROUPS) else _decode_canonical(line)
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
    line, since a WebSocket's message is not a line yet, or that would end it as a body among others
    (`BETWEEN`).
    """
    head, cut, body = line.partition(b',"body":')
    if cut and b"\n" not in body and b"\t" not in body and body[-1:] == b"}":
        try:
            message = loads(head + b"}")
            if type(message) is dict and "body" not in message:
                message["body"] = body = body[:-1]
                message["parsed"] = loads(body, MAX_NESTING - 1)
                return message
        except BadMessage:
            pass
    return None


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
            parsed = parse(b"[" + bodies[:-1])
        else:
            parsed = [flat_object(piece) for piece in pieces]
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
    # Half a surrogate pair has no encoding but its escape, in which form it came.
    return json.dumps(body).encode()


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


def puts_in(message: dict[str, Any]) -> Iterable[Arriving]:
    """Every put of a `put` or a `puts`, in order."""
    seq, n, old = message["seq"], message.get("n"), "old" in message
    origin = None if n is None else message.get("origin")
    if message["op"] == "put":
        to, body, fields = message["to"], message["body"], message["parsed"]
        return (Arriving(seq, to, origin, n or 0, old, body, fields),)
    bodies = message["bodies"]
    columns = zip(
        range(seq, seq + len(bodies)),
        message["to"],
        repeat(origin),
        n or repeat(0),
        repeat(old),
        bodies,
        message["parsed"],
        strict=False,  # `repeat` has no end; `decode` has compared the others
    )
    return map(Arriving._make, columns)


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
