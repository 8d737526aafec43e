"""The book is true: what it quotes is there, what it shows happens, what it lists is complete.

Conventions of the chapters, all of them comments that a reader of the text may skip. Each stands
before a line ``::`` and the indented block after it:

* ``.. from FILE``: a quotation. Every line of it is in FILE, in that order and (but for the
  indentation of the whole) as it stands; a line ``...`` leaves something out.
* ``.. file NAME``: a file that the reader makes; the lab has it from here on.
* ``.. run``: commands after ``$`` and what they print. They are run, in a fresh copy of the project
  and in the order of the text (``.. run fresh``: in a new one). ``...`` stands for anything, and
  ids, epochs, times and process numbers need not be those of the text.
* ``.. seen``: what the terminal of the last ``python launch.py`` shows meanwhile, line by line,
  other lines between them.
* ``.. not run: REASON``: commands that no test can run.
* ``.. message``: lines of the protocol; each is valid.
* ``.. exchange with NAME``: what is said to that service after ``>``, and after ``<`` what it
  answers. It is said again, in the order of the text, to services that have just been started;
  ``from the first byte`` leaves out the greeting.
* ``.. walk PROCESS``: the calls that a bark causes there, in their order; see ``test_walk.py``.

``>>>`` examples run, too. A chapter goes on with the lab that the chapter before has left behind,
unless its first commands are ``.. run fresh``. The lab's ports are others than the text's, and so
are its process numbers; both are translated in either direction. Labs run side by side. A line
``.. slow`` in a chapter has its commands run only with ``BARKER_SLOW=1``.
"""

import argparse
import ast
import contextlib
import doctest
import importlib
import io
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from unittest import mock

from barker.laboratory.tour import STEPS
from barker.links import greeting
from barker.process.arguments import LEASH, Parser
from barker.wire import messages, protocol
from barker.wire.ops import OPS, Hello, Proof
from barker.wire.rights import SERVICE
from tests.tools.fleet import DEADLINE_S, SLOW, Fleet, Process, copy_of_the_project, free_shift

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.rst"
CHAPTERS = sorted(DOCS.glob("[0-9]*.rst"))
BOOK = [README, *sorted(DOCS.glob("*.rst"))]
TOP = ("barker", "docs", "monitoring", "tests", "webui")
MARKERS = ("from", "file", "run", "seen", "not run", "message", "exchange", "walk")

# Upper-case numbers of barker/ that are no limits: parts of formats, names, places.
NO_LIMITS = {
    "barker/wire/protocol.py VERSION",
    "barker/disk/segments.py FORMAT",
    "barker/disk/segments.py _READ",
    "barker/disk/keys.py _READ",
    "barker/disk/segments.py _NO_LINK",
    "barker/disk/deadletters.py _NO_LINK",
    "barker/disk/keys.py _OTHERS",
    "barker/disk/files.py _FOLDER_MODE",
    "barker/websocket/frames.py FIN",
    "barker/websocket/frames.py RSV",
    "barker/websocket/frames.py OPCODE",
    "barker/websocket/frames.py MASK",
    "barker/websocket/frames.py LENGTH",
    "barker/routing/ring.py _SPACE",
    "barker/graph/graph.py _NEVER",
    "barker/delivery/streams.py NO_LIMIT",
    "barker/graph/publisher.py NOTHING",
    "barker/launching/fleet.py LABEL_COLUMNS",
    "barker/client/way.py NAME_COLUMNS",
    "barker/client/way.py BAR_COLUMNS",
    "barker/launching/fleet.py _READY",
    "barker/launching/fleet.py _UNREAD",
    "barker/launching/commands.py MAX_PORT",
    "barker/process/arguments.py HELP_COLUMNS",
}


class Block(NamedTuple):
    """A literal block with its marker: `kind` "run", `word` what follows, `at` its line."""

    path: pathlib.Path
    at: int
    kind: str
    word: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.name}:{self.at}"


def blocks(path: pathlib.Path) -> Iterator[Block]:
    """Every literal block; without a marker, `kind` is empty."""
    lines = path.read_text(encoding="utf-8").splitlines()
    marker = ("", "")
    at = 0
    while at < len(lines):
        line = lines[at]
        found = re.fullmatch(rf"\.\. ({'|'.join(MARKERS)})(?:[ :]+(.*))?", line)
        if found:
            marker = (found[1], found[2] or "")
        elif line.endswith("::") and not line.startswith(".."):
            start = at = at + 1
            while at < len(lines) and (not lines[at] or lines[at].startswith(" ")):
                at += 1
            text = textwrap.dedent("\n".join(lines[start:at])).strip("\n")
            yield Block(path, start + 1, *marker, text)
            marker = ("", "")
            continue
        elif line:
            marker = ("", "")
        at += 1


