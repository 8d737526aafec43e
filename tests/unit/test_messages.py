"""Messages and lines: what no type allows is refused; what is decoded is what was encoded; a line
that both ways of reading take means the same to both."""

import json
import random
import sys
import unittest
from typing import Any
from unittest import mock

from barker.wire import fields, messages, protocol, strictjson
from barker.wire.messages import PING, PONG, decode, decode_record, encode
from barker.wire.ops import OPS, Hello, Instance, Item, Message, Op, Ping, Pong, Put, Routes, Sample
from barker.wire.protocol import BadMessage, ProtocolError
from barker.wire.records import RECORDS, Segment, Serials, Settled
from tests.tools import generator, wireclient
from tests.tools.fleet import SLOW
from tests.tools.generator import bad, line, message

TARGET = {"name": "inbox-5820", "host": "127.0.0.1", "port": 5820, "since": 1}
NEVER: tuple[Any, ...] = (True, False, 0.0, 1.5, -1, 2**53, 10**400, {}, {"a": 1}, [1], [None])
BAD: tuple[Any, ...] = (None, True, -1, "", "\n", 2**53, [])
BAD_TARGETS = [
    *([{**TARGET, name: value}] for name in TARGET for value in BAD),
    *([{k: v for k, v in TARGET.items() if k != gone}] for gone in TARGET),
    [{**TARGET, "kind": None}],
]
MANY = [f"a/{i}" for i in range(protocol.MAX_ADDRESSES)]
COUNTS: tuple[Any, ...] = (
    None,
    1,
    "",
    [],
    [0, -1],
    [0, 2**53],
    [0, True],
    [0, 1.0],
    [0, None],
    ["0", "1"],
    [[0]],
)
STRINGS: tuple[Any, ...] = (None, 1, "a", [], ["a", None], ["a", 1], [["a"]], {"a": 1})
# By check: what it takes, to its limits, and what it must not take besides NEVER.
KINDS: dict[Any, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    fields.is_count: ((0, 1, 2**53 - 1), (None, "1", "", "\n", [])),
    fields.is_name: (
        ("a", "outbox-5800", "9._-", "x" * 64),
        (None, 1, "", "x" * 65, "-a", "a b", "a/b", "é", "a\n", "\ud800", []),
    ),
    fields.is_address: (
        ("inbox", "inbox/ark3", "a-9/Z._-", "a" * 20 + "/" + "b" * 64),
        (
            *(None, 1, "", "/", "inbox/", "/a", "inbox/a/b", "Inbox", "9", "a" * 21, "inbox/é"),
            *(f"inbox/{'b' * 65}", "inbox/a\n", "inbox/\ud800", [], ["inbox"], "a b"),
        ),
    ),
    fields.is_addresses: (
        (["inbox"], ["inbox/ark3", "inbox/rdl"], MANY),
        (
            *(None, 1, "inbox", [], ["a", "inbox/"], [["a"]], [""], ["a", "b", "a"], ["a b"]),
            [*MANY, "b"],
        ),
    ),
    fields.is_hex: (
        ("0123456789abcdef", "f" * 64),
        (None, 16, "", "0" * 15, "0" * 65, "F" * 16, "g" * 16, "0" * 16 + "\n", []),
    ),
    fields.is_host: (
        ("h", "::1", "bücher.example", "h" * 255),
        (None, 1, "", " ", "a b", "h" * 256, "a\nb", "\x7f", "\ud800", []),
    ),
    fields.is_port: ((1, 65535), (None, 0, 65536, "1", [])),
    fields.is_policy: (
        ("consistent", "ordered"),
        (None, 1, "", "Ordered", "ordered\n", ["ordered"], []),
    ),
    fields.is_role: (("client", "service"), (None, 1, "", "Client", "agent", "client\n", [])),
    fields.is_text: (("", "é" * 500, "a\nb"), (None, 1, "x" * 501, "a\ud800", [])),
    fields.is_prefix: (("", "inbox", "inbox/ark3"), (None, 1, "inbox/", "Inbox", [])),
    fields.is_true: ((True,), (None, 1, "true", "", [])),
    # Columns: what is good here is for two bodies.
    fields.is_to: (
        (["inbox"], ["a/b c", "inbox/ark3 inbox/rdl"], [" ".join(MANY), "a"]),
        (
            *STRINGS,
            *(["a "], [" a"], ["a  b"], [""], ["a", ""], ["a b a"], ["a", "inbox/"], ["a\tb"]),
            [" ".join([*MANY, "b"])],
        ),
    ),
    fields.is_counts: (([0, 2**53 - 1], [7, 7]), COUNTS),
    fields.is_numbers: (([0, 2**48], [7, 7]), (*COUNTS, [0, 2**48 + 1], [2**53 - 1, 0])),
    fields.is_users: (
        (["ark3", "a_9" + "z" * 17], ["a", "a"]),
        (*STRINGS, ["a", ""], ["a", "b" * 21], ["a", "A"], ["a", "9a"], ["a", "a\n"], ["a", "a b"]),
    ),
    fields.is_ids: (
        (["a", "b"], ["A_-9", "x" * 64]),
        (*STRINGS, ["a", ""], ["a", "b" * 65], ["a", "é"], ["a", "a b"], ["a", "a\n"], ["a", "٣"]),
    ),
    fields.is_named: (
        (["", "ark3 rdl"], ["a", "b"]),
        (*STRINGS, ["a", "A"], ["a", "b" * 21], ["a", "a\tb"], ["a", "9"]),
    ),
    fields.is_traces: (
        (["", "A_-9"], ["x" * 64, "a"]),
        (*STRINGS, ["a", "b" * 65], ["a", "é"], ["a", "a b"], ["a", "a\n"]),
    ),
    fields.is_places: (([0], [1], [0, 1]), (*COUNTS, [1, 0], [0, 0], [2], [0, 1, 2])),
    fields.is_raws: (([{}, {"a": 1}], [{"x": ',\t{"bodies":['}, {"id": "x"}]), (None, 1, "", [])),
    fields.is_raw: ((None, True, 0, -1.5, "", "é", ',"body":', [], {}, {"body": {"a": 1}}), ()),
}
TARGETS: tuple[tuple[Any, ...], tuple[Any, ...]] = (
    ([], [TARGET], [TARGET, {**TARGET, "kind": "inbox"}]),
    (None, 1, "", TARGET, [TARGET, 1], [{}], [[TARGET]], *BAD_TARGETS),
)
# The protocol, written a second time: `?` may be absent, `~` may be null.
TABLE = {
    "hello": "v role nonce",
    "proof": "mac name epoch?~",
    "register": "address name host port policy kind since",
    "unregister": "address name",
    "watch": "prefix",
    "routes": "address policy targets",
    "resolve": "address",
    "target": "address name~ host~ port~",
    "put": "seq to origin?~ old? n?~ users?~ ids?~ at?~ named?~ trace?~ bodies",
    "ack": "seq",
    "refuse": "seq code reason addresses",
    "subscribe": "address epoch?~ after? history?~ window?~",
    "subscribed": "address epoch serial last history retained?~",
    "unreadable": "address code reason",
    "message": "to late? trace?~ bodies",
    "credit": "address serial",
    "moved": "address",
    "gap": "address missed",
    "ping": "",
    "pong": "",
    "sample": "body",
    "error": "code reason",
}
EPOCH = "0123456789abcdef"
STAMP: dict[str, Any] = {"origin": EPOCH, "n": [3, 1], "users": ["a", "b"], "ids": ["x", "y"]}
STAMP |= {"at": [5, 6]}
HEAD = b'{"op":"put","seq":1,"to":["inbox/ark3"],"bodies":['


