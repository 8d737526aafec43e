"""Admission: which barks an outbox accepts, all at once or one by one; its memory has an end."""

import random
import unittest
from collections.abc import Sequence
from typing import Any
from unittest import mock

from barker.manifold import admission
from barker.manifold.admission import Admission, Admitted
from barker.wire.bodies import Bark, encode_bark
from barker.wire.ops import Put
from barker.wire.protocol import BadMessage

# Bodies on both sides of each rule: escapes, spelling, order of fields, blank texts, bounds.
TEXTS = (
    *("wuff", "Grüße", "一二三", "🐕", "a b", 'said "no"', "C:\\temp", "tab\there", "two\nlines"),
    *("a/b", "\x7f", "\u2028", "{", "}", "[x]", ',"bodies":[', "\x01", "@ark3 come"),
    *(" ", "\u3164", "\u200b", "\u3164 x", "", "x" * 280, "x" * 281, "é" * 280, "\ud800"),
)
RAW = (
    b'{"id":"i%d","user":"rex","content":"a\\/b","at":1}',
    b'{"id":"i%d","user":"rex","content":"\\u0041","at":1}',
    b'{"id":"i%d","user":"rex","content":"\\ud83d\\ude00","at":1}',
    b'{"id":"i%d","user":"rex","content":"a\\tb","at":1}',
    b'{"id":"i%d", "user":"rex","content":"a","at":1}',
    b'{"id":"i%d","user":"rex","content":"a","at":1,"at":2}',
    b'{"id":"i%d","user":"rex","content":"a","at":1.0}',
    b'{"id":"i%d","user":"rex","content":"a","at":01}',
    b'{"id":"i%d","user":"rex","content":"a","at":-1}',
    b'{"id":"i%d","user":"rex","content":"a","at":9007199254740992}',
    b'{"id":"i%d","user":"rex","content":"a","at":99999999999999999}',
    b'{"user":"rex","id":"i%d","content":"a","at":1}',
    b'{"id":"i%d","user":"rex","content":"a","at":1,"x":{}}',
    b'{"id":"i%d","user":"Rex","content":"a","at":1}',
    b'{"id":"i %d","user":"rex","content":"a","at":1}',
    b'{"id":"i%d","user":"rex","content":"\xff","at":1}',
    b'{"id":"i%d","user":"rex","content":"a","at":1}\n',
    b'{"id":"i%d","user":"rex","content":"a',
    b'b","at":1}%d',
    b"[%d]",
)


def _body(dice: random.Random, n: int) -> bytes:
    if dice.random() < 0.2:
        return dice.choice(RAW) % n
    try:
        return encode_bark(Bark(f"i{n}", "rex", dice.choice(TEXTS), dice.choice((0, 1, 10**12))))
    except BadMessage:
        return b'{"id":"i%d","user":"rex","content":"\\ud800","at":1}' % n


def _admission() -> Admission:
    people: Any = mock.MagicMock(complete=True)
    people.__contains__.return_value = True
    return Admission("outbox", people, lambda more: "", lambda more: "", mock.Mock())


class AdmissionTest(unittest.TestCase):
    def test_promise_5_the_memory_of_authors_has_an_end_and_forgets_no_bark(self) -> None:
        checks = _admission()
        with mock.patch.object(admission, "REMEMBERED_AUTHORS", 10):
            for i in [*range(100), *range(100)]:
                body = encode_bark(Bark(f"id{i}", f"author{i}", "wuff", 1))
                admitted, faults = checks.check(Put(1, [f"outbox/author{i}"], [body]))
                self.assertEqual(faults, [])
                if admitted:
                    checks.accept(admitted)
                self.assertLessEqual(checks.authors, 10)
        self.assertFalse(checks._known.are_new({("author7", "id7")}))


class AllAtOnceTest(unittest.TestCase):
    """A line of a known author's barks is checked by one pattern, or one by one: to one result."""

    def setUp(self) -> None:
        self.checks = _admission()
        admitted, _ = self.checks.check(
            Put(1, ["outbox/rex"], [encode_bark(Bark("first", "rex", "wuff", 1))])
        )
        assert admitted
        self.checks.accept(admitted)

    def both(self, texts: Sequence[bytes]) -> tuple[Admitted | None, Admitted | None, bool]:
        put = Put(1, ["outbox/rex"], texts)
        latest = 10**15
        each, faults = self.checks._check_each(put, latest)
        return self.checks._check_all(put, latest), each, bool(faults)

    def assertSame(self, texts: Sequence[bytes]) -> bool:
        at_once, each, has_faults = self.both(texts)
        if at_once is None:
            return False
        self.assertFalse(has_faults, texts)
        assert each and each.barks and at_once.barks
        self.assertEqual(at_once.keys, each.keys)
        for mine, other in zip(at_once.barks, each.barks, strict=True):
            self.assertEqual(mine and list(mine), other and list(other), texts)
        return True

    def test_each_body_alone(self) -> None:
        texts = [text for text in TEXTS if text != "\ud800"]
        barks = [encode_bark(Bark("i", "rex", text, 7)) for text in texts]
        taken = [text for text, bark in zip(texts, barks, strict=True) if self.assertSame([bark])]
        self.assertTrue({"wuff", "Grüße", "一二三", 'said "no"', "two\nlines"} <= {*taken})
        self.assertTrue({" ", "\u3164", "", "x" * 281}.isdisjoint(taken))
        for raw in RAW:
            self.assertFalse(raw.endswith(b"\n") and self.assertSame([raw % 1]), raw)
            self.assertSame([raw % 1])

    def test_lines_of_many(self) -> None:
        dice = random.Random(7)
        taken = 0
        for _ in range(1000):
            taken += self.assertSame([_body(dice, n) for n in range(dice.randrange(1, 6))])
        self.assertGreater(taken, 100)

    def test_a_blank_text_is_refused_behind_others_of_its_author(self) -> None:
        line = [encode_bark(Bark(f"i{n}", "rex", text, 1)) for n, text in enumerate("x\u3164")]
        admitted, faults = self.checks.check(Put(1, ["outbox/rex"], line))
        assert admitted and admitted.barks
        self.assertEqual(list(admitted.barks.ids), ["i0"])
        self.assertEqual([place for place, _ in faults], [1])
