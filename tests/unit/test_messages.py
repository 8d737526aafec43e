"""Messages: what is not in the table is refused; what is decoded is what was encoded."""

import json
import random
import unittest
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from barker.wire import protocol, quick, strictjson
from barker.wire.bodies import Bark, check_body, encode_bark
from barker.wire.messages import (
    PING,
    PONG,
    Load,
    ack_line,
    addresses_json,
    decode,
    decode_record,
    encode,
    message_line,
    messages_line,
    put_line,
    puts_in,
    puts_line,
    refuse_line,
    source,
    stamped,
    unstamped,
)
from barker.wire.protocol import BadMessage, ProtocolError
from tests.tools.fleet import SLOW

TARGET = {"name": "inbox-5820", "host": "127.0.0.1", "port": 5820, "since": 1}
NEVER: tuple[Any, ...] = (True, False, 0.0, 1.5, -1, 2**53, 10**400, {}, {"a": 1}, [1], [None])
BAD: tuple[Any, ...] = (None, True, -1, "", "\n", 2**53, [])
BAD_TARGETS = [
    *([{**TARGET, name: value}] for name in TARGET for value in BAD),
    *([{k: v for k, v in TARGET.items() if k != gone}] for gone in TARGET),
]
# What each kind of field takes, to its limits, and what it must not take besides NEVER.
KINDS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "count": ((0, 1, 2**53 - 1), (None, "1", "", "\n", [])),
    "name": (
        ("a", "outbox-5800", "9._-", "x" * 64),
        (None, 1, "", "x" * 65, "-a", "a b", "a/b", "é", "a\n", "\ud800", []),
    ),
    "address": (
        ("inbox", "inbox/ark3", "a-9/Z._-", "a" * 20 + "/" + "b" * 64),
        (
            *(None, 1, "", "/", "inbox/", "/a", "inbox/a/b", "Inbox", "9", "a" * 21, "inbox/é"),
            *(f"inbox/{'b' * 65}", "inbox/a\n", "inbox/\ud800", [], ["inbox"]),
        ),
    ),
    "addresses": (
        (["inbox"], ["inbox/ark3", "inbox/rdl"], [f"a/{i}" for i in range(protocol.MAX_ADDRESSES)]),
        (
            *(None, 1, "inbox", [], ["a", "inbox/"], [["a"]], [""], ["a", "b", "a"]),
            [f"a/{i}" for i in range(protocol.MAX_ADDRESSES + 1)],
        ),
    ),
    "hex": (
        ("0123456789abcdef", "f" * 64),
        (None, 16, "", "0" * 15, "0" * 65, "F" * 16, "g" * 16, "0" * 16 + "\n", []),
    ),
    "host": (
        ("h", "::1", "bücher.example", "h" * 255),
        (None, 1, "", "h" * 256, "a\nb", "\x7f", "\ud800", []),
    ),
    "port": ((1, 65535), (None, 0, 65536, "1", [])),
    "policy": (("consistent", "ordered"), (None, 1, "", "Ordered", "ordered\n", ["ordered"], [])),
    "text": (("", "é" * 500, "a\nb"), (None, 1, "x" * 501, [])),
    "prefix": (("", "inbox", "inbox/ark3"), (None, 1, "inbox/", "Inbox", [])),
    "targets": (
        ([], [TARGET], [TARGET, {**TARGET, "kind": "inbox"}]),
        (None, 1, "", TARGET, [TARGET, 1], [{}], [[TARGET]], *BAD_TARGETS),
    ),
    "true": ((True,), (None, 1, "true", "", [])),
    # Of `puts` and `messages`; what is good here is for two bodies.
    "counts": (
        ([0, 2**53 - 1], [7, 7]),
        (None, 1, "", [], [0, -1], [0, 2**53], [0, True], [0, 1.0], [0, None], ["0", "1"], [[0]]),
    ),
    "address lists": (
        (
            [["inbox"]],  # for both
            [["inbox/ark3"], ["inbox/ark3"]],
            [["inbox/ark3", "inbox"], ["inbox/rdl"]],
            [["a"], [f"a/{i}" for i in range(protocol.MAX_ADDRESSES)]],
        ),
        (
            *(None, 1, "inbox", [], ["a"], ["a", "b"], [[]], [["a"], []], [["a"], "b"], [["a"], 1]),
            *([["a", "inbox/"]], [["a"], ["inbox/"]], [["a"], [["a"]]], [["a"], {"b": 1}]),
            *([["a", "a"]], [["a", "b", "a"], ["a"]], [["a"], [None]], [["a"], [1]], [["a"], None]),
            [["a"], [f"a/{i}" for i in range(protocol.MAX_ADDRESSES + 1)]],
        ),
    ),
    "serials": (
        ([{"inbox": 0}, {"inbox": 1}], [{"inbox/ark3": 1, "inbox/rdl": 2**53 - 1}, {"inbox": 7}]),
        (
            *(None, 1, "", [], [{}], [{"a": 1}, {}], [{"a": 1}, 1], [{"a": 1}, None], [["a", 1]]),
            *([{"a": 1}, {"inbox/": 1}], [{"a": 1}, {"": 1}], [{"a": 1}, {"\ud800": 1}], {"a": 1}),
            *([{"a": 1}, {"b": bad}] for bad in (-1, 2**53, True, 1.0, None, "1", [1], {"c": 1})),
        ),
    ),
    "bodies": (
        (
            [{}, {"": None, "b": True, "c": -1.5, "d": ',\t{"bodies":['}],
            [{"a": "x" * (protocol.MAX_BODY_BYTES - 8)}, {"id": "x"}],
        ),
        (
            *(None, 1, "", "ab", [], [[]], [{}, []], [{}, 1], [{}, None], [{}, "{}"], [{}, [{}]]),
            *([{"a": {}}, {}], [{}, {"a": []}], [{}, {"a": [{"b": 1}]}]),
            [{}, {"a": "x" * (protocol.MAX_BODY_BYTES - 7)}],
        ),
    ),
    "body": ((None, True, 0, -1.5, "", "é", ',"body":', [], {}, {"a": {"body": 1}, "body": 2}), ()),
}
# The protocol, written a second time: `?` may be absent, `~` may be null.
TABLE: dict[str, dict[str, str]] = {
    "hello": {"v": "count", "name": "name", "nonce": "hex", "epoch": "hex?~"},
    "proof": {"mac": "hex"},
    "register": {"address": "address", "name": "name", "host": "host", "port": "port"}
    | {"policy": "policy", "kind": "name", "since": "count"},
    "unregister": {"address": "address", "name": "name"},
    "watch": {"prefix": "prefix"},
    "routes": {"address": "address", "policy": "policy", "targets": "targets"},
    "resolve": {"address": "address"},
    "target": {"address": "address", "name": "name~", "host": "host~", "port": "port~"},
    "put": {"seq": "count", "to": "addresses", "origin": "hex?", "n": "count?"}
    | {"old": "true?", "body": "body"},
    "puts": {"seq": "count", "to": "address lists", "origin": "hex?", "n": "counts?"}
    | {"old": "true?", "bodies": "bodies"},
    "ack": {"seq": "count?", "address": "address?", "serial": "count?"},
    "refuse": {"seq": "count?", "code": "name", "reason": "text", "addresses": "addresses"},
    "subscribe": {"address": "address", "epoch": "hex?~", "after": "count?", "history": "count?"}
    | {"window": "count?"},
    "subscribed": {"address": "address", "epoch": "hex", "serial": "count"}
    | {"last": "count", "history": "count", "retained": "count?"},
    "message": {"address": "address", "epoch": "hex", "serial": "count"}
    | {"late": "true?", "body": "body"},
    "messages": {"epoch": "hex", "late": "true?", "to": "serials", "bodies": "bodies"},
    "moved": {"address": "address"},
    "gap": {"address": "address", "missed": "count"},
    "ping": {},
    "pong": {},
    "sample": {"body": "body"},
    "error": {"code": "name", "reason": "text"},
}
SMALL = {"a": 1, "body": [2]}
SMALL_PUTS = {"op": "puts", "seq": 1, "to": [["a"]], "n": [1, 2], "bodies": [{"a": 1}, {"b": ""}]}
PUT = {"op": "put", "seq": 1, "to": ["inbox/ark3"], "body": {"id": "x"}}
STAMP = b'{"op":"put","seq":1,"to":["inbox/ark3"]'


