"""Messages made from the types of the wire, for tests that need many: valid ones, and bad values.

What is new in `barker.wire.ops` is covered by being there. Values are chosen by the checks of the
fields, so none is written beside the types.
"""

import json
import random
from collections.abc import Callable
from typing import Any

from barker.wire import fields, protocol
from barker.wire.ops import OPS
from barker.wire.table import Field, Spec
from tests.tools.wireclient import Message, bark

ADDRESSES = [
    *("inbox/ark3", "outbox/ark3", "bizlogic", "inbox", "inbox/nobody", "x/y", "agent/x"),
    *("followers", "graph", "graph/ark3"),
]
BODIES: tuple[Any, ...] = (
    None,
    1,
    "x",
    [],
    {},
    {"kind": "follow", "id": "1", "user": "ark3", "at": 1, "whom": "rdl"},
    {"kind": "join", "id": "2", "user": [], "at": 1},
    {"kind": "graph", "more": False, "users": {"ark3": {"rdl": 1}, "rdl": []}},
    {"id": 1},
    {"user": [], "id": {}},
    {"user": "ark3", "id": "1", "at": -(10**300)},
    {"user": "ark3", "id": "1", "at": 1e300, "content": 5},
    {"user": "ark3", "id": "1", "kind": "follow", "whom": "nobody"},
    bark("ark3", "1"),
    bark("nobody", "1"),
    bark("ark3", ""),
    bark("ark3", "2", "x" * 281),
    bark("ark3", "3", "\ud83d half"),
    bark("ark3", "4", "@ark3 @" + "a" * 30 + " \u0000\u2028"),
    bark("ark3", "5", ',\t{"bodies":[{'),
)
# What may have a stamp: a first manifold lets nothing nested through.
FLAT = [
    body
    for body in BODIES
    if type(body) is dict and not any(type(value) in (dict, list) for value in body.values())
]
# Values for any field; its check says which of them are good.
POOL: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 5000, 65535, 65536, 2**53 - 1, 2**53),
    *(1.5, -0.0, 1e300, 10**400, "", "\x00", "\ud800", "a/b/c", "x" * 1000, "é", "because"),
    *("ab" * 8, "cd" * 32, "AB" * 8, "ab" * 33, "x", "inbox-1", "127.0.0.1", "nowhere.invalid"),
    *("consistent", "ordered", "client", "full", "moved", "what", *ADDRESSES),
    *([], [1], ["x/y"], ["x/y", "x/y"], ["a"] * 1001, ADDRESSES, [[]], [{}], {}, {"a": 1}, [None]),
    *([1, 2], [1, -1], [2, 1], [0, True], [["x/y"]], ["a/b/c"], ["a  b"], [" a"], ["a b a"]),
    *(["x/" + "y" * 90], [" ".join(["x"] * 501)], ["A"], ["ark3", 1], ["ark3 "], ["é"], ["a" * 65]),
    [{"name": "x", "host": "127.0.0.1", "port": 1, "since": 1}],
    [{"name": "x", "host": "127.0.0.1", "port": 1, "since": 1, "kind": []}] * 2,
)


def _to(dice: random.Random) -> str:
    return " ".join(dice.sample(ADDRESSES, dice.choice((1, 1, 3))))


# One value of a column, by the check of the whole.
_ONE: dict[Callable[[Any], bool], Callable[[random.Random], Any]] = {
    fields.is_to: _to,
    fields.is_counts: lambda dice: dice.choice((0, 1, 5000, protocol.MAX_COUNT)),
    fields.is_numbers: lambda dice: dice.choice((0, 1, 5000, protocol.MAX_NUMBER)),
    fields.is_users: lambda dice: dice.choice(("ark3", "a", "a_9" + "z" * 17)),
    fields.is_ids: lambda dice: dice.choice(("1", "A-b_9", "i" * 64)),
    fields.is_named: lambda dice: dice.choice(("", "", "rdl", "rdl ark3")),
    fields.is_traces: lambda dice: dice.choice(("", "", "a-trace")),
}


def good(field: Field, dice: random.Random, count: int = 1, *, flat: bool = False) -> Any:
    """A value that the field may have, for so many bodies."""
    if field.check is fields.is_raw:  # anything is a body
        return dice.choice(BODIES)
    if field.check is fields.is_raws:
        return dice.choices(FLAT if flat else BODIES, k=count)
    if field.check is fields.is_places:
        return sorted(dice.sample(range(count), dice.randint(1, count)))
    if field.column:
        make = _ONE[field.check]
        if field.column.or_one and dice.random() < 0.4:
            return [make(dice)]
        return [make(dice) for _ in range(count)]
    values = [v for v in POOL if field.check(v)] + [None] * field.nullable
    return dice.choice(values)


def bad(field: Field, dice: random.Random) -> Any:
    """A value that it must not have; none that is checked as bytes."""
    if field.check is fields.is_raws:
        return dice.choice(([], None, 1, "x", {}))
    return dice.choice(
        [v for v in POOL if not field.check(v) and not (v is None and field.nullable)]
    )


def message(op: str, dice: random.Random) -> Message:
    """One of that op, as its type allows."""
    spec = OPS[op]
    count, stamped = dice.randint(1, 3), dice.random() < 0.5
    said: Message = {"op": op}
    for field in spec.written:
        if is_stamp(spec, field) and not stamped:
            continue
        if field.required or dice.random() < 0.7 or must_be_there(spec, field):
            value = good(field, dice, count, flat=stamped)
            if value is None and must_be_there(spec, field):
                value = next(v for v in POOL if field.check(v))
            said[field.name] = value
    return said


def is_stamp(spec: Spec, field: Field) -> bool:
    """Of a put: what is there with a stamp, and not without."""
    return spec.op == "put" and not field.required and field.name != "trace"


def must_be_there(spec: Spec, field: Field) -> bool:
    """Of a put with a stamp: what belongs to every stamp."""
    return is_stamp(spec, field) and field.name not in ("old", "named")


def line(said: Message) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()