def sections(path: pathlib.Path) -> dict[str, str]:
    """Title -> text of every section, whatever its level; markup of the title is left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    result, title = {}, ""
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line and re.fullmatch(r"([=\-~^])\1{2,}", below) and len(below) >= len(line):
            title = line.strip("`")
            result[title] = ""
        elif title:
            result[title] += line + "\n"
    return result


def tables(text: str) -> Iterator[list[list[str]]]:
    """The simple tables in a text, each as its rows of cells; a header is the first row."""
    for block in re.findall(r"^(=+ [= ]+\n(?:.+\n)+)", text, re.M):
        lines = block.splitlines()
        starts = [m.start() for m in re.finditer("=+", lines[0])]
        ends = [*starts[1:], 10_000]
        table: list[list[str]] = []
        for line in lines:
            cells = [line[a:b].strip() for a, b in zip(starts, ends, strict=True)]
            if line.startswith("="):
                continue
            if cells[0] or not table:
                table.append(cells)
            else:
                table[-1] = [f"{a} {b}".strip() for a, b in zip(table[-1], cells, strict=True)]
        yield table


def rows(text: str) -> Iterator[list[str]]:
    for table in tables(text):
        yield from table


def modules(folder: str) -> list[pathlib.Path]:
    """Every module below a folder, without the pages of text that `__init__` files are."""
    found = (ROOT / folder).rglob("*.py")
    return sorted(path for path in found if path.name not in ("__init__.py", "barker.py"))


def number(chapter: pathlib.Path) -> str:
    """``06-the-directory.rst`` -> ``6``"""
    return re.sub("^0(?=.)", "", chapter.name.partition("-")[0])


def text_of(paths: Sequence[pathlib.Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


# --- What is quoted ----------------------------------------------------------------------------


class QuotationTest(unittest.TestCase):
    def test_what_is_quoted_is_in_the_file_it_is_said_to_be_in(self) -> None:
        count = 0
        for path in BOOK:
            for block in blocks(path):
                if block.kind == "from":
                    count += 1
                    with self.subTest(str(block)):
                        self.assertQuoted(block)
        self.assertGreater(count, 20)

    def assertQuoted(self, block: Block) -> None:
        source = (ROOT / block.word).read_text(encoding="utf-8")
        wanted = [line.rstrip() for line in block.text.splitlines()]
        have = [line.rstrip() for line in source.splitlines()]
        pieces: list[list[str]] = [[]]
        for line in wanted:
            if line.strip() in ("...", "# ..."):
                pieces.append([])
            else:
                pieces[-1].append(line)
        at = 0
        for piece in pieces:
            while piece and not piece[-1]:
                piece.pop()
            while piece and not piece[0]:
                piece.pop(0)
            if not piece:
                continue
            found = next((i for i in range(at, len(have)) if _is_at(piece, have, i)), None)
            if found is None:
                self.fail(f"not in {block.word}, or not in this order:\n" + "\n".join(piece))
            at = found + len(piece)


def _is_at(piece: list[str], have: list[str], at: int) -> bool:
    """Are these the lines from `at` on, but for a uniform indentation?"""
    if at + len(piece) > len(have) or have[at].lstrip() != piece[0].lstrip():
        return False
    shift = (len(have[at]) - len(have[at].lstrip())) - (len(piece[0]) - len(piece[0].lstrip()))
    if shift < 0:
        return False
    wanted = [" " * shift + line if line else "" for line in piece]
    return wanted == have[at : at + len(piece)]


class FormTest(unittest.TestCase):
    def test_every_link_leads_to_a_file(self) -> None:
        for path in BOOK:
            text = path.read_text(encoding="utf-8")
            targets = re.findall(r"<([^<>\s]+)>`_", text)
            targets += re.findall(r"(?m)^\.\. _[^_].*: (\S+)$", text)
            for target in targets:
                if not re.match(r"(https?|mailto):", target):
                    with self.subTest(path.name, link=target):
                        self.assertTrue((path.parent / target.partition("#")[0]).exists())

    def test_the_index_lists_every_file_and_the_chapters_in_order(self) -> None:
        listed = re.findall(r"<([^<>\s]+\.rst)>`_", (DOCS / "index.rst").read_text("utf-8"))
        files = [path.name for path in DOCS.glob("*.rst") if path.name != "index.rst"]
        self.assertEqual(sorted(listed), sorted(files))
        numbered = [name for name in listed if name[0].isdecimal()]
        self.assertEqual(numbered, sorted(numbered))

    def test_nothing_that_only_sphinx_understands(self) -> None:
        for path in BOOK:
            text = path.read_text(encoding="utf-8")
            with self.subTest(path.name):
                self.assertNotRegex(text, r":(ref|doc|term|py:\w+):`|:caption:")
                self.assertNotRegex(text, r"\.\. (toctree|literalinclude|code-block)")

    def test_lines_fit_a_terminal(self) -> None:
        for path in BOOK:
            text = path.read_text(encoding="utf-8")
            # What is shown as it is may be longer; a message has no line breaks at all.
            shown = {
                line: block.kind in ("message", "exchange")
                for block in blocks(path)
                for line in block.text.splitlines()
            }
            for i, line in enumerate(text.splitlines(), 1):
                self.assertEqual(line, line.rstrip(), f"{path.name}:{i}")
                widest = 80
                if path != README:
                    is_message = shown.get(line.strip(), shown.get(line[2:]))
                    widest = 100 if is_message is None else 1000 if is_message else 180
                self.assertLessEqual(len(line), widest, f"{path.name}:{i}")

    def test_every_chapter_has_its_parts(self) -> None:
        for path in CHAPTERS:
            wanted = {"What you need", "Break it", "Exercises", "Where next"}
            wanted |= {"What production systems do differently"}
            with self.subTest(path.name):
                self.assertEqual(wanted - set(sections(path)), set())

    def test_no_command_is_shown_without_saying_whether_it_is_run(self) -> None:
        for path in BOOK:
            for block in blocks(path):
                if re.search(r"^\$ ", block.text, re.M):
                    self.assertIn(block.kind, ("run", "not run"), str(block))

    def test_every_exercise_has_its_answer(self) -> None:
        answers = sections(DOCS / "answers.rst")
        for path in CHAPTERS:
            count = len(re.findall(r"^\d\. ", sections(path)["Exercises"], re.M))
            with self.subTest(path.name):
                self.assertGreaterEqual(count, 2)
                for i in range(1, count + 1):
                    answer = f"{number(path)}.{i}"
                    self.assertTrue(answers.get(answer), answer)


class TourTest(unittest.TestCase):
    """The laboratory's experiments and the tour's steps have one text; see also test_tour.py."""

    def test_the_laboratory_says_what_the_tour_says_in_its_order(self) -> None:
        parts = sections(DOCS / "15-the-laboratory.rst")
        titles = [step.title for step in STEPS]
        self.assertEqual([title for title in parts if title in titles], titles)
        for step in STEPS:
            said = " ".join(parts[step.title].replace("``", "").strip("-\n").split())
            with self.subTest(step.title):
                self.assertTrue(said.startswith(step.text), said[: len(step.text)])
                self.assertIn(f" True: {step.claim} ", f"{said} ")
                self.assertTrue((DOCS / step.chapter).exists())


# --- What is listed ----------------------------------------------------------------------------


class Parsed(Exception):
    """Carries a command's parser out of its `main`."""


