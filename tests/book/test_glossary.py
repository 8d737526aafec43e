"""The glossary's terms: each is defined where the book uses it first.

The convention is one that a reader sees, too: the first time that a term stands in the running text
of a chapter, it stands in *emphasis*, alone, and is explained there. Running text has no titles,
tables, literals, code, links or comments. A plural or a participle is the term, too.
"""

import pathlib
import re
import unittest
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.book.test_docs import CHAPTERS, DOCS, number

GLOSSARY = DOCS / "glossary.rst"
# The chapters that are read in order; all others are side tracks.
LAST_OF_THE_MAIN_LINE = 10
# Terms that are everyday words as well, which no test can tell apart. Of each we ask only that some
# chapter defines it.
EVERYDAY = frozenset(
    """address behind claim column copy credit event gap health history hop job keep key lab late
    laggard leave live name owner peer place point proof pure refuse register sample secret sender
    spare target turn watch window""".split()
)


class Use(NamedTuple):
    """A term in the running text: is it in emphasis, and which words are around it?"""

    term: str
    defined: bool
    around: str


def terms() -> list[str]:
    """The glossary's terms. Fields and values, in literals, are left out: tables define those."""
    found = re.findall(r"^(\S[^\n]*)\n    \S", GLOSSARY.read_text(encoding="utf-8"), re.M)
    return [term for term in found if not term.startswith("``")]


def running_text(text: str) -> Iterator[str]:
    """The paragraphs of a chapter, without all that is no running text."""
    literal = False
    for block in re.split(r"\n\s*\n", text):
        if literal and block.startswith(" "):
            continue
        is_title = re.match(r"\S.*\n([=\-~^])\1{2,}\s*$", block)
        if not is_title and not re.match(r"\.\. |>>> |=+ |:+$", block):
            plain = re.sub(r"``.+?``|`[^`]+`_*|\[#\w+\]_|\*\*", " ", block, flags=re.S)
            yield " ".join(plain.split())
        literal = block.rstrip().endswith("::")


def uses(text: str, wanted: Sequence[str]) -> Iterator[Use]:
    """Every use of the wanted terms, in order. ``clients' key`` is no use of ``key``."""
    words = "|".join(re.escape(term) for term in sorted(wanted, key=len, reverse=True))
    by_itself = {term.lower(): term for term in wanted}
    for paragraph in running_text(text):
        for found in re.finditer(
            rf"(?<![\w'-])({words})(?:s|es|d|ed|ing)?(?![\w-])", paragraph, re.I
        ):
            a, b = found.span()
            defined = paragraph[a - 1 : a] == "*" == paragraph[b : b + 1]
            around = paragraph[max(0, a - 40) : b + 40]
            yield Use(by_itself[found[1].lower()], defined, around)


def first_uses(chapters: Sequence[pathlib.Path]) -> dict[str, tuple[int, Use]]:
    """Term -> the chapter that uses it first, and how."""
    result: dict[str, tuple[int, Use]] = {}
    for path in chapters:
        for use in uses(path.read_text(encoding="utf-8"), terms()):
            result.setdefault(use.term, (int(number(path) or 0), use))
    return result


class GlossaryTest(unittest.TestCase):
    def assertDefined(self, term: str, chapter: int, use: Use) -> None:
        with self.subTest(term, chapter=chapter):
            self.assertTrue(use.defined, f"used before it is defined: {use.around}")

    def test_a_term_that_is_used_before_its_definition_is_found(self) -> None:
        text = "Title\n=====\n\nThree acks, ``ack``. ::\n\n  ack\n\n* An *ack*\n  is a message.\n"
        self.assertEqual([use.defined for use in uses(text, ["ack"])], [False, True])
        self.assertEqual(list(uses("ack-like, stack, acknowledged", ["ack"])), [])
        self.assertEqual(
            [use.term for use in uses("A clients' key", ["key", "clients' key"])], ["clients' key"]
        )

    def test_every_term_is_used(self) -> None:
        self.assertEqual(set(terms()) - set(first_uses(CHAPTERS)), set())
        self.assertEqual(EVERYDAY - set(terms()), set())

    def test_the_main_line_defines_a_term_where_it_uses_it_first(self) -> None:
        for term, (chapter, use) in sorted(first_uses(CHAPTERS).items()):
            if term not in EVERYDAY and chapter <= LAST_OF_THE_MAIN_LINE:
                self.assertDefined(term, chapter, use)

    def test_a_side_track_defines_the_terms_that_it_brings(self) -> None:
        for term, (chapter, use) in sorted(first_uses(CHAPTERS).items()):
            if term not in EVERYDAY and chapter > LAST_OF_THE_MAIN_LINE:
                self.assertDefined(term, chapter, use)

    def test_some_chapter_defines_each_term_that_is_an_everyday_word(self) -> None:
        texts = [path.read_text(encoding="utf-8") for path in CHAPTERS]
        defined = {use.term for text in texts for use in uses(text, terms()) if use.defined}
        for term in sorted(EVERYDAY):
            with self.subTest(term):
                self.assertTrue(term in defined, "no chapter has it in emphasis")