def kind_of(mark: str) -> str:
    return mark.rstrip("?~")


def bad_values(mark: str) -> list[Any]:
    good, bad = KINDS[kind_of(mark)]
    values = [*bad, *NEVER] if bad else []  # any JSON value is a body
    good = (*good, *((None,) if "~" in mark else ()))
    return [v for v in values if not any(v is g for g in good)]


def sample(op: str) -> dict[str, Any]:
    """A message with every field that the op may have."""
    fields = {name: KINDS[kind_of(mark)][0][-1] for name, mark in TABLE[op].items()}
    return {"op": op, **fields}


def spellings(message: dict[str, Any]) -> Iterator[bytes]:
    """The message as JSON in several ways: canonical, with spaces, as escapes, the body first."""
    if type(message.get("bodies")) is list:
        yield group_line(message)
    yield json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode()
    yield json.dumps(message).encode()
    yield json.dumps(message, indent=1).replace("\n", "\r").encode()
    yield json.dumps(dict(sorted(message.items()))).encode()


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def group_line(message: dict[str, Any]) -> bytes:
    """In our own form: the bodies are last, with a tab behind each comma between them."""
    head = {name: value for name, value in message.items() if name != "bodies"}
    bodies = ",\t".join(map(compact, message["bodies"]))
    # Half of a surrogate pair, which some of our bad values have, goes as it should not.
    return f'{compact(head)[:-1]},"bodies":[{bodies}]}}'.encode(errors="surrogatepass")


def no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def reference(text: bytes) -> Any:
    """What strict JSON says; ValueError if it says nothing."""
    return json.loads(text.decode(), parse_constant=no_constant)


def spelled_out(message: dict[str, Any]) -> dict[str, Any]:
    """One list of addresses for all bodies as one for each; without bodies that the op has not."""
    ignored = {"body", "bodies", "parsed"} - TABLE[message["op"]].keys()
    message = {name: value for name, value in message.items() if name not in ignored}
    if message["op"] == "puts" and len(message["to"]) == 1:
        message["to"] = message["to"] * len(message["bodies"])
    return message


