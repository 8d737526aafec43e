"""Strict JSON: rejects what Python's own module lets pass and a protocol must not.

Left out of JSON, as RFC 8259 has it, are NaN and the infinities (the module reads and writes them),
numbers too large for a float, white space around a value, and nesting that is too deep for the next
reader. A duplicate key is allowed where the last one counts, and not in a body.

A body has one *canonical* form: compact, in UTF-8, with the escapes that JSON requires and no
others, with integers and no other numbers, its keys in its author's order. The encoders of browsers
write it. The first hop makes every body canonical, and all later hops forward the bytes. So its
size never changes again, and a comma and a tab never stand in it.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from barker.wire.protocol import BAD_MESSAGE, MAX_COUNT, MAX_NESTING, BadMessage


def _no_constants(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is beyond all numbers that others can read")
    return value


# raw_decode() and encode() of objects made once: json.loads() would guess an encoding by the first
# bytes of every line, and that guess takes half of a line's parsing time.
_decode_json = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constants).raw_decode
_encode_json = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def dumps(value: Any) -> bytes:
    """As compact UTF-8 JSON. Raises BadMessage for lone surrogates, which have no encoding."""
    try:
        return _encode_json(value).encode()
    except (ValueError, TypeError) as fault:
        raise BadMessage(BAD_MESSAGE, f"not encodable: {fault}") from None


def loads(
    data: bytes,
    most: int = MAX_NESTING,
    decode: Callable[[str], tuple[Any, int]] = _decode_json,
) -> Any:
    """Decode exactly one JSON value, in which no more than `most` are in one another.

    Raises BadMessage, also for NaN.
    """
    if data.count(b"[") + data.count(b"{") > most and not is_shallow(data, most):
        raise BadMessage(BAD_MESSAGE, f"more than {most} objects and lists in one another")
    return parse(data, decode)


def parse(data: bytes, decode: Callable[[str], tuple[Any, int]] = _decode_json) -> Any:
    """The same for data that is known to be shallow."""
    try:
        text = data.decode()
        value, end = decode(text)
    except (ValueError, StopIteration):
        raise BadMessage(BAD_MESSAGE, "not JSON in UTF-8") from None
    if end != len(text):
        raise BadMessage(BAD_MESSAGE, "something follows the JSON value")
    return value


def is_shallow(data: bytes, most: int) -> bool:
    """Are no more than `most` in one another? Counted without a parser, which might overflow.

    Other characters go: texts first, for they may have brackets, and before those the escaped
    quotes. Then each round removes the innermost brackets.
    """
    quotes = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(quotes.split(b'"')[::2]).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(most):
        brackets = brackets.replace(b"[]", b"")
    return not brackets


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_BRACKETS = bytes.maketrans(b"{}", b"[]")


def _only_flat(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if not _NESTED.isdisjoint(map(type, dict(pairs).values())) or len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


_NESTED = frozenset({dict, list})
_decode_flat = json.JSONDecoder(
    parse_float=_finite, parse_constant=_no_constants, object_pairs_hook=_only_flat
).raw_decode


def flat_object(data: bytes) -> dict[str, Any]:
    """Decode an object without others in it, and with each key once. Raises BadMessage."""
    value = loads(data, decode=_decode_flat)
    if type(value) is not dict:
        raise BadMessage(BAD_MESSAGE, "not a JSON object")
    return value


# Between two bodies of a line. A tab in a text is always escaped, so a comma and a tab are in no
# body, and bodies can be cut apart there.
BETWEEN = b",\t"


_ONE_PLAIN = re.compile(rb"\{[^][{}]*\}").fullmatch


def is_plain(block: bytes, count: int) -> bool:
    """Do these look like `count` bodies with `BETWEEN` between them, and nothing nested in any?

    True if there are as many opening and as many closing braces as bodies, each around a body, and
    no brackets. A text may have braces; then this is False, and a parser has to decide.
    """
    if count == 1:  # one body, for which a reader waits: one look instead of five
        return _ONE_PLAIN(block) is not None
    return (
        block.count(b"{") == count == block.count(b"},\t{") + 1
        and block.count(b"}") == count
        and b"[" not in block
        and b"]" not in block
        and block[:1] == b"{"
        and block[-1:] == b"}"
    )


def objects(bodies: Sequence[bytes]) -> list[dict[str, Any] | None]:
    """The fields of each body; None for one that is no JSON object."""
    block = BETWEEN.join(bodies)
    if is_plain(block, len(bodies)):  # else one might be taken for two, and two for one
        try:
            values: list[dict[str, Any] | None] = parse(b"[%b]" % block)
            if len(values) == len(bodies):
                return values
        except BadMessage:
            pass
    return list(map(_object, bodies))


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = loads(body)
    except BadMessage:
        return None
    return value if type(value) is dict else None


def canonical(body: bytes, fields: dict[str, Any]) -> bytes:
    """The body in the form for all later hops; `fields` is its content.

    Raises BadMessage for a body without such a form: nested, with a duplicate key, with a number
    that is no integer or not exact everywhere. The result is never longer than `body`.
    """
    if _is_shortest(body, fields):
        return body
    try:
        flat_object(body)
    except BadMessage:
        raise BadMessage(BAD_MESSAGE, NOT_FLAT) from None
    for name, value in fields.items():
        if type(value) is float or (type(value) is int and abs(value) > MAX_COUNT):
            raise BadMessage(BAD_MESSAGE, f"{name[:20]}: numbers are integers up to 2^53 - 1")
    return dumps(fields)


def _is_shortest(body: bytes, fields: dict[str, Any]) -> bool:
    """Is it as short as text with these fields can be, and without any escape?

    Then it is canonical: every other way to write the same is longer. False for values that few
    bodies have.
    """
    if b"\\" in body:
        return False
    left = (len(body) if body.isascii() else len(body.decode())) - 1  # the first brace
    for name, value in fields.items():
        left -= len(name) + 4  # quotes, a colon, and a comma or the last brace
        if type(value) is str:
            left -= len(value) + 2
        elif type(value) is int and -MAX_COUNT <= value <= MAX_COUNT:
            left -= len(str(value))
        else:
            return False
    return not left


NOT_FLAT = "a body is a JSON object with each key once and nothing nested in it"


def is_flat(body: bytes, value: Any) -> bool:
    """Is `value`, the content of `body`, an object without others in it?

    A duplicate key makes it False, too: only its last value is in `value`, but all would be
    forwarded.
    """
    if type(value) is not dict:
        return False
    if body.count(b"{") == 1 and b"[" not in body:
        return True  # by far the most
    try:
        flat_object(body)
    except BadMessage:
        return False
    return True