def command_parser(module: str) -> argparse.ArgumentParser:
    """The parser that a command makes, caught at the moment when it is used."""

    def caught(self: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise Parsed(self)

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", caught),
        mock.patch.object(Parser, "parse_args", caught),
    ):
        try:
            found = importlib.import_module(module)
            if hasattr(found, "__path__"):  # a package that is run
                found = importlib.import_module(f"{module}.__main__")
            found.main([])
        except Parsed as parsed:
            parser: argparse.ArgumentParser = parsed.args[0]
            return parser
    raise AssertionError(f"{module} reads no arguments")


def command_modules() -> list[str]:
    """Every module that is a command: one with a `main`."""
    files = [p for d in ("barker", "monitoring") for p in sorted((ROOT / d).glob("*.py"))]
    found = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for path in [ROOT / "launch.py", *files]
        if re.search(r"^def main\(", path.read_text(encoding="utf-8"), re.M)
    ]
    tools = "bench bench.celebrity bench.million chaos echo simulation soak tools.picture walk"
    return [*found, *(f"tests.{tool}" for tool in tools.split())]


PARSERS = {name: command_parser(name) for name in command_modules()}
FLAGS = {
    name: {flag for action in parser._actions for flag in action.option_strings}
    for name, parser in PARSERS.items()
}
# Flags of other people's commands that the text uses.
FOREIGN = {"--help", "--version", "-m", "-c", "-9", "-STOP", "-CONT", "-n", "-l", "-h"}
ALL_FLAGS = {flag for flags in FLAGS.values() for flag in flags} | FOREIGN


def module_of(words: str) -> str | None:
    """The module that a command line starts, if it is one of ours."""
    found = re.match(r"python (?:-m ([\w.]+)|(\w+/)?([\w-]+)\.py)", words)
    if not found:
        return None
    if found[1]:
        return found[1]
    folder, stem = (found[2] or "").rstrip("/"), found[3]
    for name in (f"{folder}.{stem}" if folder else stem, f"barker.{stem}"):
        if name in PARSERS:
            return name
    return None


