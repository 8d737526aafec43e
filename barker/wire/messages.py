"""Messages and lines: `encode` and `decode` are the only two ways between them.

On TCP a line is one message, ended by a newline. Left out: any negotiation. There is one version,
and a peer with another gets an error.

Rules that the rest of the system relies on:

* Bodies are the last field of a line, with a comma and a tab between them. A tab inside a text is
  always escaped; so they can be cut apart without a parser, and a hop forwards the bytes.
* There are two ways to read a line. One cuts bodies out and parses the rest. The other takes any
  valid JSON, in whatever order, and encodes the bodies again. That changes no canonical one
  (`barker.wire.strictjson`), and behind their first hop all are. Both ways read a line alike. Only
  the first reads a line with a body that is no JSON: no hop looks into that body before the first
  manifold, which refuses it, or a reader, which drops it.
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

# A line with many bodies ends here. So it is never too long for its reader, and the reader begins
# with the first ones while we still write the others.
MAX_GROUP_BYTES = 32 * 1024

_SPECS = {spec.type: spec for spec in (*OPS.values(), *RECORDS.values())}
_CUT = b',"bodies":['
_called: Any = operator.call


# --- a message as a line ---


def encode(message: Op | Record) -> bytes:
    """One message as bytes, without the newline."""
    spec = _SPECS[type(message)]
    if spec.type is Put:
        assert isinstance(message, Put)
        return put_line(message.seq, message.to, put_tail(message))
    return b'{"op":"%b"%b' % (spec.op.encode(), _fields_of(message, spec))


def put_line(seq: int, to: Sequence[str], tail: bytes) -> bytes:
    """The line of a put whose `put_tail` is known."""
    return b'{"op":"put","seq":%d,"to":["%b"]%b' % (seq, '","'.join(to).encode(), tail)


def put_tail(put: Put) -> bytes:
    """The part of a put's line behind `to`. It is the same at every hop, whatever its number."""
    return _fields_of(put, _TAIL)


def _fields_of(message: Op | Record, spec: Spec) -> bytes:
    """The rest of a line, from the comma before its first field on."""
    absent = tuple(map(operator.eq, message, spec.defaults))
    form = spec.forms.get(absent) or _form(spec, absent)
    head = (form.text % tuple(map(_called, form.writers, form.values(message)))).encode()
    if spec.bodies is not None and (bodies := message[spec.bodies]):
        return b"%b%b%b]}" % (head, _CUT, BETWEEN.join(bodies))  # type: ignore[arg-type]
    if spec.body is not None:
        return b'%b,"body":%b}' % (head, message[spec.body])  # type: ignore[str-format]
    return head + b"}"


class _Form(NamedTuple):
    """The beginning of messages of one type that lack the same fields.

    A text with gaps, the fields for the gaps, and how each of them is written.
    """

    text: str
    values: Callable[[Any], Sequence[Any]]
    writers: Sequence[Callable[[Any], str]]


def _form(spec: Spec, absent: tuple[bool, ...]) -> _Form:
    text, places = "", []
    writers: list[Callable[[Any], str]] = []
    for i in spec.head:
        field = spec.fields[i]
        if absent[i]:
            continue
        pattern, write = WRITTEN.get(field.check, ("%s", _as_json))
        if field.nullable and field.required:
            pattern, write = "%s", _as_json  # it may be null
        text += f',"{field.name}":{pattern}'
        places.append(i)
        writers.append(_as_objects if field.item else write)
    form = spec.forms[absent] = _Form(text, _getter(places), tuple(writers))
    return form


def _getter(places: Sequence[int]) -> Callable[[Any], Sequence[Any]]:
    """A function that returns these places of a sequence, as a sequence."""
    if len(places) > 1:
        return operator.itemgetter(*places)
    (place,) = places or (0,)
    return operator.itemgetter(slice(place, place + len(places)))


def _as_json(value: Any) -> str:
    return dumps(value).decode()


def _as_objects(items: Sequence[Any]) -> str:
    return _as_json(list(map(_object, items)))


def _object(item: Any) -> dict[str, Any]:
    """An object within a message, without absent fields."""
    return {name: value for name, value in item._asdict().items() if value is not None}


# A put's spec without the fields that each hop sets anew.
_TAIL = OPS["put"]._replace(head=OPS["put"].head[2:], forms={})

PING = encode(Ping())
PONG = encode(Pong())


# --- a line as a message ---