class WireCase(unittest.TestCase):
    def assertDecodes(self, line: bytes, expected: dict[str, Any]) -> None:
        self.assertEqual(self.meaning(decode(line), line), spelled_out(expected), line)

    def meaning(self, message: dict[str, Any], line: bytes) -> dict[str, Any]:
        """The message with bodies as what they mean, after a look at what they are."""
        parsed, fields = message.pop("parsed", None), TABLE[message["op"]]
        if "body" in fields:
            message["body"] = self.value_of(message["body"], line)
            self.assertEqual(parsed, message["body"])
        if "bodies" in fields:
            message["bodies"] = [self.value_of(body, line) for body in message["bodies"]]
            self.assertEqual(parsed, message["bodies"])
        return spelled_out(message)

    def value_of(self, body: Any, line: bytes) -> Any:
        self.assertIs(type(body), bytes, line)
        self.assertNotIn(b"\n", body, line)
        return strictjson.loads(body)  # which takes it as it is in a journal, too

    def assertMeans(self, line: bytes) -> bool:
        """Refused, or taken as what JSON says, with bodies that are flat to the last byte."""
        try:
            message = decode(line)
        except ProtocolError:
            return False
        try:
            for body in message["bodies"] if message["op"] in ("puts", "messages") else ():
                json.loads(body, object_pairs_hook=self.flat)
            self.assertEqual(self.meaning(message, line), spelled_out(reference(line)), line)
        except ValueError:
            self.fail(f"taken, but not JSON: {line!r}")
        return True

    def flat(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for _, value in pairs:  # of each, also of those that a later one of the same name hides
            self.assertNotIsInstance(value, (dict, list), pairs)
        return dict(pairs)

    def assertRefused(self, line: bytes) -> None:
        with self.assertRaises(ProtocolError, msg=line[:200]) as caught:
            decode(line)
        self.assertEqual(caught.exception.code, protocol.PROTOCOL)


class DecodeTest(WireCase):
    def test_the_table_of_the_protocol_is_this_one(self) -> None:
        ours = {op: {f.name: f.required for f in fields} for op, fields in protocol.OPS.items()}
        self.assertEqual(
            ours, {op: {n: "?" not in m for n, m in fields.items()} for op, fields in TABLE.items()}
        )

    def test_body_is_the_last_field_of_every_op_that_has_one(self) -> None:
        for fields in TABLE.values():
            self.assertTrue({"body", "bodies"}.isdisjoint(list(fields)[:-1]))

    def test_every_op_round_trips_in_every_spelling(self) -> None:
        for op in TABLE:
            message = sample(op)
            body = message.pop("body", None)
            raw = None if body is None else strictjson.dumps(body)
            line = encode(**message, body=raw)
            full = message if body is None else {**message, "body": body}
            self.assertDecodes(line, full)
            for spelling in spellings(full):
                self.assertDecodes(spelling, full)

    def test_every_good_value_of_every_field_is_taken(self) -> None:
        for op, fields in TABLE.items():
            for name, mark in fields.items():
                for value in (*KINDS[kind_of(mark)][0], *([None] if "~" in mark else [])):
                    message = {**sample(op), name: value}
                    for line in spellings(message):
                        self.assertDecodes(line, message)

    def test_every_bad_value_of_every_field_is_refused(self) -> None:
        for op, fields in TABLE.items():
            for name, mark in fields.items():
                for value in bad_values(mark):
                    for line in spellings({**sample(op), name: value}):
                        self.assertRefused(line)

    def test_only_optional_fields_may_be_missing(self) -> None:
        for op, fields in TABLE.items():
            for name, mark in fields.items():
                message = sample(op)
                del message[name]
                for line in spellings(message):
                    (self.assertDecodes(line, message) if "?" in mark else self.assertRefused(line))

    def test_fields_that_the_table_does_not_list_are_ignored(self) -> None:
        self.assertEqual(decode(b'{"op":"ping","more":[1.5,{"body":null}]}')["op"], "ping")

    def test_an_op_is_one_of_the_table(self) -> None:
        for op in ("", "PING", "put s", None, 1, True, ["ping"], {"ping": 1}):
            self.assertRefused(json.dumps({"op": op}).encode())
        self.assertRefused(b"{}")

    def test_what_is_not_a_json_object_in_utf_8_is_refused(self) -> None:
        for line in (
            b"", b" ", b"null", b"1", b'"ping"', b"[]", b'[{"op":"ping"}]', b"GET / HTTP/1.1",
            b'{"op":"ping"', b'{"op":"ping"}}', b'{"op":"ping"}{}', b'{"op":"ping"} x', b"{'op':1}",
            b'{"op":"ping",}', b'{,"op":"ping"}', b'{"op":"ping" "x":1}', b'{op:"ping"}',
            b'{"op":"ping"}\x00', b'\xef\xbb\xbf{"op":"ping"}', b'{"op":"ping","x":"\xff"}',
            b'{"op":"ping","x":"\xed\xa0\x80"}', '{"op":"ping"}'.encode("utf-16"),
            b'{"op":"ping","x":"a\tb"}', b'{"op":"ping","x":01}', b'{"op":"ping","x":"\\x41"}',
        ):  # fmt: skip
            self.assertRefused(line)

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
                for line in (
                    b'{"op":"ping","x":%b}' % inner,
                    b'{"op":"sample", "body":%b}' % inner,
                    b'{"op":"sample","body":%b}' % inner,
                    b'{"op":"sample","x":%b,"body":1}' % inner,
                ):
                    if depth < protocol.MAX_NESTING:  # the message is the outermost
                        decode(line)
                    else:
                        self.assertRefused(line)
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
            self.assertDecodes(blank + b'{"op":"ping"}' + blank, {"op": "ping"})
        for blank in (b"\x0b", b"\x0c", "\xa0".encode()):
            self.assertRefused(blank + b'{"op":"ping"}')
            self.assertRefused(b'{"op":"ping"}' + blank)

    def test_the_last_of_two_equal_keys_counts_as_in_json(self) -> None:
        for line in (
            b'{"op":"pong","op":"ping"}',
            b'{"op":"sample","body":1,"x":2,"op":"ping"}',
            b'{"body":1,"op":"sample","body":2}',
            b'{"op":"sample","\\u0062ody":1,"body":2}',
            b'{"op":"sample","body":1,"body":2}',
        ):
            self.assertDecodes(line, reference(line))


class BodyTest(WireCase):
    """The cut: the body's bytes are taken out of the line only if that says what the line says."""

    def test_a_canonical_body_passes_as_the_bytes_it_came_in(self) -> None:
        for body in (b'{"a": 1.50, "b":"\\u00e9"}', b"1e2", b'"\\/"', '"é"'.encode(), b"[ ]"):
            self.assertEqual(decode(STAMP + b',"body":' + body + b"}")["body"], body)

    def test_a_key_named_body_further_in_is_not_the_body(self) -> None:
        for line in (
            b'{"op":"sample","x":{"a":1,"body":2},"body":3}',
            b'{"op":"sample","x":{"a":1,"body":2}, "body":3}',
            b'{"op":"sample","x":[{"a":1,"body":{}},{}],"body":[{"a":1,"body":{}}]}',
            b'{"op":"ping","x":{"a":1,"body":2}}',
            b'{"op":"ping","x":[{"a":1,"body":2}]}',
            b'{"op":"ping","x":{"a":{"b":1,"body":{}}}}',
        ):
            self.assertDecodes(line, reference(line))

    def test_strings_that_look_like_the_cut_do_not_deceive_it(self) -> None:
        for text in (',"body":', ',"body":1}', '\\",\\"body\\":', '"},"body":{"', "\\", '\\"', ","):
            for line in spellings({**PUT, "x": text, "body": {text: text}}):
                self.assertDecodes(line, reference(line))
        for line in (b'{"op":"ping","x":","body":1}', b'{"op":"ping","x":"\\","body":1}'):
            self.assertRefused(line)

    def test_a_line_whose_body_is_not_last_is_valid_and_means_the_same(self) -> None:
        # "A line in any other order is valid too; it is merely encoded afresh."
        for line in (
            b'{"body":{"id":"x"},"op":"put","seq":1,"to":["inbox/ark3"]}',
            b'{"op":"put","body":{"id":"x"},"seq":1,"to":["inbox/ark3"]}',
            b'{"op":"put","seq":1,"body":{"id":"x"},"to":["inbox/ark3"]}',
            STAMP + b',"body":{"id":"x"},"n":7}',
            STAMP + b',"body":{"id":"x"},"origin":"0123456789abcdef","n":7}',
            STAMP + b',"body":1,"x":{}}',
        ):
            self.assertDecodes(line, reference(line))

    def test_spaces_around_a_body_do_not_make_it_unreadable(self) -> None:
        for line in (
            STAMP + b',"body": {"id":"x"}}',
            STAMP + b',"body":{"id":"x"} }',
            STAMP + b',"body":\t1\r}',
            json.dumps(PUT, separators=(",", ": ")).encode(),
        ):
            self.assertDecodes(line, PUT | {"body": reference(line)["body"]})

    def test_a_body_has_no_newline_in_it_because_the_next_hop_puts_it_in_a_line(self) -> None:
        # A WebSocket message may hold newlines between its tokens; a line may not.
        for line in (
            STAMP + b',"body":{"id":\n"x"}}',
            STAMP + b',"body":{"id":"x"\n}}',
            STAMP + b', "body":{\n"id":"x"}}',
        ):
            self.assertNotIn(b"\n", decode(line)["body"])

    def test_a_body_has_no_tab_in_it_because_the_next_hop_may_put_it_among_others(self) -> None:
        for stamp in (b"", b',"origin":"0123456789abcdef","n":7'):
            for line in (
                STAMP + stamp + b',"body":{"id":"x",\t"user":"rdl"}}',
                STAMP + stamp + b',"body":{"id":\t"x","user":"rdl"}}',
            ):
                self.assertEqual(decode(line)["body"], b'{"id":"x","user":"rdl"}')

    def test_a_field_named_parsed_is_not_taken_for_ours(self) -> None:
        for line in (
            STAMP + b',"parsed":1,"body":{"id":"x"}}',
            STAMP + b',"body":{"id":"x"},"parsed":1}',
            STAMP + b',"parsed":1, "body":{"id":"x"}}',
        ):
            self.assertEqual(decode(line)["parsed"], {"id": "x"})

    def test_a_number_too_large_for_a_float_is_no_reason_for_a_traceback(self) -> None:
        for line in (b'{"op":"sample","body":1e999}', b'{"op":"sample", "body":[1e999]}'):
            try:
                decode(line)
            except ProtocolError:
                pass

    def test_mutated_lines_are_refused_or_mean_what_json_says(self) -> None:
        dice = random.Random(2)
        splinters = (
            b',"body":', b'"body":', b"body", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ",
            b'{"body":', b',"body":{}}', b'"op":"ping"', b"NaN", b"1e5", b"\xff", b"\xc3\xa9",
            b"\r", b"\x0b", b"\\u0062", b"null", b"-", b"0", b'},"x":{', b'],"x":[', b'","',
            b',"bodies":[', b',"bodies":[{}]', b"\t", b",\t", b",\t{", b"},\t{", b"]}",
            b'{"op":"puts",', b'"body":1,', b'"n":1,', b'"to":[["a"]],', b"{},",
        )  # fmt: skip
        messages = [sample(op) for op in TABLE if op != "puts"] + [SMALL_PUTS, SMALL_PUTS]
        seeds = [s for m in messages for s in spellings({"op": "", "x": SMALL, **m})]
        seeds = [s for s in seeds if len(s) < 1000]
        taken, rounds = 0, 25_000 if SLOW else 8_000
        for _ in range(rounds):
            line = dice.choice(seeds)
            for _ in range(dice.randint(1, 3)):
                i, j = sorted(dice.choices(range(len(line) + 1), k=2))
                match dice.randrange(4):
                    case 0:
                        line = line[:i] + line[min(j, i + 3) :]
                    case 1:
                        line = line[:i] + line[i:j] + line[i:]
                    case 2:
                        line = line[:i] + dice.choice(splinters) + line[i:]
                    case _:
                        line = line[:i] + dice.choice(splinters) + line[min(j, i + 8) :]
            taken += self.assertMeans(line)
        self.assertGreater(taken, rounds // 50)


class GroupTest(WireCase):
    """`puts` and `messages`: so many pieces, so many bodies, each of them itself."""

    HEAD = b'{"op":"puts","seq":1,"to":[["inbox/ark3"]],"bodies":['
    MESSAGES = b'{"op":"messages","epoch":"0123456789abcdef","to":[{"a":1},{"a":2}],"bodies":['

    def test_canonical_bodies_pass_as_the_bytes_they_came_in(self) -> None:
        bodies = [
            b'{"a": 1.50,"b":"\\u00e9"}',
            b"{ }",
            '{"é":"\\t, \\n"}'.encode(),
            b'{"a":1,\t"b":2}',
        ]
        self.assertNotIn(quick.BETWEEN, b"".join(bodies[:3]))
        for some in (bodies[:3], bodies[:1]):
            message = decode(self.HEAD + b",\t".join(some) + b"]}")
            self.assertEqual(message["bodies"], some)
            self.assertEqual(message["parsed"], [json.loads(body) for body in some])
        self.assertEqual(
            decode(self.MESSAGES + b",\t".join(bodies[:2]) + b"]}")["bodies"], bodies[:2]
        )
        # A tab of its own is one too many; then the bytes are others, and mean the same.
        self.assertMeans(self.HEAD + b",\t".join(bodies) + b"]}")

    def test_any_other_form_means_the_same(self) -> None:
        for between in (b",", b", ", b",\t ", b"\t,", b" ,\t", b",\r", b",\n", b",\t\t"):
            for start, end in (
                (b"", b"]}"),
                (b" ", b"]}"),
                (b"\t", b" ]}"),
                (b"", b"] }"),
                (b"", b"]} "),
            ):
                bodies = between.join([b'{"a":1}', b'{"b":",\\t{"}', b"{}"])
                line = self.HEAD + start + bodies + end
                self.assertDecodes(line, reference(line))
        for line in (
            b'{"bodies":[{"a":1},\t{}],"op":"puts","seq":1,"to":[["a"]]}',
            b'{"op":"puts","bodies":[{"a":1},\t{}],"seq":1,"to":[["a"]]}',
            b'{"op":"puts","seq":1,"bodies":[{"a":1},\t{}],"to":[["a"]]}',
            self.HEAD + b'{"a":1},\t{}],"n":[1,2]}',
            self.HEAD + b'{"a":1},\t{}],"x":[{}]}',
            b' {"op":"puts","seq":1,"to":[["a"]],"bodies":[{"a":1},\t{}]}',
        ):
            self.assertDecodes(line, reference(line))

    def test_lists_of_different_lengths_are_refused(self) -> None:
        two = [{"a": 1}, {"b": 2}]
        puts = {"op": "puts", "seq": 1, "origin": "0123456789abcdef"}
        messages = {"op": "messages", "epoch": "0123456789abcdef"}
        for message in (
            {**puts, "to": [["a"]] * 3, "bodies": two},
            {**puts, "to": [["a"]] * 2, "bodies": [*two, {}]},
            {**puts, "to": [["a"]] * 2, "bodies": [{}]},
            {**puts, "to": [["a"]], "n": [1], "bodies": two},
            {**puts, "to": [["a"]], "n": [1, 2, 3], "bodies": two},
            {**puts, "to": [["a"]] * 2, "n": [1, 2], "bodies": [{}]},
            {**messages, "to": [{"a": 1}], "bodies": two},
            {**messages, "to": [{"a": 1}, {"a": 2}, {"a": 3}], "bodies": two},
            {**messages, "to": [{"a": 1}, {"a": 2}], "bodies": [{}]},
        ):
            for line in spellings(message):
                self.assertRefused(line)

    def test_a_group_has_one_body_at_least_and_may_have_just_one(self) -> None:
        self.assertRefused(self.HEAD + b"]}")
        self.assertDecodes(self.HEAD + b"{}]}", reference(self.HEAD + b"{}]}"))

    def test_the_cut_is_in_the_outermost_object_and_there_once(self) -> None:
        good = b'"seq":1,"to":[["a"]],"bodies":[{"good":1}]}'
        for line in (
            b'{"op":"puts","x":{"a":1,"bodies":[{"evil":1}]},' + good,
            b'{"op":"puts","x":[{"a":1,"bodies":[{"evil":1}]}],' + good,
            b'{"op":"puts","x":{"a":{"a":1,"bodies":[{"evil":1}]}},' + good,
            b'{"op":"puts","x":1,"bodies":[{"evil":1}],' + good,
            b'{"op":"puts","bodies" :[{"evil":1}],' + good,
            b'{"op":"puts","\\u0062odies":[{"evil":1}],' + good,
            b'{"op":"puts","bodies" :[{"good":1}],"seq":1,"to":[["a"]],'
            b'"x":[{"a":1,"bodies":[{"evil":1}]}]}',
            b'{"op":"puts","seq":1,"to":[["a"]],"x":[{"a":1,"bodies":[{"evil":1}]}]}',
            b'{"op":"puts","x":[{"a":1,"bodies":[{}]}]}',
            b'{"op":"puts","x":{"a":1,"bodies":[{}]}}',
            b'{"op":"puts","x":",\\"bodies\\":[{",' + good,
            b'{"op":"puts",' + good[:-1] + b',"x":[{}]}',
            b'{"op":"ping","op":"puts",' + good,
            b'{"op":"puts",' + good[:-1] + b',"op":"ping"}',
            b'{"op":"puts","op":"ping",' + good,
        ):
            self.assertMeans(line)

    def test_no_tab_and_no_bracket_misaligns_the_pieces(self) -> None:
        for bodies in (
            # Two at once without a tab, and one that is cut in the middle: the numbers are right.
            b'{"k":[{"x":1},\t{"y":2}],"k":1},{"z":3}',
            b'{"k":[[{"x":1},\t{"y":2}]],"k":1},{"z":3}',
            b'{"z":3},{"k":[{"x":1},\t{"y":2}],"k":1}',
            b'{"k":[{},\t{}]},{"z":3}',
            b'{"k":[{},\t{}],"k":{}},{"z":3}',
            b'{"k":{"x":1,\t"y":2},"k":1},{"z":3}',
            b'{"a":1,\t"b":2},{"c":3}',
            b'{"a":1,\t"b":"{"},{"c":3}',
            b'{"a":"},\t{"},{"c":3}',  # a raw tab in a string is no JSON
            b'{"a":"\t"},\t{"c":3}',
            b'{"a":1},\t{"b":2},\t',
            b',\t{"a":1}',
            b'{"a":1},\t,\t{"b":2}',
            b'{"a":1}],\t[{"b":2}',
            b'{"a":1}],"x":[{"b":2},\t{"c":3}',
            b'{"a":1},\t2',
            b'{"a":1},2,\t{"b":1},{"c":1}',
            b'[],\t{"b":2}',
            b'{"a":1},\t\t{"b":2}',
            b'{"a":1},\t {"b":2}',
            b'{"a":1} ,\t{"b":2}',
            b'{"a":1},\t{"b":2} ',
            b'{"a":{},"a":1},\t{"b":2}',
            b'{"a":[],"a":1},\t{"b":2}',
            b'{"a":"[{"},\t{"b":"}]"}',
            b'{"a":1}},\t{{"b":2}',
            b'{"a":1},\t{"b":2}]}\n{"op":"puts","seq":3,"to":[["a"]],"bodies":[{"c":3}',
        ):
            for head in (self.HEAD, self.MESSAGES):
                self.assertMeans(head + bodies + b"]}")

    def test_a_field_of_another_op_is_only_ignored(self) -> None:
        puts = b'{"op":"puts","seq":1,"to":[["a"]],"bodies":[{}]'
        messages = b'{"op":"messages","epoch":"0123456789abcdef","to":[{"a":1}],"bodies":[{}]'
        for more in (b'"body":1', b'"body":{}', b'"body":[]', b'"parsed":1'):
            for line in (puts, messages):
                for whole in (line + b",%b}" % more, line.replace(b'"to"', more + b',"to"') + b"}"):
                    message = decode(whole)
                    self.assertEqual((message["bodies"], message["parsed"]), ([b"{}"], [{}]))
        for more in (b"5", b"[1,2]", b"null"):
            self.assertEqual(decode(messages + b',"n":%b}' % more)["bodies"], [b"{}"])
            self.assertEqual(
                decode(messages.replace(b'"to"', b'"n":%b,"to"' % more) + b"}")["bodies"], [b"{}"]
            )
        for bodies in (b"1", b"[1]", b"null", b'[{"a":{}}]', b"[]"):
            self.assertEqual(decode(b'{"op":"ping","bodies":%b}' % bodies)["op"], "ping")
            for end in (b',"bodies":%b,"body":{}}', b',"body":{},"bodies":%b}'):
                message = decode(STAMP + end % bodies)
                self.assertEqual((message["body"], message["parsed"]), (b"{}", {}))
                (put,) = puts_in(message)
                self.assertEqual((put.body, put.fields), (b"{}", {}))
        for bodies in (b"5", b"[5]", b'"ab"', b'{"a":1}', b"[[]]", b'["ab"]', b"null"):
            self.assertRefused(b'{"op":"puts","seq":1,"to":[["a"]],"body":1,"bodies":%b}' % bodies)
            self.assertRefused(b'{"op":"puts","seq":1,"to":[["a"]],"bodies":%b,"body":1}' % bodies)

    def test_random_bodies_with_random_white_space_are_themselves_or_are_refused(self) -> None:
        dice = random.Random(7)
        texts = (
            "",
            "a",
            ",\\t{",
            "\\t",
            "{",
            "}",
            "[",
            "]",
            ",",
            '\\"',
            ',\\"bodies\\":[',
            "é",
            "},\\t{",
        )

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
            to = [["a"]] * dice.choice((1, len(bodies)))
            x = dice.choice(("", "", f'"x":{value(0)},', f'"x":{{"a":1,"bodies":[{body()}]}},'))
            line = f'{{"op":"puts",{x}"seq":1,"to":{json.dumps(to)},"bodies":[{text}]}}'.encode()
            taken += self.assertMeans(line)
        self.assertGreater(taken, rounds // 3)

    def test_what_hides_behind_a_key_that_is_said_twice_goes_no_further(self) -> None:
        # How deep JSON may be nested depends on who reads it. A body that this hop can read and the
        # next one can't would be sent again for ever.
        for hidden in (b"[[1]]", b"[]", b"{}", b'{"y":{}}', b"[" * 900 + b"]" * 900):
            body = b'{"id":"x","y":%b,"y":1}' % hidden
            for line in (
                STAMP + b',"body":%b}' % body,
                self.HEAD + body + b"]}",
                self.HEAD + body + b',\t{"id":"y"}]}',
                self.HEAD + b'{"id":"y"},\t' + body + b"]}",
            ):
                try:
                    message = decode(line)
                except ProtocolError:
                    continue
                for put in puts_in(message):
                    if message["op"] == "put":
                        with self.assertRaises(BadMessage):
                            check_body(put.body, put.fields)
                    else:
                        json.loads(put.body, object_pairs_hook=self.flat)


class EncodeTest(unittest.TestCase):
    def test_text_stays_text_and_nothing_is_wasted_on_spaces(self) -> None:
        line = '{"op":"error","code":"full","reason":"é"}'.encode()
        self.assertEqual(encode("error", code="full", reason="é"), line)
        self.assertEqual(encode("sample", b"{ }"), b'{"op":"sample","body":{ }}')

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

    def test_the_hot_paths_write_what_the_encoder_writes(self) -> None:
        epoch, body = "0123456789abcdef", encode_bark(Bark("x", "ark3", 'é"\\', 1))
        for n, to in ((1, ["outbox/ark3"]), (protocol.MAX_COUNT, ["inbox/rdl", "inbox/rhs"])):
            quoted, load = strictjson.dumps(to), stamped(epoch, n, body)
            place: dict[str, Any] = {"address": to[0], "epoch": epoch, "serial": n}
            put: dict[str, Any] = {"op": "put", "seq": n, "to": to}
            stamp = {"origin": epoch, "n": n}
            pairs: tuple[tuple[bytes, dict[str, Any]], ...] = (
                (put_line(n, quoted, load), {**put, **stamp, "body": body}),
                (put_line(n, quoted, unstamped(body)), {**put, "body": body}),
                (
                    put_line(n, quoted, Load(source(epoch, old=True), n, body)),
                    {**put, "origin": epoch, "old": True, "n": n, "body": body},
                ),
                (
                    put_line(n, quoted, load, strictjson.dumps({to[0]: 1})),
                    {**put, "serials": {to[0]: 1}, **stamp, "body": body},
                ),
                (
                    message_line(to[0], epoch, n, body),
                    {"op": "message", **place, "body": body},
                ),
                (
                    self.messages(epoch, [{to[0]: n}], [body]),
                    {"op": "message", **place, "body": body},
                ),
                (
                    self.messages(epoch, [{to[0]: n}], [body], late=True),
                    {"op": "message", **place, "late": True, "body": body},
                ),
                (ack_line(n), {"op": "ack", "seq": n}),
            )
            for line, fields in pairs:
                self.assertEqual(line, encode(**fields))
                parsed = {"parsed": strictjson.loads(body)} if "body" in fields else {}
                self.assertEqual(decode(line), fields | parsed)
            self.assertEqual(addresses_json(to), quoted)
        self.assertEqual(decode(PING), {"op": "ping"})
        self.assertEqual(decode(PONG), {"op": "pong"})

    def messages(
        self, epoch: str, to: Sequence[dict[str, int]], bodies: Sequence[bytes], late: bool = False
    ) -> bytes:
        serials = [strictjson.dumps(serials)[1:-1] for serials in to]
        return messages_line(epoch.encode(), serials, bodies, late)

    def test_a_line_of_many_puts_says_what_the_encoder_would(self) -> None:
        epoch = "0123456789abcdef"
        barked = [
            strictjson.loads(encode_bark(Bark(i, "ark3", 'é"\\', 1))) for i in ("x", "y", "z")
        ]
        bodies = [strictjson.dumps(fields) for fields in barked]
        one, two = ["inbox/rdl"], ["inbox/rhs", "inbox/ark3"]
        for to, short in (([one, two, one], None), ([two, two, two], [two])):
            quoted = [strictjson.dumps(addresses) for addresses in to]
            for old in (False, True):
                stamp: dict[str, Any] = {"origin": epoch, **({"old": True} if old else {})}
                message = {"op": "puts", "seq": 7, "to": short or to, **stamp, "n": [3, 1, 2]}
                line = puts_line(7, quoted, source(epoch, old), [3, 1, 2], bodies)
                self.assertEqual(line, group_line({**message, "bodies": barked}))
                self.assertEqual(
                    [*puts_in(decode(line))],
                    [
                        (7 + i, to[i], epoch, (3, 1, 2)[i], old, bodies[i], barked[i])
                        for i in range(3)
                    ],
                )
            line = puts_line(7, quoted, b"", [0, 0, 0], bodies)
            plain = {"op": "puts", "seq": 7, "to": short or to, "bodies": barked}
            self.assertEqual(line, group_line(plain))
            self.assertEqual(
                {(p.origin, p.n, p.old) for p in puts_in(decode(line))}, {(None, 0, False)}
            )
            record = puts_line(7, quoted, b"", [0, 0, 0], bodies, b'{"inbox/rdl":5}')
            self.assertEqual(decode_record(record)["serials"], {"inbox/rdl": 5})

    def test_a_line_of_one_put_is_a_put(self) -> None:
        to, body = b'["inbox/rdl"]', b'{"id":"x"}'
        for load in (stamped("0123456789abcdef", 7, body), unstamped(body)):
            for serials in (b"", b'{"inbox/rdl":5}'):
                self.assertEqual(
                    puts_line(3, [to], load.source, [load.n], [body], serials),
                    put_line(3, to, load, serials),
                )

    def test_a_put_and_one_of_many_arrive_as_the_same(self) -> None:
        for stamp in (
            {},
            {"origin": "0123456789abcdef", "n": 5},
            {"old": True, "origin": "0" * 16, "n": 5},
        ):
            put = {"op": "put", "seq": 3, "to": ["a"], **stamp, "body": {"id": "x"}}
            puts = {"op": "puts", "seq": 3, "to": [["a"]], **stamp, "bodies": [{"id": "x"}]}
            if "n" in puts:
                puts["n"] = [5]
            one, many = (
                [*puts_in(decode(json.dumps(message).encode()))] for message in (put, puts)
            )
            self.assertEqual(one, many)
        # A counter alone is no stamp, and neither is an origin.
        for half in ({"n": 5}, {"origin": "0123456789abcdef"}):
            (arriving,) = puts_in(decode(json.dumps({**PUT, **half}).encode()))
            self.assertIsNone(arriving.origin)

    def test_a_line_of_many_messages_says_what_the_encoder_would(self) -> None:
        epoch, fields = "0123456789abcdef", {"id": "x", "é": "\t"}
        body = strictjson.dumps(fields)
        for to in (
            [{"inbox/rdl": 1}, {"inbox/rdl": 2}],
            [{"inbox/rdl": 1, "inbox/rhs": protocol.MAX_COUNT}, {"inbox/rhs": 8}],
            [{"inbox/rdl": 1, "inbox/rhs": 0}],  # one body for two
        ):
            for late in (False, True):
                line = self.messages(epoch, to, [body] * len(to), late)
                message: dict[str, Any] = {"op": "messages", "epoch": epoch}
                message |= {"late": True} if late else {}
                message |= {"to": to, "bodies": [fields] * len(to)}
                self.assertEqual(line, group_line(message))
                self.assertEqual(decode(line)["to"], to)
                self.assertEqual(decode(line)["bodies"], [body] * len(to))

    def test_a_refusal_of_a_put_has_its_number_and_one_of_a_subscription_has_none(self) -> None:
        said = {"op": "refuse", "code": "full", "reason": "é", "addresses": ["inbox/ark3"]}
        for seq, number in ((7, {"seq": 7}), (0, {"seq": 0}), (None, {})):
            line = refuse_line(seq, "full", "é", ("inbox/ark3",))
            self.assertEqual(decode(line), {**said, **number})