class ReferenceTest(unittest.TestCase):
    def test_every_flag_in_the_text_exists(self) -> None:
        for path in BOOK:
            for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line):
                    self.assertIn(flag, ALL_FLAGS, f"{path.name}:{i}")

    def test_every_command_in_the_text_exists_and_takes_the_flags_it_is_given(self) -> None:
        for path in BOOK:
            text = path.read_text(encoding="utf-8")
            for line in re.findall(r"(?:^\s*\$ |``)(python (?!-c)[^`\n]+)", text, re.M):
                for command in re.split(r" [|;&] ?", line):
                    module = module_of(command.strip())
                    if not command.strip().startswith("python") or module == "unittest":
                        continue
                    with self.subTest(path.name, command=command):
                        if module is None:  # python alone, or a file that the reader makes
                            self.assertRegex(
                                command,
                                r"python (-\S+$"
                                r"|(talk|launch-[\w-]+|parrot.*|fragile|docs/[\w/]+)\.py)",
                            )
                            continue
                        self.assertTrue(module in PARSERS or module in ("barker.", "barker..."))
                        flags = re.findall(r"(?<![\w-])--[a-z][a-z-]*", command)
                        self.assertEqual(set(flags) - FLAGS.get(module, set()), set())

    def test_the_commands_chapter_lists_every_flag_and_no_other(self) -> None:
        parts = sections(DOCS / "commands.rst")
        listed = {
            title: {
                flag
                for row in rows(text)
                for flag in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row[0])
            }
            for title, text in parts.items()
        }
        seen: dict[str, set[str]] = {}
        for module, parser in PARSERS.items():
            own = f"python {module}.py" if module == "launch" else f"python -m {module}"
            own = {"monitoring.launch": "python monitoring/launch.py"}.get(module, own)
            self.assertIn(own, parts)
            for group in parser._action_groups:
                title = {"every node": "Every node", "every service": "Every service"}.get(
                    group.title or "", own
                )
                for action in group._group_actions:
                    with self.subTest(own, flag=action.option_strings):
                        names = set(action.option_strings) - {"-h", "--help", "--version"}
                        self.assertEqual(names - listed[title], set())
                        seen.setdefault(title, set()).update(names)
                        self.assertDefault(action, parts[title], parts[own])
        for title, flags in listed.items():
            self.assertEqual(flags - seen.get(title, set()), set(), title)

    def assertDefault(self, action: argparse.Action, text: str, own: str) -> None:
        """The row of a flag says its default, if it has one; that of a port is its service's."""
        default = action.default
        if action.option_strings and type(default) in (int, float):
            row = next(r for r in rows(text) if action.option_strings[0] in r[0])
            said = " ".join(row).replace(",", "")
            if "(any)" in said:  # it is drawn each time
                return
            if action.option_strings[0] == "--port":  # each service has its own
                said = own if default else "0"
            self.assertIn(str(default).removesuffix(".0"), said)

    def test_the_protocol_chapter_is_the_table_of_the_wire(self) -> None:
        parts = sections(DOCS / "protocol.rst")
        ops = [title for title in parts if title in OPS]
        self.assertEqual(sorted(ops), sorted(OPS))
        for op, spec in OPS.items():
            with self.subTest(op):
                listed = [
                    (row[0].strip("`"), row[1])
                    for header, *table in tables(parts[op])
                    if header[1] == "must"
                    for row in table
                ]
                written = [(f.name, "yes" if f.required else "no") for f in spec.written]
                self.assertEqual(listed, written)

    def test_every_code_of_a_refusal_or_an_error_is_explained(self) -> None:
        parts = sections(DOCS / "protocol.rst")
        listed = {row[0].strip("`") for op in ("refuse", "error") for row in rows(parts[op])}
        codes = {v for k, v in vars(protocol).items() if k.isupper() and type(v) is str}
        self.assertGreater(len(codes), 10)
        self.assertEqual(codes - listed, set())

    def test_every_op_has_an_example_that_is_valid(self) -> None:
        shown = set()
        for path in BOOK:
            for block in blocks(path):
                if block.kind not in ("message", "exchange"):
                    continue
                for line in block.text.splitlines():
                    line = line.removeprefix("> ").removeprefix("< ").replace(",...", "")
                    line = line.replace(":...", ":1").replace("[...]", "[{},{}]")
                    with self.subTest(str(block), line=line):
                        messages.decode(line.encode())
                        op, *order = json.loads(line)
                        written = [f.name for f in OPS[json.loads(line)["op"]].written]
                        self.assertEqual(order, [name for name in written if name in order])
                        self.assertEqual(op, "op")
                        if path.name == "protocol.rst":
                            shown.add(json.loads(line)["op"])
        self.assertEqual(shown, set(OPS))

    def test_the_limits_chapter_lists_every_constant_with_its_value(self) -> None:
        """A section for each folder; in its table a row like ``**ring.py**`` names the module."""
        listed: dict[str, str] = {}
        for title, text in sections(DOCS / "limits.rst").items():
            if title.startswith("barker/"):
                module = ""
                for row in rows(text):
                    if row[0].startswith("**"):
                        module = title + row[0].strip("*")
                    elif row[0].startswith("``"):
                        name = f"{module} {row[0].strip('`')}"
                        self.assertNotIn(name, listed)
                        listed[name] = row[1]
                        self.assertTrue(row[2], name)
        constants = dict(number_constants())
        self.assertEqual(set(listed) - set(constants), set(), "is no constant")
        self.assertEqual(set(constants) - set(listed), set(), "is not in the chapter")
        for name, value in constants.items():
            with self.subTest(name):
                self.assertAlmostEqual(quantity(listed[name]), value)
        for row in rows(sections(DOCS / "limits.rst")["Time-outs"]):
            name = row[0].strip("`")
            if name.isupper():
                same = [v for full, v in constants.items() if full.endswith(f" {name}")]
                self.assertIn(quantity(row[1]), same, name)

    def test_every_module_and_every_op_has_its_place_in_some_chapter(self) -> None:
        """One table has all modules, by folder, and says which chapter takes each apart."""
        placed: dict[str, str] = {}
        folder = ""
        for name, chapter, idea in rows(sections(DOCS / "modules.rst")["Modules"]):
            name = name.strip("`")
            if name.endswith("/"):
                folder = name
            if name.endswith((".py", "/")):
                self.assertTrue(idea, name)
            if name.endswith(".py"):
                placed[folder + name] = chapter
        files = [path for folder in ("barker", "monitoring") for path in modules(folder)]
        self.assertEqual(
            sorted(placed), sorted(path.relative_to(ROOT).as_posix() for path in files)
        )
        texts = {number(path): text_of([path]) for path in CHAPTERS}
        for name, chapter in placed.items():
            with self.subTest(name):
                self.assertTrue(name in texts[chapter], f"not in chapter {chapter}")
        ops = [f"``{op}``" for op in OPS]
        self.assertEqual([op for op in ops if op not in text_of(CHAPTERS)], [])

    def test_every_file_that_is_named_is_there(self) -> None:
        made = ("var/", "webui/barker_host.js", "monitoring/monitor_host.js")
        for path in BOOK:
            for name in re.findall(r"``([\w.-]+/[\w./-]*)``", path.read_text(encoding="utf-8")):
                if not name.startswith(made) and name.partition("/")[0] in TOP:
                    with self.subTest(path.name, name=name):
                        self.assertTrue((ROOT / name).exists())
            for name in re.findall(r"\.\. image:: (\S+)", path.read_text(encoding="utf-8")):
                self.assertTrue((path.parent / name).exists(), name)

    def test_the_glossary_defines_each_word_once_and_in_order(self) -> None:
        words = re.findall(r"^(\S[^\n]*)\n    \S", (DOCS / "glossary.rst").read_text("utf-8"), re.M)
        self.assertGreater(len(words), 30)
        self.assertEqual(words, sorted(set(words), key=lambda word: word.strip("`").lower()))


