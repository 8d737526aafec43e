"""Messages and lines: `encode` and `decode` are the only two ways between them.

On TCP a line is one message, ended by a newline. Left out: negotiation of anything. There is one
version, and a peer that speaks another is told so.

Rules that the rest of the system leans on:

* Bodies are the last field of a line, with a comma and a tab between them. A tab inside a text is
  always escaped; so they can be cut apart without a parser, and a hop passes on the bytes.
* There are two ways to read a line. One cuts bodies out and parses the rest. The other takes any
  valid JSON, in whatever order, and encodes the bodies again, which changes none that is canonical
  (`barker.wire.strictjson`), as all are behind their first hop. A line that both can read means the
  same to both. What the first way alone can read is a line with a body that is no JSON: nothing
  looks into that body before the first manifold, which refuses it, or a reader, which drops it.
* A message with a stamp promises that its bodies are canonical. One that is nested or too large
  there is the link's fault; without a stamp it is the fault of that body.
"""

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from barker.wire.fields import WRITTEN
from barker.wire.ops import OPS, Op, Ping, Pong, Put
from barker.wire.protocol import (
    MAX_BODY_BYTES,
    MAX_NESTING,
    PROTOCOL,
    BadMessage,
    ProtocolError,
)
from barker.wire.records import RECORDS, Record
from barker.wire.strictjson import BETWEEN, dumps, flat_object, is_plain, loads
from barker.wire.table import Spec

# A line with many bodies ends here, so that it is never too long for its reader, and so that the
# reader begins with the first ones while we still write the others.
MAX_GROUP_BYTES = 32 * 1024

_SPECS = {spec.type: spec for spec in (*OPS.values(), *RECORDS.values())}
_CUT = b',"bodies":['


# --- a message as a line ---


def encode(message: Op | Record) -> bytes:
    """One message as bytes, without the newline."""
    spec = _SPECS[type(message)]
    absent = tuple(map(operator.eq, message, spec.defaults))
    form = _FORMS.get((spec.op, absent)) or _form(spec, absent)
    values: list[Any] = []
    for i, write in form.parts:
        value = message[i]
        values.append(value if write is None else write(value))
    head = (form.text % tuple(values)).encode()
    if spec.bodies is not None and (bodies := message[spec.bodies]):
        return b"%b%b%b]}" % (head, _CUT, BETWEEN.join(bodies))  # type: ignore[arg-type]
    if spec.body is not None:
        return b'%b,"body":%b}' % (head, message[spec.body])  # type: ignore[str-format]
    return head + b"}"


class _Form(NamedTuple):
    """How messages of one type begin that lack the same fields: a text, and what goes into it."""

    text: str
    parts: Sequence[tuple[int, Callable[[Any], str] | None]]


# By op, and for each field whether it is left out. There are a few for each op.
_FORMS: dict[tuple[str, tuple[bool, ...]], _Form] = {}


def _form(spec: Spec, absent: tuple[bool, ...]) -> _Form:
    text, parts = f'{{"op":"{spec.op}"', []
    for i in spec.head:
        field = spec.fields[i]
        if absent[i]:
            continue
        pattern, write = WRITTEN.get(field.check, ("%s", _as_json))
        if field.nullable and field.required:
            pattern, write = "%s", _as_json  # it may be null
        text += f',"{field.name}":{pattern}'
        parts.append((i, _as_objects if field.item else write))
    form = _FORMS[spec.op, absent] = _Form(text, parts)
    return form


def _as_json(value: Any) -> str:
    return dumps(value).decode()


def _as_objects(items: Sequence[Any]) -> str:
    return _as_json(list(map(_object, items)))


def _object(item: Any) -> dict[str, Any]:
    """An object within a message, without what is not there."""
    return {name: value for name, value in item._asdict().items() if value is not None}


PING = encode(Ping())
PONG = encode(Pong())


# --- a line as a message ---


def decode(line: bytes) -> Op:
    """One message, checked; a key that its type does not have is ignored.

    Raises ProtocolError for anything that is not a message of this protocol.
    """
    if line == PING:  # by far the most that an idle system reads
        return Ping()
    if line == PONG:
        return Pong()
    message: Op = _decode(line, OPS)
    return message


