"""What `--help` shows: one paragraph, options, two examples, on 80 columns and without markup."""

import os
import re
import unittest
from unittest import mock

from barker.process.arguments import HELP_COLUMNS
from tests.book.test_docs import PARSERS

LISTS = ("barker", "monitoring")  # they show the commands, and need no examples


class HelpTest(unittest.TestCase):
    def shown(self, name: str, columns: int = 80) -> str:
        with mock.patch.dict(os.environ, {"COLUMNS": str(columns), "NO_COLOR": "1"}):
            parser = PARSERS[name]
            # The interpreter of this test may lie in a long folder that is in no PATH.
            parser.prog = parser.prog.replace(parser.prog.partition(" ")[0], "python3", 1)
            return parser.format_help()

    def test_it_fits_any_terminal_from_80_columns_on(self) -> None:
        for name in PARSERS:
            for columns in (80, 200):
                with self.subTest(name, columns=columns):
                    text = self.shown(name, columns)
                    body = text.partition("examples:")[0]
                    self.assertLessEqual(max(map(len, body.splitlines())), HELP_COLUMNS)
                    for example in _examples(text):
                        self.assertLessEqual(len(f"  python3 {example}"), HELP_COLUMNS)

    def test_it_is_plain_text_also_where_colours_are_wanted(self) -> None:
        """From Python 3.14 on argparse colours it, and what is printed shows such signs as text."""
        with mock.patch.dict(os.environ, {"FORCE_COLOR": "1"}):
            for name, parser in PARSERS.items():
                with self.subTest(name):
                    self.assertNotIn("\x1b", parser.format_help())

    def test_no_word_is_broken(self) -> None:
        for name in PARSERS:
            with self.subTest(name):
                for columns in range(50, 81):
                    for line in self.shown(name, columns).splitlines():
                        self.assertNotRegex(line, r"[a-z]-$")

    def test_it_has_no_markup(self) -> None:
        for name in PARSERS:
            with self.subTest(name):
                self.assertNotIn("`", self.shown(name))

    def test_it_is_a_paragraph_options_and_two_examples(self) -> None:
        for name in PARSERS:
            with self.subTest(name):
                text = self.shown(name)
                parts = text.split("\n\n")
                self.assertTrue(parts[0].startswith("usage: python3 "))
                self.assertLessEqual(parts[1].count("\n"), 5)
                self.assertRegex(parts[1], r"^[A-Z][^:]+")
                self.assertRegex(parts[2], r"^(positional arguments|options):\n")
                self.assertEqual(len(_examples(text)), 0 if name in LISTS else 2)

    def test_examples_are_commands_that_can_be_typed(self) -> None:
        for name, parser in PARSERS.items():
            for example in _examples(self.shown(name)):
                with self.subTest(name, example=example):
                    start = "launch.py" if name == "launch" else f"-m {name}"
                    start = "monitoring/launch.py" if name == "monitoring.launch" else start
                    self.assertTrue(f"{example} ".startswith(f"{start} "), example)
                    parser.parse_args(example.removeprefix(start).split())


def _examples(text: str) -> list[str]:
    """The examples of a help, without the word that starts Python."""
    return re.findall(r"(?m)^  \S+ (.*)$", text.partition("examples:\n")[2])
