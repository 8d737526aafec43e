"""Strict JSON: one canonical form for each body."""

import json
import unittest

from barker.wire.protocol import BadMessage
from barker.wire.strictjson import canonical, dumps, loads


class CanonicalTest(unittest.TestCase):
    """One form for each body, and one for the same body again; see also `test_messages`."""

    def test_what_encoders_write_by_default_becomes_canonical(self) -> None:
        fields = {"b": 'é"\\/\n\x01\x7f\u2028', "a": -5, "c": True, "d": None, "é": 2**53 - 1}
        form = dumps(fields)
        for text in (
            form.decode(),
            json.dumps(fields),
            json.dumps(fields, indent="\t"),
            json.dumps(fields, ensure_ascii=False, separators=(",\t", " : ")),
            form.decode().replace("/", "\\/"),
        ):
            self.assertEqual(canonical(text.encode(), loads(text.encode())), form)

    def test_without_an_escape_only_the_shortest_form_stays_as_it_is(self) -> None:
        fields = {"id": "a1", "user": "åsa", "content": "Wörter, 🐕 and @ace", "at": 1, "n": -12}
        form = dumps(fields)
        self.assertIs(canonical(form, loads(form)), form)
        for text in (
            json.dumps(fields, ensure_ascii=False),
            form.decode().replace(":1,", ": 1,"),
            form.decode().replace(":", ":\t"),
        ):
            self.assertEqual(canonical(text.encode(), loads(text.encode())), form)
        self.assertEqual(canonical(b'{"a":-0}', {"a": 0}), b'{"a":0}')

    def test_it_is_never_longer_than_what_came(self) -> None:
        for code in range(0x180):
            for text in (json.dumps({"x": chr(code)}), f'{{"x":"\\u{code:04x}"}}'):
                form = canonical(text.encode(), loads(text.encode()))
                self.assertLessEqual(len(form), len(text.encode()))
                self.assertEqual(canonical(form, loads(form)), form)

    def test_what_has_no_such_form_is_refused(self) -> None:
        for text in (
            b'{"a":1.0}',
            b'{"a":1e15}',
            b'{"a":-0.0}',
            b'{"a":9007199254740992}',
            b'{"a":-9007199254740992}',
            b'{"a":1,"a":1}',
            b'{"a":{}}',
            b'{"a":[]}',
            b'{"a":"\\ud800"}',
        ):
            with self.subTest(text), self.assertRaises(BadMessage):
                canonical(text, loads(text))