def decode(line: bytes) -> Op:
    """One message, checked; a key that its type does not have is ignored.

    Raises ProtocolError for anything that is not a message of this protocol.
    """
    if line == PING:  # an idle system reads hardly any other line
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
    found, is_flat = _cut_apart(line)
    if found is None:
        found = _parsed(line)
    op = found.get("op")
    spec = table.get(op) if type(op) is str else None
    if spec is None:
        raise ProtocolError(PROTOCOL, "unknown op")
    bodies = found.get("bodies") if spec.bodies is not None else None
    count = len(bodies) if type(bodies) is list else 0
    shape = spec.shapes.get((*found,))
    message = shape and _of_shape(shape, spec, found, count)
    if message is None:
        message = _checked(spec, found, count)
        if shape is None:
            _remember_shape(spec, found)
    if spec.bodies is not None and (fault := message.fault()):
        raise ProtocolError(PROTOCOL, f"{op}: {fault}")
    if spec.type is Put and message.origin is not None:
        _check_promise(message.bodies, is_flat)
    return message


class _Shape(NamedTuple):
    """Lines of one op with the same keys in the same order, as our own encoder writes them.

    For each key the check of its value; the columns that have a value for each body, and those that
    may have one for all; and the order of the fields in the message.
    """

    checks: Sequence[Callable[[Any], bool]]
    columns: Sequence[int]
    or_one: Sequence[int]
    arrange: Callable[[Any], Sequence[Any]]


# Remembered shapes of one op. We ourselves write fewer. Other lines take the longer way.
_MAX_SHAPES = 20


def _remember_shape(spec: Spec, found: dict[str, Any]) -> None:
    names = (*found,)
    if len(spec.shapes) >= _MAX_SHAPES or not spec.by_name.keys() >= {*names[1:]}:
        return
    if names[0] != "op" or any(field.item for field in spec.fields):
        return
    rows = [spec.by_name[name] for name in names[1:]]
    columns = [(at, row.column) for at, row in enumerate(rows, 1) if row.column]
    places = list(range(len(names), len(names) + len(spec.fields)))  # for absent fields
    for at, row in enumerate(rows, 1):
        places[row.place] = at
    spec.shapes[names] = _Shape(
        (bool, *(row.check for row in rows)),  # of the op: that it is there
        [at for at, column in columns if not column.or_one],
        [at for at, column in columns if column.or_one],
        _getter(places),
    )


def _of_shape(shape: _Shape, spec: Spec, found: dict[str, Any], count: int) -> Any:
    """The message, if it has no fault. None: `_checked` finds the fault."""
    values = (*found.values(), *spec.absent)
    if not all(map(_called, shape.checks, values)):
        return None
    for at in shape.columns:
        if len(values[at]) != count:
            return None
    for at in shape.or_one:
        if len(values[at]) != count and len(values[at]) != 1:
            return None
    return tuple.__new__(spec.type, shape.arrange(values))


def _checked(spec: Spec, found: dict[str, Any], count: int) -> Any:
    """The message. Raises ProtocolError, with the first fault."""
    values, seen = list(spec.absent), 0
    for name, value in found.items():
        if name not in spec.by_name:
            continue  # the op, or a key of another version
        i, check, required, nullable, column, item = spec.by_name[name]
        if not nullable or value is not None:
            if not check(value):
                raise ProtocolError(PROTOCOL, f"{spec.op}: bad {name}")
            if column and len(value) != count and not (column.or_one and len(value) == 1):
                raise ProtocolError(PROTOCOL, f"{spec.op}: {name} is not one for each body")
            if item is not None:
                value = _items(item, value)
        values[i] = value
        seen += required
    if seen < spec.required:
        missing = next(f.name for f in spec.fields if f.required and f.name not in found)
        raise ProtocolError(PROTOCOL, f"{spec.op}: {missing} is missing")
    return tuple.__new__(spec.type, values)


def _items(kind: Any, values: list[dict[str, Any]]) -> list[Any]:
    names = kind._fields
    return [kind(**{k: v for k, v in each.items() if k in names}) for each in values]


def _check_promise(bodies: Sequence[bytes], is_flat: bool) -> None:
    """Check bodies with a stamp: they have gone through a first manifold."""
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

    Returns also whether none of the bodies looks nested. The message is None for `_parsed` if the
    line has another form.

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
    """Any valid JSON object: bodies are encoded anew."""
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
    # Half a surrogate pair has no encoding but its escape, as which it came.
    return json.dumps(body).encode()
