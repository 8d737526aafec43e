"""The walk of one bark, as chapter 11 has it, is the walk of a bark that is traced.

The chapter lists calls in blocks ``.. walk PROCESS``, a module and a function in each line. A block
is a stretch: what one process does without a break. The blocks ``arrive``, ``send`` and ``end`` are
names for their lines in the other blocks.
"""

import ast
import asyncio
import functools
import pathlib
import unittest
from collections import defaultdict
from collections.abc import Iterator

from barker.disk.files import ROOT
from tests.book.test_docs import DOCS, blocks
from tests.walk import Call, walk

# On a busy machine a turn of the loop may end early, which has calls of its own. Then we try again.
ATTEMPTS = 10
CHAPTER = DOCS / "11-the-walk-of-one-bark.rst"
NAMES = ("arrive", "send", "end")
# Where a stretch begins: what the loop calls, and what the client does first.
BEGIN = {"Arrivals.get_buffer", "TrackedSender.track", "Node._do_later", "Turns._next"}
# Which process it is: the first call of a stretch that is in one of these.
PROCESS = {
    "client/tracked.py": "bark",
    "outbox.py": "outbox",
    "bizlogic.py": "bizlogic",
    "inbox.py": "inbox",
    "client/reader.py": "listen",
}

Stretches = dict[str, list[list[Call]]]


class WalkTest(unittest.TestCase):
    maxDiff = None

    def test_the_chapter_lists_the_calls_of_a_traced_bark_in_their_order(self) -> None:
        listed = _listed()
        for _ in range(ATTEMPTS):
            walked = _stretches(asyncio.run(walk()).calls)
            if walked == listed:
                return
        self.assertEqual(_text(listed), _text(walked))


def _text(found: Stretches) -> str:
    """A line for each call."""
    return "\n".join(
        f"{process} {i + 1}: {call.file} {call.function}"
        for process, stretches in sorted(found.items())
        for i, stretch in enumerate(stretches)
        for call in stretch
    )


def _listed() -> Stretches:
    """The stretches of the chapter, by their process."""
    named: dict[str, list[Call]] = {}
    found: Stretches = defaultdict(list)
    for block in blocks(CHAPTER):
        if block.kind == "walk":
            calls: list[Call] = []
            for line in block.text.splitlines():
                words = line.split()
                calls += named[words[0]] if len(words) == 1 else [Call(*words[:2])]
            if block.word in NAMES:
                named[block.word] = calls
            else:
                found[block.word].append(calls)
    return found


def _stretches(calls: list[Call]) -> Stretches:
    """The stretches of a traced bark, by their process, without what the chapter leaves out."""
    stretches: list[list[Call]] = []
    for call in calls:
        if call.function in BEGIN:
            stretches.append([])
        if not _is_left_out(call):
            stretches[-1].append(call)
    found: Stretches = defaultdict(list)
    for stretch in stretches:
        process = next((PROCESS[call.file] for call in stretch if call.file in PROCESS), None)
        if process:
            found[process].append(stretch)
    return found


def _is_left_out(call: Call) -> bool:
    if call.function == "Turns._next" or "__" in call.function or "<" in call.function:
        return True
    if call.file.startswith("wire/"):
        return call.function != "decode"
    is_program = "/" not in call.file
    return not is_program and call.function in _of_one_statement(call.file)


@functools.cache
def _of_one_statement(file: str) -> set[str]:
    """The functions of a module whose body is one statement that has no others in it."""
    tree = ast.parse((ROOT / "barker" / pathlib.PurePosixPath(file)).read_text(encoding="utf-8"))
    return {name for name, function in _functions(tree, "") if _is_short(function)}


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield prefix + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _is_short(function: ast.FunctionDef) -> bool:
    first = 1 if ast.get_docstring(function) else 0
    body = function.body[first:]
    return len(body) <= 1 and not any(hasattr(statement, "body") for statement in body)


if __name__ == "__main__":
    unittest.main()