UNITS = {
    "": 1, "KiB": 2**10, "MiB": 2**20, "s": 1, "ms": 0.001, "heartbeats": 1, "heartbeat": 1,
    "bytes": 1, "characters": 1, "points": 1, "port": 1, "times": 1,
}  # fmt: skip


def quantity(text: str) -> float:
    """What a cell like ``64 KiB`` or ``1,200,000`` says."""
    number, _, unit = text.partition(" ")
    return float(number.replace(",", "")) * UNITS[unit]


def number_constants() -> Iterator[tuple[str, float]]:
    """Every upper-case name that a module of barker assigns a number to, and the number."""
    for path in modules("barker"):
        name_of_module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.Assign):
                continue
            for target in node.targets:
                for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if not isinstance(name, ast.Name) or not name.id.isupper():
                        continue
                    value = getattr(importlib.import_module(name_of_module), name.id)
                    full = f"{path.relative_to(ROOT).as_posix()} {name.id}"
                    if type(value) in (int, float) and full not in NO_LIMITS:
                        yield full, value


# --- What is shown -----------------------------------------------------------------------------

# Ports of the text: all that have to be others where the tests run.
PORTS = (
    5672, 5680, 5681, 5682, 5690, 5691, 5695, 5696, 5697, 5698, 5700, 5800, 5801, 5802, 5803, 5820,
    5821, 9001,
)  # fmt: skip
# A launcher that goes on while the text does; the tour has ports of its own, and an end.
LAUNCHER = r"python (\S*/)?launch[\w-]*\.py(?! --tour)"
# Services that a reader makes.
OWN_SERVICES = r"python (parrot|fragile)"
_PORT = re.compile(r"(?<![\w.])(?<!\d:)" + f"({'|'.join(map(str, PORTS))})" + r"(?![\w.]\d|\d|:\d)")
# What differs between any two runs.
VARIES = [
    (re.compile(r"\b[0-9a-f]{64}\b"), "<64>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<32>"),
    (re.compile(r"\b[0-9a-f]{24}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<epoch>"),
    (re.compile(r"(?m)^[0-9a-f]{8} (?=\{)"), "<crc> "),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<clock>"),
    (re.compile(r"\b1\d{12}\b"), "<ms>"),
    (re.compile(r"\b\d+\.\d+ s\b"), "<seconds>"),
    (re.compile(r"(?m)^([\w-]+) +\| "), r"\1 | "),  # a label is as wide as its port
    (re.compile(r"(?m)^\[\d+\]"), "[pid]"),
    (re.compile(r"(?m)^\[pid\] \d+$"), "[pid] pid"),
    (re.compile(r"\((\w+) \d{2,}\)"), r"(\1 pid)"),
]


def plain(text: str) -> str:
    """A text without what differs between two runs."""
    for pattern, name in VARIES:
        text = pattern.sub(name, text)
    return text


def pattern(lines: Sequence[str]) -> str:
    """A regular expression for lines of output, `...` standing for anything."""
    result = ""
    for line in lines:
        if line.strip() == "...":
            result += r"(?:.*\n)*?"
        else:
            parts = plain(line.rstrip()).split("...")
            result += ".*?".join(map(re.escape, parts)) + r"[ \t]*\n"
    return result


# What the reader has made on the way.
FILES = {
    block.word: block.text + "\n"
    for path in CHAPTERS
    for block in blocks(path)
    if block.kind == "file"
}


def listed(text: str) -> list[tuple[str, str]]:
    """The process numbers that a launcher prints, and what they run."""
    return re.findall(r"(?m)^\[(\d+)\] (?!\S+ ended)([a-z]\S*.*?) *$", text)


# The numbers that processes have all through the book.
LISTED = [
    pair
    for path in [*CHAPTERS, README]
    for block in blocks(path)
    if block.kind == "run"
    for pair in listed(block.text)
]


class Terminal(Process):
    """A command that goes on while the text does; its output is kept as it comes."""

    program = ("sh", "-c")

    def __init__(self, lab: "Lab", command: str) -> None:
        self.at = 0  # lines that the text has shown
        self._lab = lab
        env = {**lab.env, LEASH: "1"}
        super().__init__([f"exec {command}"], lab.cwd, env=env, start_new_session=True)

    @property
    def shown(self) -> list[str]:
        return [self._lab.as_in_text(line) for line in self.lines]

    def text(self) -> str:
        return plain("".join(line + "\n" for line in self.shown[self.at :]))

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.thaw()
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(5.0)
        self.close()


class Lab:
    """A fresh copy of the project in a folder with a space in its name, and a shell in it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="barker docs ", ignore_cleanup_errors=True
        )
        self.root = self.cwd = copy_of_the_project(pathlib.Path(self._folder.name) / "fresh copy")
        tools = pathlib.Path(self._folder.name) / "bin"
        tools.mkdir()
        python = tools / "python"
        python.symlink_to(sys.executable)  # what it prints for a reader to type is "python", too
        self.env = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "LC_ALL": "C.UTF-8",
        }
        self.shift = free_shift(PORTS)
        self.pids: dict[str, int] = {}  # number in the text -> number here
        self.launcher: Terminal | None = None
        self.terminals: list[Terminal] = []
        self.jobs: list[Terminal] = []  # what the text has started with `&`
        for name, text in FILES.items():
            (self.root / name).write_text(text, encoding="utf-8")

    def close(self) -> None:
        for pid in self.pids.values():  # what the text has frozen can't stop otherwise
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)
        for terminal in reversed(self.terminals):
            terminal.stop()
        self._folder.cleanup()

    # --- translation ---

    def here(self, text: str) -> str:
        """Ports of the text -> ports of this lab."""
        return _PORT.sub(lambda m: str(int(m[1]) + self.shift), text)

    def as_in_text(self, text: str) -> str:
        """What is printed here -> what a reader's terminal would have shown."""
        place = 5672 + self.shift
        text = text.replace(f" --directory 127.0.0.1:{place}", "")
        return re.sub(
            r"(?<![\w.])(\d{4,5})(?!\w)",
            lambda m: str(int(m[1]) - self.shift) if int(m[1]) - self.shift in PORTS else m[1],
            text,
        )

    def translate(self, command: str) -> str:
        """A command line of the text as it has to be here."""
        if re.match(r"kill\b", command):
            jobs = " ".join(str(t.popen.pid) for t in self.jobs if t.popen.poll() is None)
            command = re.sub(r"\b\d{4}\b", lambda m: str(self.pids[m[0]]), command)
            return command.replace("$(jobs -p)", jobs)
        command = self.here(command)

        def more(match: re.Match[str]) -> str:
            line = match[0].rstrip()
            module = module_of(line) or ""
            if re.match(LAUNCHER, line):
                return f"{line} --shift-ports {self.shift} "
            if module == "barker.judge":  # it has a system of its own
                return line
            if module.startswith(("barker.", "monitoring.monitor")) or re.match(OWN_SERVICES, line):
                line += f" --directory 127.0.0.1:{5672 + self.shift}"
                default = {
                    "barker.directory": 5672,
                    "barker.bizlogic": 5680,
                    "barker.followers": 5690,
                    "barker.outbox": 5800,
                    "barker.inbox": 5820,
                }.get(module)
                if default and "--port" not in line:
                    line += f" --port {default + self.shift}"
            return line + " "

        return re.sub(r"python (?:-m [\w.]+|[\w/-]+\.py)[^|;&>]*", more, command)

    # --- what a block asks for ---

    def run(self, block: Block) -> None:
        """Every command of a block, each held against what the text says that it prints."""
        steps = [s.rstrip("\n").split("\n") for s in re.split(r"(?m)^\$ ", block.text)[1:]]
        if not block.text.startswith("$ "):
            raise AssertionError(f"{block}: begins with no command")
        for first, *lines in steps:
            while lines and lines[0].startswith("> "):
                first += "\n" + lines.pop(0)[2:]
            while lines and not lines[-1]:
                lines.pop()
            try:
                self._step(first, lines)
            except AssertionError as fault:
                raise AssertionError(f"{block}: $ {first}\n{fault}") from None

    def _step(self, command: str, expected: list[str]) -> None:
        if command.startswith("cd "):
            self.cwd = self.cwd / command[3:]
        elif re.match(LAUNCHER, command):
            terminal = self._start(command.removesuffix(" &"))
            self._until_ready(terminal)
            if "monitoring" not in command:
                self.launcher = terminal
                self._until_it_has_the_graph(terminal)
            self._wait(terminal, expected)
            self._learn_pids(terminal, expected)
        elif command.endswith(" &"):
            terminal = self._start(command[:-2])
            self.jobs.append(terminal)
            if expected and (job := re.fullmatch(r"\[\d+\] (\d+)", expected[0])):
                self.pids[job[1]] = terminal.popen.pid
                expected = expected[1:]
            self._wait(terminal, expected)
        else:
            done = subprocess.run(
                ["sh", "-c", self.translate(command)],
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                timeout=4 * DEADLINE_S,  # one of them is the whole tour
            )
            output = plain(self.as_in_text(done.stdout))
            if output and not output.endswith("\n"):
                output += "\n"
            if not re.fullmatch(pattern(expected), output):
                raise AssertionError(f"printed:\n{output}expected:\n" + "\n".join(expected))

    def _start(self, command: str) -> Terminal:
        terminal = Terminal(self, self.translate(command))
        self.terminals.append(terminal)
        return terminal

    def _until_ready(self, terminal: Terminal) -> None:
        """A reader is slower than the services that a launcher starts; we wait for all of them."""
        end = time.monotonic() + DEADLINE_S
        while True:
            shown = "\n".join(terminal.shown)
            if re.search(r"(?m)^Ready: |\| READY ", shown):
                return
            if time.monotonic() > end:
                raise AssertionError(f"not all services are ready:\n{shown}")
            time.sleep(0.02)

    def _until_it_has_the_graph(self, terminal: Terminal) -> None:
        """A bizlogic serves a moment after its READY: when its copy of the graph has come."""
        started = [command for _, command in listed("\n".join(terminal.shown))]
        if not any(command.startswith("bizlogic") for command in started):
            return
        end = time.monotonic() + DEADLINE_S
        while True:
            done = subprocess.run(
                ["sh", "-c", self.translate("python docs/talk.py 5672")],
                cwd=self.root,
                env=self.env,
                input='{"op":"watch","prefix":"bizlogic"}\n',
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                timeout=DEADLINE_S,
            )
            if '"name":"bizlogic-' in done.stdout:
                return
            if time.monotonic() > end:
                raise AssertionError(f"no bizlogic serves:\n{done.stdout}")

    def _wait(self, terminal: Terminal, expected: list[str]) -> None:
        """Until the terminal has shown it; what follows is left for later."""
        wanted = pattern(expected)
        end = time.monotonic() + DEADLINE_S
        while True:
            found = re.match(wanted, terminal.text())
            if found:
                terminal.at += found[0].count("\n")
                return
            if time.monotonic() > end:
                shown = terminal.text()
                raise AssertionError(f"showed:\n{shown}expected:\n" + "\n".join(expected))
            time.sleep(0.02)

    def seen(self, block: Block) -> None:
        """Lines of a block come by in the launcher's terminal, in this order."""
        assert self.launcher, f"{block}: no launcher runs"
        for line in block.text.splitlines():
            if line.strip() != "...":
                try:
                    self._wait(self.launcher, ["...", line])
                except AssertionError as fault:
                    raise AssertionError(f"{block}: {fault}") from None

    def _learn_pids(self, terminal: Terminal, expected: list[str]) -> None:
        """Pair the process numbers of the text with ours, by what they run."""
        ours: dict[str, list[int]] = {}
        for number, command in listed("\n".join(terminal.shown)):
            ours.setdefault(command, []).append(int(number))
        for number, command in [*listed("\n".join(expected)), *LISTED]:
            if number not in self.pids and ours.get(command):
                self.pids[number] = ours[command].pop(0)


class Chain:
    """Chapters that share a lab: the first one begins it, the others go on with it."""

    # doctest catches what is printed by taking the place of standard output, which is one for all.
    _printing = threading.Lock()

    def __init__(self, chapters: list[pathlib.Path]) -> None:
        self.chapters = chapters
        self.faults: list[tuple[pathlib.Path, str]] = []
        self._lab = Lab()

    def read(self) -> None:
        """Do all that the chapters say; `faults` has what came out differently."""
        try:
            for path in self.chapters:
                try:
                    self._chapter(path)
                except Exception as fault:
                    self.faults.append((path, f"{type(fault).__name__}: {fault}"))
        finally:
            self._lab.close()

    def _chapter(self, path: pathlib.Path) -> None:
        text = path.read_text(encoding="utf-8")
        shown = [(block.at, block) for block in blocks(path) if block.kind in ("run", "seen")]
        examples = doctest.DocTestParser().get_examples(text, path.name)
        typed = [(example.lineno + 1, example) for example in examples]
        items: list[tuple[int, Block | doctest.Example]] = [*shown, *typed]
        items.sort(key=lambda item: item[0])
        self._lab.cwd = self._lab.root
        globs: dict[str, Any] = {}
        try:
            waiting: list[doctest.Example] = []
            for _, item in items:
                if isinstance(item, doctest.Example):
                    waiting.append(item)
                else:
                    self._examples(path, waiting, globs)
                    waiting = []
                    self._block(item)
            self._examples(path, waiting, globs)
        finally:
            for value in globs.values():  # who types at a prompt closes nothing
                if isinstance(value, socket.socket):
                    value.close()

    def _block(self, block: Block) -> None:
        if block.kind == "seen":
            self._lab.seen(block)
            return
        if block.word == "fresh":
            self._lab.close()
            self._lab = Lab()
        self._lab.run(block)

    def _examples(
        self, path: pathlib.Path, examples: list[doctest.Example], globs: dict[str, Any]
    ) -> None:
        for example in examples:
            # Only what is a port and nothing else: the ring of `outbox-5800` must be the text's.
            example.source = re.sub(
                r"(?<=[(, ])\d{4}(?=[),])", lambda m: self._lab.here(m[0]), example.source
            )
        test = doctest.DocTest(examples, globs, path.name, str(path), 0, None)
        report = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        with self._printing, warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            result = runner.run(test, out=report.write, clear_globs=False)
        globs.update(test.globs)
        if result.failed:
            raise AssertionError(report.getvalue())


def chains(chapters: Sequence[pathlib.Path]) -> list[list[pathlib.Path]]:
    """The chapters by the lab they need: one begins where the first commands are ``run fresh``."""
    result: list[list[pathlib.Path]] = []
    for path in chapters:
        first = next((block for block in blocks(path) if block.kind == "run"), None)
        if not result or (first and first.word == "fresh"):
            result.append([])
        result[-1].append(path)
    return result


def is_slow(path: pathlib.Path) -> bool:
    return bool(re.search(r"(?m)^\.\. slow$", path.read_text(encoding="utf-8")))


@unittest.skipUnless(os.name == "posix", "the text's commands are a Unix shell's")
class ShownTest(unittest.TestCase):
    """Everything that the chapters show happens, in their order."""

    alone = True  # chapters show what comes within a time

    def test_the_commands_and_examples_of_all_chapters(self) -> None:
        only = os.environ.get("BARKER_CHAPTER", "")
        wanted = []
        for chain in chains([README, *CHAPTERS]):
            if not (SLOW or only):  # what comes after a slow one may go on with what that has begun
                chain = list(itertools.takewhile(lambda path: not is_slow(path), chain))
            if any(only in path.name for path in chain):
                wanted.append(Chain(chain))
        # Most of the time is waiting: for heartbeats, for a settling directory.
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(Chain.read, wanted))
        for read in wanted:
            for path, fault in read.faults:
                with self.subTest(path.name):
                    self.fail(fault)


