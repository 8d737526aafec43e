"""Barks: both sides of every limit, and who is mentioned."""

import json
import unittest
from typing import Any

from barker.wire import protocol, strictjson
from barker.wire.bodies import Bark, encode_bark, mentions, parse_bark
from barker.wire.messages import encode
from barker.wire.ops import Item, Put
from barker.wire.protocol import BadMessage


class BarkTest(unittest.TestCase):
    GOOD: dict[str, Any] = {"id": "x", "user": "ark3", "content": "Woof.", "at": 1}

    def assertBad(self, fields: Any, code: str = protocol.BAD_MESSAGE) -> None:
        with self.assertRaises(BadMessage, msg=fields) as caught:
            parse_bark(json.dumps(fields).encode())
        self.assertEqual(caught.exception.code, code)

    def test_a_bark_survives_the_wire(self) -> None:
        for bark in (Bark("x", "ark3", 'é "\\\n 🐶', 0), Bark("_-" * 32, "a" * 20, "x", 2**53 - 1)):
            self.assertEqual(parse_bark(encode_bark(bark)), bark)

    LIMITS: tuple[tuple[str, tuple[Any, ...], tuple[Any, ...]], ...] = (
        ("id", ("a", "a" * 64, "A_-9"), ("", "a" * 65, "a b", "é", "a\n", None, 1, ["a"])),
        ("user", ("a", "a" * 20), ("", "a" * 21, "A", "9a", "_a", "a-b", "a\n", None, 1, {})),
        ("at", (0, 2**53 - 1), (-1, 2**53, 1.0, True, None, "1", [])),
        ("content", ("x", "é" * 280, "🐶" * 280), ("", " ", " \t\n\u3000", None, 1, ["x"])),
    )

    def test_both_sides_of_every_limit(self) -> None:
        for name, good, bad in self.LIMITS:
            for value in good:
                bark = parse_bark(json.dumps({**self.GOOD, name: value}).encode())
                self.assertEqual(getattr(bark, name), value)
            for value in bad:
                self.assertBad({**self.GOOD, name: value})
            self.assertBad({k: v for k, v in self.GOOD.items() if k != name})

    def test_a_text_of_281_characters_is_too_large(self) -> None:
        self.assertBad({**self.GOOD, "content": "x" * 281}, protocol.TOO_LARGE)

    def test_what_looks_blank_is_no_text(self) -> None:
        for text in (
            *("", " ", "\n\t", "\x00", "\x1b", "\x9b", "\u202e", "\u200b\u200d", "\ufeff"),
            *("\u2800", "\u3164 \u3164", "\uffa0", "\u115f\u1160", "\u0301\u0302", "\u20dd"),
        ):
            with self.subTest(ascii(text)), self.assertRaises(BadMessage):
                parse_bark(encode_bark(Bark("1", "ark3", text, 1)))
        for text in (".", "é", "\U0001f415", "e\u0301", "\u200d\U0001f469", "日"):
            self.assertEqual(parse_bark(encode_bark(Bark("1", "ark3", text, 1))).content, text)

    def test_half_a_surrogate_pair_is_no_text(self) -> None:
        self.assertBad({**self.GOOD, "content": "a\udc36"})
        with self.assertRaises(BadMessage):
            encode_bark(Bark("x", "ark3", "\ud83d", 1))

    def test_what_is_not_an_object_is_no_bark(self) -> None:
        for value in (None, 1, "x", [], [self.GOOD]):
            self.assertBad(value)
        with self.assertRaises(BadMessage):
            parse_bark(b"{")

    def longest(self, body: bytes) -> bytes:
        """The longest line that this body can be in, alone."""
        to = " ".join([f"{'a' * 20}/{'b' * 64}"] * protocol.MAX_ADDRESSES)
        most = protocol.MAX_COUNT
        named = " ".join(["abc"] * 70)
        item = Item(body, "f" * 64, most, "u" * 20, "i" * 64, most, named, old=True)
        return encode(Put.of(most, [to], [item]))

    def test_the_largest_bark_that_is_taken_fits_a_line_at_every_hop(self) -> None:
        # Else the next hop closes the link, gets the same line again, and so on for ever.
        filled = protocol.MAX_LINE_BYTES - 200
        padded = strictjson.dumps({**self.GOOD, "more": "x" * filled})
        first = encode(Put.of(1, ["outbox/ark3"], [Item(padded)]))
        self.assertLessEqual(len(first), protocol.MAX_LINE_BYTES)
        largest = json.dumps({**self.GOOD, "content": "🐶" * 280}).encode()
        for body in (largest, padded):
            try:
                parse_bark(body)
            except BadMessage as fault:
                self.assertEqual(fault.code, protocol.TOO_LARGE)
                self.assertIs(body, padded)
                continue
            self.assertLessEqual(len(self.longest(body)), protocol.MAX_LINE_BYTES)

    def test_a_body_of_the_limit_fits_a_line_at_every_hop_and_a_larger_one_is_refused(self) -> None:
        spare = protocol.MAX_BODY_BYTES - len(json.dumps({**self.GOOD, "more": ""}))
        largest, more = (json.dumps({**self.GOOD, "more": "x" * (spare + i)}) for i in (0, 1))
        self.assertEqual(len(largest), protocol.MAX_BODY_BYTES)
        parse_bark(largest.encode())
        self.assertLessEqual(len(self.longest(largest.encode())), protocol.MAX_LINE_BYTES)
        with self.assertRaises(BadMessage) as caught:
            parse_bark(more.encode())
        self.assertEqual(caught.exception.code, protocol.TOO_LARGE)

    def test_a_body_has_nothing_nested_in_it(self) -> None:
        nested: Any
        for nested in ([], {}, [1], {"a": 1}, [[]]):
            self.assertBad({**self.GOOD, "more": nested})
        for hidden in ("[]", "{}", "[" * 500 + "]" * 500):
            with self.assertRaises(BadMessage):
                parse_bark(
                    b'{"more":%b,' % hidden.encode()
                    + json.dumps({**self.GOOD, "more": 1})[1:].encode()
                )
        text = '{"[]":[{}], "a"'
        self.assertEqual(
            parse_bark(json.dumps({**self.GOOD, "content": text}).encode()).content, text
        )

    def test_mentions(self) -> None:
        for text, names in (
            ("", []), ("no at all", []), ("@ark3", ["ark3"]), ("hi @ark3, @rdl!", ["ark3", "rdl"]),
            ("@rdl @ark3 @rdl", ["rdl", "ark3"]), ("(@a)", ["a"]), ("@" + "a" * 20, ["a" * 20]),
            ("@" + "a" * 21, []), ("me@ark3.org", []), ("@@ark3", []), ("@Ark3", []), ("@", []),
            ("@9a", []), ("@ark3's", ["ark3"]), ("@a-b", ["a"]), ("@ark3Z", []), ("_@ark3", []),
            ("@ark3\n@rdl", ["ark3", "rdl"]), ("@ark3@rdl", ["ark3"]),
        ):  # fmt: skip
            self.assertEqual(mentions(text), names, text)
