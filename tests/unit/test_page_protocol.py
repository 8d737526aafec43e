"""The pages' JavaScript speaks the protocol of `barker.wire.ops`: it is read here, and not run.

Left out: values that the pages compute. Tests with browsers see those.
"""

import json
import pathlib
import re
import unittest
from collections.abc import Iterator

from barker.wire.fields import is_raws
from barker.wire.ops import OPS, Hello
from barker.wire.protocol import VERSION
from barker.wire.table import Field, Spec

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted(p for d in ("webui", "monitoring/page") for p in (ROOT / d).glob("*.js"))
SENT = re.compile(r'\{\s*op: "(\w+)",?([^{}]*)\}')
RECEIVED = re.compile(r'\.op === "(\w+)"')
AWAITED = re.compile(r'const (\w+) = await this\.next\("(\w+)"\)')
# What is done with a message: a branch ends where the next begins, or with its function.
BRANCH_END = re.compile(r"\.op [!=]== |\n    \}\n")
HANDED_ON = re.compile(r"this\.(\w+)\(message\)")


def pairs(text: str) -> dict[str, str]:
    """``a: 1, b`` -> the keys of an object and the expressions of their values."""
    parts = re.split(r",\s*(?![^\[(]*[\])])", text.strip().rstrip(","))
    return {k.strip(): (v or k).strip() for k, _, v in (p.partition(":") for p in parts) if k}


def fields_of(spec: Spec) -> dict[str, Field]:
    return {field.name: field for field in spec.fields}


def reads(text: str, name: str = "message") -> set[str]:
    """The fields of the message in `name` that this reads, itself or by a method that it calls."""
    return set(re.findall(rf"\b{name}\.(\w+)", text)) - {"op"}


def branches(script: str) -> Iterator[tuple[str, str]]:
    """For each op that a script compares with: what it does then."""
    for found in RECEIVED.finditer(script):
        rest = script[found.end() :]
        end = BRANCH_END.search(rest)
        yield found[1], rest[: end.start()] if end else rest


def taken_apart(script: str, branch: str) -> set[str]:
    """The fields that methods take out of a message which the branch hands on to them."""
    names = set()
    for method in HANDED_ON.findall(branch):
        if parameters := re.search(rf"\n    {method}\(\{{([^}}]*)\}}\) \{{", script):
            names |= set(pairs(parameters[1]))
    return names


class PageProtocolTest(unittest.TestCase):
    def setUp(self) -> None:
        self.scripts = {p.name: p.read_text("utf-8") for p in SCRIPTS}

    def sent(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        for name, script in self.scripts.items():
            for op, rest in SENT.findall(script):
                yield name, op, pairs(rest)

    def test_what_a_page_sends_is_an_op_with_its_fields(self) -> None:
        seen = set()
        for script, op, values in self.sent():
            with self.subTest(script, op=op):
                fields = fields_of(OPS[op])
                self.assertLessEqual(set(values), set(fields))
                self.assertLessEqual({f.name for f in fields.values() if f.required}, set(values))
                ends = [name for name in values if fields[name].check is is_raws]
                self.assertEqual(ends, list(values)[-1:] if ends else [], "bodies come last")
                seen.add(op)
        sent = {"hello", "proof", "ping", "pong", "watch", "resolve", "put", "subscribe", "credit"}
        self.assertEqual(seen, sent)

    def test_a_literal_that_a_page_sends_passes_its_field_s_check(self) -> None:
        checked = 0
        for script, op, values in self.sent():
            for name, text in values.items():
                if re.fullmatch(r'\d+|"[^"]*"', text):
                    with self.subTest(script, op=op, field=name):
                        self.assertTrue(fields_of(OPS[op])[name].check(json.loads(text)))
                        if op == "hello" and name == Hello._fields[0]:
                            self.assertEqual(int(text), VERSION)
                    checked += 1
        self.assertGreaterEqual(checked, 4)

    def test_what_a_page_reads_is_a_field_of_the_message_that_it_has(self) -> None:
        seen, count = set(), 0
        for name, script in self.scripts.items():
            had = [(op, reads(b) | taken_apart(script, b)) for op, b in branches(script)]
            had += [(op, reads(script, variable)) for variable, op in AWAITED.findall(script)]
            for op, fields in had:
                with self.subTest(name, op=op):
                    self.assertLessEqual(fields, set(OPS[op].by_name))
                seen.add(op)
                count += len(fields)
        self.assertEqual(seen & set(OPS), seen)
        self.assertLessEqual(
            {"hello", "proof", "error", "ping", "target", "ack", "refuse", "subscribed"}
            | {"message", "gap", "unreadable", "moved", "routes"},
            seen,
        )
        self.assertGreater(count, 15)