class ExchangeTest(unittest.TestCase):
    """The reference's exchanges, had again with a system that has just been started."""

    def test_every_op_is_said_and_answered_as_the_reference_has_it(self) -> None:
        exchanges = [b for b in blocks(DOCS / "protocol.rst") if b.kind == "exchange"]
        with Fleet(heartbeat_s=60.0) as fleet:
            started = {
                5672: fleet.directory(),
                5820: fleet.inbox("--keep", "2"),
                5690: fleet.followers(),
                5680: fleet.bizlogic(),
                5800: fleet.outbox(),
            }
            ports = {str(number): str(service.port) for number, service in started.items()}
            self._here, self._there = ports, {b: a for a, b in ports.items()}
            self._ids: dict[str, str] = {}  # epochs of the text -> epochs here
            secret = (fleet.state / "secret").read_bytes().strip()
            for block in exchanges:
                with self.subTest(str(block)):
                    self._until_had(block, secret)
        said = {op for b in exchanges for op in re.findall(r'[<>] {"op":"(\w+)"', b.text)}
        self.assertEqual(said, set(OPS))

    def _until_had(self, block: Block, secret: bytes) -> None:
        """What was put to an outbox is in an inbox a moment later; until then, ask again."""
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.assertHad(block, secret)
            except AssertionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def assertHad(self, block: Block, secret: bytes) -> None:
        found = re.match(r"with \w+-(\d+)", block.word)
        assert found, block.word
        with socket.create_connection(("127.0.0.1", int(self._here[found[1]])), 5.0) as peer:
            answers = peer.makefile("rb")
            if "first byte" not in block.word:
                nonce = "00" * 16
                peer.sendall(messages.encode(Hello(protocol.VERSION, SERVICE, nonce)) + b"\n")
                theirs = json.loads(answers.readline())["nonce"]
                mac = greeting.mac(secret, greeting.OPENER, SERVICE, nonce, theirs)
                peer.sendall(messages.encode(Proof(mac, "me")) + b"\n")
                self.assertIn(b'"proof"', answers.readline())
            for side, lines in itertools.groupby(block.text.splitlines(), lambda line: line[0]):
                shown = [line[2:] for line in lines]
                if side == ">":  # what is said in one go comes in one read, and is acked once
                    peer.sendall("".join(self._translate(line) + "\n" for line in shown).encode())
                else:
                    for line in shown:
                        self.assertAnswer(line, answers.readline().decode())

    def assertAnswer(self, shown: str, came: str) -> None:
        for text, here in zip(_EPOCH.findall(shown), _EPOCH.findall(came), strict=False):
            self._ids[text] = here
        # Between bodies there is a tab, which a text can't show.
        came = _NUMBER.sub(lambda m: self._there.get(m[0], m[0]), came.replace(",\t", ","))
        self.assertRegex(plain(came), f"^{pattern([shown])}$")

    def _translate(self, line: str) -> str:
        line = _NUMBER.sub(lambda m: self._here.get(m[0], m[0]), line)
        return _EPOCH.sub(lambda m: self._ids.get(m[0], m[0]), line)