def decode_record(line: bytes) -> Record:
    """A line of a journal. Raises ProtocolError."""
    record: Record = _decode(line, RECORDS)
    return record


def _decode(line: bytes, table: Mapping[str, Spec]) -> Any:
    found, is_flat = _cut_apart(line) if _CUT in line else (None, False)
    if found is None:
        found = _parsed(line)
    op = found.get("op")
    spec = table.get(op) if type(op) is str else None
    if spec is None:
        raise ProtocolError(PROTOCOL, "unknown op")
    values, seen = list(spec.absent), 0
    bodies = found.get("bodies") if spec.bodies is not None else None
    count = len(bodies) if type(bodies) is list else 0
    for name, value in found.items():
        if name not in spec.by_name:
            continue  # the op, and what another version may know
        i, check, required, nullable, column, item = spec.by_name[name]
        if not nullable or value is not None:
            if not check(value):
                raise ProtocolError(PROTOCOL, f"{op}: bad {name}")
            if column and len(value) != count and not (column.or_one and len(value) == 1):
                raise ProtocolError(PROTOCOL, f"{op}: {name} is not one for each body")
            if item is not None:
                value = _items(item, value)
        values[i] = value
        seen += required
    if seen < spec.required:
        missing = next(f.name for f in spec.fields if f.required and f.name not in found)
        raise ProtocolError(PROTOCOL, f"{op}: {missing} is missing")
    message = tuple.__new__(spec.type, values)
    if spec.bodies is not None:
        if fault := message.fault():
            raise ProtocolError(PROTOCOL, f"{op}: {fault}")
        if spec.type is Put and message.origin is not None:
            _check_promise(message.bodies, is_flat)
    return message


def _items(kind: Any, values: list[dict[str, Any]]) -> list[Any]:
    names = kind._fields
    return [kind(**{k: v for k, v in each.items() if k in names}) for each in values]


def _check_promise(bodies: Sequence[bytes], is_flat: bool) -> None:
    """Bodies with a stamp went through a first manifold."""
    if max(map(len, bodies)) > MAX_BODY_BYTES:
        raise ProtocolError(PROTOCOL, f"put: a body with a stamp of over {MAX_BODY_BYTES} bytes")
    if not is_flat:
        try:
            for body in bodies:
                flat_object(body)
        except BadMessage as fault:
            raise ProtocolError(PROTOCOL, f"put: a body with a stamp: {fault.reason}") from None


def _cut_apart(line: bytes) -> tuple[dict[str, Any] | None, bool]:
    """A line in our own form: HEAD,"bodies":[BODY,<tab>BODY]} where HEAD} is an object.

    Also: is none of the bodies nested, to the eye? The message is None for `_parsed` if the line
    has another form.

    A quote inside a text is always escaped, so the first ,"bodies":[ is a key; if it is not one of
    the outermost object then HEAD} does not parse. If the pieces between tabs are plain, each is a
    body. If not (there may be braces in a text), each has to be JSON by itself.
    """
    head, cut, block = line.partition(_CUT)
    if not cut or block[-2:] != b"]}" or b"\n" in line:
        return None, False
    block = block[:-2]
    pieces = block.split(BETWEEN)
    is_flat = is_plain(block, len(pieces))
    try:
        found = loads(head + b"}")
        if not is_flat:
            for piece in pieces:
                loads(piece, MAX_NESTING - 2)
    except BadMessage:
        return None, False
    if type(found) is not dict or "bodies" in found:
        return None, False
    found["bodies"] = pieces
    return found, is_flat


def _parsed(line: bytes) -> dict[str, Any]:
    """Any valid JSON object: bodies are encoded afresh."""
    try:
        found = loads(line.strip(b" \t\r\n"))
    except BadMessage as fault:
        raise ProtocolError(PROTOCOL, fault.reason) from None
    if type(found) is not dict:
        raise ProtocolError(PROTOCOL, "not a JSON object")
    if "body" in found:
        found["body"] = _encode_again(found["body"])
    if type(found.get("bodies")) is list:
        found["bodies"] = list(map(_encode_again, found["bodies"]))
    return found


def _encode_again(body: Any) -> bytes:
    try:
        return dumps(body)
    except BadMessage:
        pass
    # Half a surrogate pair has no encoding but its escape, in which form it came.
    return json.dumps(body).encode()