def kinds(check: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return KINDS.get(check, TARGETS)


def sample(op: str) -> dict[str, Any]:
    """A message with every field that the op may have, for two bodies."""
    return {"op": op, **{f.name: kinds(f.check)[0][-1] for f in OPS[op].written}}


def spellings(said: dict[str, Any]) -> list[bytes]:
    """The message as JSON in several ways: canonical, with spaces, as escapes, the bodies first."""
    return [
        *([canonical(said)] if type(said.get("bodies")) is list else []),
        json.dumps(said, separators=(",", ":")).encode(),
        json.dumps(said).encode(),
        json.dumps(said, indent=1).replace("\n", "\r").encode(),
        json.dumps(dict(sorted(said.items()))).encode(),
    ]


def canonical(said: dict[str, Any]) -> bytes:
    """In our own form. Half of a surrogate pair, which a bad value may have, goes as it is."""
    compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    head = {name: value for name, value in said.items() if name != "bodies"}
    bodies = ",\t".join(map(compact, said["bodies"]))
    return f'{compact(head)[:-1]},"bodies":[{bodies}]}}'.encode(errors="surrogatepass")


def meaning(decoded: Op) -> dict[str, Any]:
    """A message as the JSON that it means, with bodies as what they mean."""
    spec = OPS[type(decoded).__name__.lower()]
    said: dict[str, Any] = {"op": spec.op}
    for field in spec.written:
        value = getattr(decoded, field.name)
        if field.check in (fields.is_raws, fields.is_raw):
            raws = [value] if field.check is fields.is_raw else value
            assert not any(b"\n" in raw for raw in raws)
            value = [json.loads(raw) for raw in raws]
            value = value[0] if field.check is fields.is_raw else value
        elif field.item:
            value = [{k: v for k, v in i._asdict().items() if v is not None} for i in value]
        if field.required or value != field.default:
            said[field.name] = value
    return said


def wanted(said: dict[str, Any]) -> dict[str, Any]:
    """What JSON says, without what the type does not have, and what is null for absent."""
    spec = OPS[said["op"]]
    known = {f.name: f for f in spec.fields}
    return {"op": said["op"]} | {
        name: value
        for name, value in said.items()
        if name in known and (known[name].required or value not in (None, known[name].default))
    }


class WireCase(unittest.TestCase):
    def assertDecodes(self, data: bytes, expected: dict[str, Any]) -> None:
        self.assertEqual(meaning(decode(data)), wanted(expected), data)

    def assertRefused(self, data: bytes) -> None:
        with self.assertRaises(ProtocolError, msg=data[:200]) as caught:
            decode(data)
        self.assertEqual(caught.exception.code, protocol.PROTOCOL)

    def assertSameBothWays(self, data: bytes) -> bool:
        """Is it taken, and if by both ways, as the same, which is what JSON says?

        If a body is no JSON, one way looks into it and the other one does not.
        """
        ways: list[Op | None] = []
        for without in ("", "_cut_apart"):
            broken = mock.patch.object(messages, without or "_", lambda data: (None, False))
            with broken if without else mock.MagicMock():
                try:
                    ways.append(decode(data))
                except ProtocolError:
                    ways.append(None)
        first, second = ways
        if first is not None:
            bodies = getattr(first, "bodies", ())
            if second is None:
                self.assertFalse(all(map(is_json, bodies)), data)
                return True
            self.assertEqual(meaning(first), meaning(second), data)
            reference = json.loads(data.decode(), parse_constant=lambda name: self.fail(name))
            self.assertEqual(meaning(first), wanted(reference), data)
            if isinstance(first, Put) and first.origin:
                for body in bodies:  # a key may be there twice: no hop but the first looks for that
                    values = [value for _, value in json.loads(body, object_pairs_hook=tuple)]
                    self.assertFalse({tuple, list} & {*map(type, values)}, data)
        else:
            self.assertIsNone(second, data)
        return first is not None


def is_json(body: bytes) -> bool:
    try:
        strictjson.loads(body)
    except BadMessage:
        return False
    return True


class DecodeTest(WireCase):
    def test_the_types_are_this_table(self) -> None:
        def mark(field: Any) -> str:
            return str(field.name + "?" * (not field.required) + "~" * field.nullable)

        ours = {op: " ".join(map(mark, spec.written)) for op, spec in OPS.items()}
        self.assertEqual(ours, TABLE)

    def test_every_type_has_a_docstring_and_stays_as_it_is(self) -> None:
        for spec in (*OPS.values(), *RECORDS.values()):
            self.assertGreater(len(spec.type.__doc__), 20, spec.op)
            self.assertNotIn("Alias for", spec.type.__doc__)
        with self.assertRaises(AttributeError):
            Put(1, ["a"], [b"{}"]).seq = 2  # type: ignore[misc]

    def test_bodies_are_the_last_field_of_every_op_that_has_them(self) -> None:
        for text in TABLE.values():
            self.assertTrue({"body", "bodies"}.isdisjoint(text.split(" ")[:-1]))

    def test_every_good_value_of_every_field_is_taken_in_every_spelling(self) -> None:
        for op, spec in OPS.items():
            for field in spec.fields:
                for value in (*kinds(field.check)[0], *([None] if field.nullable else [])):
                    said = {**sample(op), field.name: value}
                    for data in spellings(said):
                        if op == "put" and value is None:
                            # A stamp is whole, or is not there.
                            whole = field.name in ("named", "trace")
                            (self.assertDecodes if whole else self.half)(data, said)
                        else:
                            self.assertDecodes(data, said)

    def half(self, data: bytes, said: dict[str, Any]) -> None:
        self.assertRefused(data)

    def test_what_came_in_this_shape_before_does_not_make_the_next_line_good(self) -> None:
        line_of = b'{"op":"message","to":["a"],"late":[%d],"bodies":[{},\t{}]}'
        for _ in range(2):
            decode(line_of % 1)
            self.assertRefused(line_of % 2)

    def test_every_bad_value_of_every_field_is_refused(self) -> None:
        for op, spec in OPS.items():
            for field in spec.fields:
                goods, bads = kinds(field.check)
                for value in (*bads, *(NEVER if bads else ())):
                    if repr(value) in map(repr, goods) or (value is None and field.nullable):
                        continue
                    for data in spellings({**sample(op), field.name: value}):
                        self.assertRefused(data)

    def test_only_optional_fields_may_be_missing(self) -> None:
        for op, spec in OPS.items():
            for field in spec.fields:
                said = sample(op)
                del said[field.name]
                optional = op != "put" or field.name in ("old", "named", "trace")
                whole = not field.required and optional
                for data in spellings(said):
                    self.assertDecodes(data, said) if whole else self.assertRefused(data)

    def test_a_stamp_is_whole_or_is_not_there(self) -> None:
        put = {"op": "put", "seq": 1, "to": ["a"], "bodies": [{}, {}]}
        for data in spellings({**put, **STAMP}):
            self.assertDecodes(data, {**put, **STAMP})
        for some in ({k: v for k, v in STAMP.items() if k != gone} for gone in STAMP):
            for data in spellings({**put, **some}):
                self.assertRefused(data)
        for more in ({"old": True}, {"named": ["", ""]}):
            for data in spellings({**put, **more}):
                self.assertRefused(data)

    def test_a_column_has_a_value_for_each_body(self) -> None:
        put = {"op": "put", "seq": 1, "to": ["a"], "bodies": [{}, {}], **STAMP}
        for name in ("to", *list(STAMP)[1:]):
            for count in (1, 3):
                said = {**put, name: (put[name] * 3)[:count]}
                for data in spellings(said):
                    (self.assertDecodes if (name, count) == ("to", 1) else self.half)(data, said)

    def test_an_op_is_one_of_the_table(self) -> None:
        for op in ("", "PING", "put s", "puts", None, 1, True, ["ping"], {"ping": 1}, *RECORDS):
            if op != "put":
                self.assertRefused(json.dumps({"op": op}).encode())
        self.assertRefused(b"{}")
        self.assertRefused(encode(Settled("bizlogic", 1)))

    def test_fields_that_the_type_does_not_have_are_ignored(self) -> None:
        self.assertEqual(decode(b'{"op":"ping","more":[1.5,{"body":null}],"bodies":1}'), Ping())
        self.assertEqual(decode(b'{"op":"ping","bodies":[{},\t{}]}'), Ping())

    def test_what_is_not_a_json_object_in_utf_8_is_refused(self) -> None:
        for data in (
            b"", b" ", b"null", b"1", b'"ping"', b"[]", b'[{"op":"ping"}]', b"GET / HTTP/1.1",
            b'{"op":"ping"', b'{"op":"ping"}}', b'{"op":"ping"}{}', b'{"op":"ping"} x', b"{'op':1}",
            b'{"op":"ping",}', b'{,"op":"ping"}', b'{"op":"ping" "x":1}', b'{op:"ping"}',
            b'{"op":"ping"}\x00', b'\xef\xbb\xbf{"op":"ping"}', b'{"op":"ping","x":"\xff"}',
            b'{"op":"ping","x":"\xed\xa0\x80"}', '{"op":"ping"}'.encode("utf-16"),
            b'{"op":"ping","x":"a\tb"}', b'{"op":"ping","x":01}', b'{"op":"ping","x":"\\x41"}',
        ):  # fmt: skip
            self.assertRefused(data)

    def test_nan_and_infinity_are_not_json(self) -> None:
        for constant in (b"NaN", b"Infinity", b"-Infinity"):
            self.assertRefused(b'{"op":"ping","x":%b}' % constant)
            self.assertRefused(b'{"op":"sample", "body":%b}' % constant)
            self.assertRefused(b'{"op":"ack","seq":%b}' % constant)

    def test_numbers_that_are_no_counts_are_refused_however_they_are_written(self) -> None:
        for number in (b"1.0", b"1e3", b"-0.0", b"1e999", b"-1e999", b"9" * 5000, b"9" * 60_000):
            self.assertRefused(b'{"op":"ack","seq":%b}' % number)

    def test_what_is_in_one_another_is_as_deep_as_it_may_be_and_no_deeper(self) -> None:
        absurd = (900, 1000, 1500, 9999, 10_000, 30_000)
        for depth in (*range(1, protocol.MAX_NESTING + 3), *absurd):
            for left, right in ((b"[", b"]"), (b'{"a":', b"}"), (b'{"]":', b"}"), (b'["[",', b"]")):
                inner = left * depth + b"1" + right * depth
                for data, room in (
                    (b'{"op":"ping","x":%b}' % inner, 1),  # the message is the outermost
                    (b'{"op":"sample", "body":%b}' % inner, 1),
                    (b'{"op":"message","to":["a"],"bodies":[{"a":%b}]}' % inner, 3),
                    (b'{"op":"message","to":["a"],"bodies": [{"a":%b}]}' % inner, 3),
                ):
                    if depth + room <= protocol.MAX_NESTING:
                        decode(data)
                    else:
                        self.assertRefused(data)
                self.assertRefused(left * depth)

    def test_how_deep_it_is_is_told_right_whatever_is_in_the_texts(self) -> None:
        def depth(value: Any) -> int:
            if type(value) not in (list, dict):
                return 0
            return 1 + max(map(depth, value.values() if type(value) is dict else value), default=0)

        def value(left: int) -> Any:
            kind = dice.random() if left else 1.0
            if kind < 0.4:
                return [value(left - 1) for _ in range(dice.randrange(4))]
            if kind < 0.8:
                return {text(): value(left - 1) for _ in range(dice.randrange(4))}
            return text()

        def text() -> str:
            return "".join(dice.choices('[]{}"\\,:aé', k=dice.randrange(8)))

        dice = random.Random(11)
        for _ in range(3000):
            whole = value(6)
            data, deep = strictjson.dumps(whole), depth(whole)
            for most in range(max(0, deep - 1), deep + 2):
                self.assertIs(strictjson.is_shallow(data, most), most >= deep, data)

    def test_only_json_s_own_whitespace_may_surround_a_line(self) -> None:
        for blank in (b" ", b"\t", b"\r", b"\r\r  \t"):
            self.assertEqual(decode(blank + b'{"op":"ping"}' + blank), Ping())
        for blank in (b"\x0b", b"\x0c", "\xa0".encode()):
            self.assertRefused(blank + b'{"op":"ping"}')
            self.assertRefused(b'{"op":"ping"}' + blank)

    def test_the_last_of_two_equal_keys_counts_as_in_json(self) -> None:
        for data in (
            b'{"op":"pong","op":"ping"}',
            b'{"op":"sample","body":1,"x":2,"op":"ping"}',
            b'{"body":1,"op":"sample","body":2}',
            b'{"op":"sample","\\u0062ody":1,"body":2}',
            HEAD + b'{}],"bodies":[{"a":1}]}',
            b'{"op":"put","seq":1,"to":["a"],"\\u0062odies":1,"bodies":[{}]}',
        ):
            self.assertDecodes(data, json.loads(data))


class TwoWaysTest(WireCase):
    """Bodies are cut out of a line only if that says what the line says."""

    def test_bodies_pass_as_the_bytes_they_came_in(self) -> None:
        bodies = [b'{"a": 1.50,"b":"\\u00e9"}', b"{ }", '{"é":"\\t, \\n"}'.encode(), b'{"[":"{"}']
        for some in (bodies[:3], bodies[:1], bodies):
            put = decode(HEAD + b",\t".join(some) + b"]}")
            assert isinstance(put, Put)
            self.assertEqual(put.bodies, some)
        # A tab of its own is one too many; then the bytes are others, and mean the same.
        self.assertSameBothWays(HEAD + b'{"a":1,\t"b":2},\t{}]}')

    def test_a_body_has_no_newline_because_the_next_hop_puts_it_in_a_line(self) -> None:
        for data in (HEAD + b'{"a":\n1}]}', HEAD + b'{"a":1}\n]}', HEAD + b'{"a":1},\n{}]}'):
            put = decode(data)
            assert isinstance(put, Put)
            self.assertNotIn(b"\n", b"".join(put.bodies))

    def test_any_other_form_means_the_same(self) -> None:
        for between in (b",", b", ", b",\t ", b"\t,", b" ,\t", b",\r", b",\n", b",\t\t"):
            for start, end in ((b"", b"]}"), (b" ", b"]}"), (b"\t", b" ]}"), (b"", b"] }")):
                bodies = between.join([b'{"a":1}', b'{"b":",\\t{"}', b"{}"])
                data = HEAD + start + bodies + end
                self.assertDecodes(data, json.loads(data))

    def test_the_cut_is_in_the_outermost_object_and_there_once(self) -> None:
        rest = b'"seq":1,"to":["a"],"bodies":[{"good":1}]}'
        for data in (
            b'{"op":"put","x":{"a":1,"bodies":[{"evil":1}]},' + rest,
            b'{"op":"put","x":[{"a":1,"bodies":[{"evil":1}]}],' + rest,
            b'{"op":"put","x":{"a":{"a":1,"bodies":[{"evil":1}]}},' + rest,
            b'{"op":"put","x":1,"bodies":[{"evil":1}],' + rest,
            b'{"op":"put","bodies" :[{"evil":1}],' + rest,
            b'{"op":"put","\\u0062odies":[{"evil":1}],' + rest,
            b'{"op":"put","bodies" :[{"good":1}],"seq":1,"to":["a"],'
            b'"x":[{"a":1,"bodies":[{"evil":1}]}]}',
            b'{"op":"put","seq":1,"to":["a"],"x":[{"a":1,"bodies":[{"evil":1}]}]}',
            b'{"op":"put","x":[{"a":1,"bodies":[{}]}]}',
            b'{"op":"put","x":",\\"bodies\\":[{",' + rest,
            b'{"op":"put",' + rest[:-1] + b',"x":[{}]}',
            b'{"op":"put",' + rest[:-1] + b',"y":"}]}',
            b'{"op":"put",' + rest[:-1] + b',"y":{"k":"}]}',
            b'{"op":"ping","op":"put",' + rest,
            b'{"op":"put",' + rest[:-1] + b',"op":"ping"}',
        ):
            self.assertSameBothWays(data)

    def test_no_tab_and_no_bracket_misaligns_the_pieces(self) -> None:
        for bodies in (
            # Two at once without a tab, and one that is cut in the middle: the numbers are right.
            b'{"k":[{"x":1},\t{"y":2}],"k":1},{"z":3}',
            b'{"z":3},{"k":[{"x":1},\t{"y":2}],"k":1}',
            b'{"k":[{},\t{}]},{"z":3}',
            b'{"k":{"x":1,\t"y":2},"k":1},{"z":3}',
            b'{"a":1,\t"b":2},{"c":3}',
            b'{"a":1,\t"b":"{"},{"c":3}',
            b'{"a":"},\t{"},{"c":3}',  # a raw tab in a text is no JSON
            b'{"a":"\t"},\t{"c":3}',
            b'{"a":1},\t{"b":2},\t',
            b',\t{"a":1}',
            b'{"a":1},\t,\t{"b":2}',
            b'{"a":1}],\t[{"b":2}',
            b'{"a":1}],"x":[{"b":2},\t{"c":3}',
            b'{"a":1},\t2',
            b'{"a":1},2,\t{"b":1},{"c":1}',
            b'[],\t{"b":2}',
            b"1,\t2",
            b"[1,\t2]",
            b'{"a":1},\t\t{"b":2}',
            b'{"a":1} ,\t{"b":2} ',
            b'{"a":{},"a":1},\t{"b":2}',
            b'{"a":"[{"},\t{"b":"}]"}',
            b'{"a":1}},\t{{"b":2}',
            b'{"a":"},{","b":1}',
            b'{"a":1},\t{"b":2}]}\n{"op":"put","seq":3,"to":["a"],"bodies":[{"c":3}',
        ):
            self.assertSameBothWays(HEAD + bodies + b"]}")
            self.assertSameBothWays(b'{"op":"message","to":["a"],"bodies":[' + bodies + b"]}")

    def test_what_is_nested_or_too_large_is_the_body_s_fault_without_a_stamp_only(self) -> None:
        large = {"a": "x" * protocol.MAX_BODY_BYTES}
        twice = b'{"id":"x","y":[[1]],"y":1}'
        for body in (*map(strictjson.dumps, ({"a": {}}, {"a": [1]}, [1], None, large)), twice):
            plain = b'{"op":"put","seq":1,"to":["a"],"bodies":[%b]}' % body
            decode(plain)
            for form in (body, b" " + body):
                stamp = json.dumps(
                    {name: value[:1] for name, value in STAMP.items()} | {"origin": EPOCH}
                )
                data = b'{"op":"put","seq":1,"to":["a"],%b,"bodies":[%b]}' % (
                    stamp[1:-1].encode(),
                    form,
                )
                if body is twice and form is not body:
                    continue  # read as any JSON, it is one without the first of the two
                self.assertRefused(data)

    def test_mutated_lines_are_the_same_both_ways(self) -> None:
        dice = random.Random(2)
        splinters = (
            b',"bodies":[', b'"bodies":', b"bodies", b'"', b"\\", b"{", b"}", b"[", b"]", b",",
            b":", b" ", b'"op":"ping"', b"NaN", b"1e5", b"\xff", b"\xc3\xa9", b"\r", b"\x0b",
            b"\\u0062", b"null", b"-", b"0", b'},"x":{', b'],"x":[', b'","', b',"bodies":[{}]',
            b"\t", b",\t", b",\t{", b"},\t{", b"]}", b'{"op":"put",', b'"n":[1],', b'"to":["a"],',
            b"{},", b'"old":true,',
        )  # fmt: skip
        taken, rounds = 0, 25_000 if SLOW else 8_000
        for _ in range(rounds):
            said = message(dice.choice([*OPS, "put", "put", "message"]), dice)
            data = dice.choice(spellings(said))[:2000]
            for _ in range(dice.randint(0, 3)):
                i, j = sorted(dice.choices(range(len(data) + 1), k=2))
                match dice.randrange(4):
                    case 0:
                        data = data[:i] + data[min(j, i + 3) :]
                    case 1:
                        data = data[:i] + data[i:j] + data[i:]
                    case 2:
                        data = data[:i] + dice.choice(splinters) + data[i:]
                    case _:
                        data = data[:i] + dice.choice(splinters) + data[min(j, i + 8) :]
            taken += self.assertSameBothWays(data)
        self.assertGreater(taken, rounds // 10)

    def test_random_bodies_with_random_white_space_are_the_same_both_ways(self) -> None:
        dice = random.Random(7)
        texts = ("", "a", ",\\t{", "\\t", "{", "}", "[", "]", ",", '\\"', ',\\"bodies\\":[', "é")

        def blank(odds: float) -> str:
            return dice.choice((" ", "\t", "\r", "\t\t")) if dice.random() < odds else ""

        def value(depth: int) -> str:
            roll = dice.random()
            if depth < 3 and roll < nested:
                return body(depth + 1)
            if depth < 3 and roll < 2 * nested:
                some = [blank(spaced) + value(depth + 1) for _ in range(dice.randrange(3))]
                return "[" + dice.choice((",", ",\t")).join(some) + "]"
            return dice.choice((f'"{dice.choice(texts)}"', "1.50", "null", "-0", "1e2"))

        def body(depth: int = 0) -> str:
            pairs = []
            for _ in range(dice.randrange(4)):
                name = dice.choice(("a", "b", dice.choice(texts)))
                pairs.append(
                    f'{blank(spaced)}"{name}"{blank(spaced)}:{blank(spaced)}{value(depth)}'
                )
            return "{" + dice.choice((",", ",", ",\t")).join(pairs) + blank(spaced) + "}"

        taken, rounds = 0, 6000 if SLOW else 2000
        for _ in range(rounds):
            nested, spaced = dice.choice((0.0, 0.0, 0.2)), dice.choice((0.0, 0.0, 0.2))
            bodies = [body() for _ in range(dice.randint(1, 4))]
            text = bodies[0]
            for more in bodies[1:]:
                text += dice.choice((",\t", ",\t", ",\t", ",", ", ", ",\t ", " ,\t", "\t,")) + more
            x = dice.choice(("", "", f'"x":{value(0)},', f'"x":{{"a":1,"bodies":[{body()}]}},'))
            head = f'{{"op":"message",{x}"to":["a"]'
            taken += self.assertSameBothWays(f'{head},"bodies":[{text}]}}'.encode())
        self.assertGreater(taken, rounds // 3)


class EncodeTest(unittest.TestCase):
    def test_every_message_that_a_type_allows_survives_as_itself_and_fits_its_reader(self) -> None:
        """What one hop passes on the next one accepts: the same message, the same bytes."""
        dice = random.Random(5)
        for _ in range(4000 if SLOW else 1500):
            op = dice.choice([*OPS, "put", "message"])
            decoded = decode(line(message(op, dice)))
            data = encode(decoded)
            self.assertEqual(decode(data), decoded)
            self.assertEqual(encode(decode(data)), data)

    def test_what_a_hop_makes_of_a_put_the_next_one_takes(self) -> None:
        dice = random.Random(6)
        for _ in range(2000 if SLOW else 500):
            put = decode(line(message("put", dice)))
            assert isinstance(put, Put)
            items = list(put.items())
            self.assertEqual(len(items), len(put.bodies))
            again = Put.of(put.seq, list(put.entries()), items)
            self.assertEqual(list(again.items()), items)
            self.assertEqual(list(again.entries()), list(put.entries()))
            self.assertEqual(list(decode(encode(again)).items()), items)  # type: ignore[union-attr]

    def test_the_generator_makes_all_there_is_and_its_bad_values_are_bad(self) -> None:
        dice = random.Random(8)
        seen: set[tuple[str, str]] = set()
        for op, spec in OPS.items():
            for _ in range(60):
                said = message(op, dice)
                seen |= {(op, name) for name in said}
                decode(line(said))
            for field in spec.fields:
                if field.check is not fields.is_raw:
                    self.assertFalse(field.check(bad(field, dice)), field)
        self.assertEqual({(op, f.name) for op, s in OPS.items() for f in s.fields} - seen, set())
        self.assertTrue(generator.FLAT)

    def test_text_stays_text_and_nothing_is_wasted_on_spaces(self) -> None:
        self.assertEqual(encode(Sample(b"{ }")), b'{"op":"sample","body":{ }}')
        self.assertEqual(
            encode(Hello(1, "client", EPOCH)),
            b'{"op":"hello","v":1,"role":"client","nonce":"%b"}' % EPOCH.encode(),
        )
        put = Put.of(7, ["a b", "c"], [Item(b'{"x":"\xc3\xa9"}'), Item(b"{}")])
        line_ = b'{"op":"put","seq":7,"to":["a b","c"],"bodies":[{"x":"\xc3\xa9"},\t{}]}'
        self.assertEqual(encode(put), line_)
        routes = Routes("a", "ordered", [Instance("x", "h", 1, 2), Instance("y", "h", 1, 2, "k")])
        self.assertEqual(decode(encode(routes)), routes)
        self.assertEqual((decode(PING), decode(PONG)), (Ping(), Pong()))

    def test_what_comes_behind_the_number_and_the_addresses_is_the_same_at_every_hop(self) -> None:
        items = [Item(b"{}", EPOCH, n, "ark3", f"i{n}", 5, "rdl" * (n == 2)) for n in (1, 2, 3)]
        one, two = (
            encode(Put.of(seq, to, items)) for seq, to in ((1, ["x"] * 3), (9, ["a b"] * 3))
        )
        cut = b',"origin":'
        self.assertEqual(one.partition(cut)[2], two.partition(cut)[2])
        self.assertTrue(one.startswith(b'{"op":"put","seq":1,"to":["x"],"origin"'))

    def test_late_is_a_column_and_no_reason_for_another_line(self) -> None:
        message_ = Message(["a", "b"], [b"{}", b"{}"], [1])
        data = encode(message_)
        self.assertEqual(data, b'{"op":"message","to":["a","b"],"late":[1],"bodies":[{},\t{}]}')
        self.assertEqual(decode(data), message_)

    def test_records_survive_a_journal(self) -> None:
        for record in (
            Segment(EPOCH, 5, 4, highest={EPOCH: 7}),
            Settled("followers", 3),
            Serials({"inbox/ark3": 5}),
            Put.of(0, ["bizlogic"], [Item(b"{}", EPOCH, 1, "a", "b", 2)]),
        ):
            again = decode_record(encode(record))
            self.assertEqual(encode(again), encode(record))
        for op in ("ping", "hello", "message", "what"):
            with self.assertRaises(ProtocolError):
                decode_record(b'{"op":"%b"}' % op.encode())

    def test_what_has_no_encoding_is_a_bad_message(self) -> None:
        for value in ("\ud800", float("nan"), float("inf"), {1, 2}, b"bytes", {(): 1}):
            with self.assertRaises(BadMessage, msg=repr(value)):
                strictjson.dumps([value])

    def test_loads_takes_one_json_value_and_nothing_else(self) -> None:
        self.assertEqual(
            strictjson.loads(b'{"a":[1,2.5,null,"\xc3\xa9"]}'), {"a": [1, 2.5, None, "é"]}
        )
        absurd = (b"[" * 100_000, b"9" * 5000)
        for data in (b"", b"1 2", b"{}x", b"NaN", b'"\xff"', b"{'a':1}", *absurd):
            with self.assertRaises(BadMessage, msg=data[:20]) as caught:
                strictjson.loads(data)
            self.assertEqual(caught.exception.code, protocol.BAD_MESSAGE)

    def test_objects_are_those_of_each_body_whatever_its_neighbours_say(self) -> None:
        for bodies in (
            [b'{"a":1},{"b":2}', b'{"c":3', b'"d":4}'],
            [b'{"a":1},{"user":"evil"}', b'{"user":"good"}', b'{"c":1', b'"d":2}'],
            [b'{"a":"}', b'{","b":1}'],
            [b'{"a":1}', b"1", b"[]", b"", b"{", b'{"b":[1]}'],
        ):
            expected = [json.loads(b) if is_json(b) else None for b in bodies]
            expected = [value if type(value) is dict else None for value in expected]
            self.assertEqual(strictjson.objects(bodies), expected)

    def test_what_is_remembered_of_entries_is_bounded(self) -> None:
        entries = fields._Entries()
        with mock.patch.object(fields, "REMEMBERED_BYTES", 10_000):
            for i in range(500):
                self.assertEqual(entries.split(f"a/{i} b/{i}"), (f"a/{i}", f"b/{i}"))
                sizes = [sys.getsizeof(one) for to in entries._known.items() for one in to]
                sizes += [sys.getsizeof(a) for both in entries._known.values() for a in both]
                self.assertLessEqual(sum(sizes), 10_000)
        with self.assertRaises(ValueError):
            entries.split("a/b  c")
        self.assertNotIn("a/b  c", entries._known)

    def test_the_tests_own_messages_are_such_as_our_services_write(self) -> None:
        put = wireclient.put(1, ["a", "b"], wireclient.bark("ark3", "x", "@rdl"), origin=EPOCH, n=7)
        decoded = decode(wireclient.Wire.pack([put])[:-1])
        self.assertEqual(encode(decoded), wireclient.Wire.pack([put])[:-1])