_EPOCH = re.compile(r"\b[0-9a-f]{16}\b")
_NUMBER = re.compile(r"(?<![\w.])\d{4,5}(?!\w)")


class AnswersTest(unittest.TestCase):
    def test_the_examples_in_the_answers_and_reference_run(self) -> None:
        for path in (p for p in BOOK if p not in CHAPTERS and p != README):
            with self.subTest(path.name):
                text = path.read_text(encoding="utf-8")
                test = doctest.DocTestParser().get_doctest(text, {}, path.name, str(path), 0)
                report = io.StringIO()
                runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
                if runner.run(test, out=report.write).failed:
                    self.fail(report.getvalue())


class ReadmeTest(unittest.TestCase):
    def test_it_maps_every_folder_and_every_chapter(self) -> None:
        text = README.read_text(encoding="utf-8")
        for name in ("launch.py", "barker/", "webui/", "monitoring/", "tests/", "docs/"):
            self.assertIn(f"``{name}", text)
        for path in CHAPTERS:
            self.assertRegex(text, rf"(?m)^\.\. _.+: docs/{path.name}$|<docs/{path.name}>`_")

    def test_its_two_commands_are_there(self) -> None:
        text = README.read_text(encoding="utf-8")
        self.assertIn("$ python launch.py\n", text)
        self.assertIn("$ python -m unittest\n", text)
