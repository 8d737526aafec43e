"""Task: a change of the system that a reader makes, and the cases by which it is judged.

A task is *solved* if the tree of now was judged, and passed. `Memory` has the digest of the tree
that was judged: after any later change of it the task counts as unknown until it is judged again.
"""

import hashlib
import pathlib
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from barker.disk.files import ROOT, make_folder
from barker.laboratory.conformance import Case
from barker.process.arguments import HELP_COLUMNS
from barker.process.terminal import python
from barker.wire import strictjson
from barker.wire.protocol import BadMessage

# Files that may decide whether a task is solved.
JUDGED = ("barker/**/*.py", "docs/labs/*.py", "tests/simulation/*.py")
# How long the whole system is hurt, once all cases have passed.
TRIAL_S = 6.0

OPEN, SOLVED, FAILED, CHANGED = "open", "solved", "not solved", "judged before the last change"


class Task(NamedTuple):
    """One of them. `about` is paragraphs; `where` has a file, and what to look at in it.

    `program` is run as a service of that `role`; the cases try it, and then a whole system with it
    is hurt. Without `replaceable`, the task is about the tree alone, and no other program.
    """

    name: str
    title: str
    chapter: str  # the page of the book
    about: str
    where: Sequence[tuple[str, str]]
    role: str
    cases: Sequence[Case]
    program: str = ""  # our own, from the project's folder
    replaceable: bool = True

    @property
    def command(self) -> list[str]:
        """The program of the tree."""
        return [sys.executable, str(ROOT / (self.program or f"barker/{self.role}.py"))]


def text_of(task: Task) -> list[str]:
    """The task, where to look, and what passes."""
    judge = f"{python()} -m barker.judge {task.name}"
    lines = [f"{task.title} ({page_of(task)})", ""]
    for paragraph in textwrap.dedent(task.about).strip().split("\n\n"):
        if paragraph.startswith("  "):
            lines += [*paragraph.split("\n"), ""]
        else:
            lines += [*textwrap.wrap(" ".join(paragraph.split()), HELP_COLUMNS), ""]
    lines += ["Where to look", ""]
    lines += [line for file, what in task.where for line in _row(file, what, 40)]
    lines += ["", "What passes", ""]
    lines += [line for case in task.cases for line in _row(case.name, case.rule)]
    lines += _row("the promises", "a system with it is killed, frozen and cut")
    lines += ["", "Have it judged", "", f"  {judge} --judge"]
    if task.replaceable:
        lines += [f"  {judge} --with 'COMMAND'   (your own {task.role})"]
    return lines


def _row(name: str, text: str, columns: int = 16) -> list[str]:
    room = HELP_COLUMNS - columns - 2
    first, *more = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [f"  {name:<{columns}}{first}", *(f"  {'':<{columns}}{line}" for line in more)]


def row_of(task: Task, state: str) -> str:
    """Its line in the list of all."""
    return f"{task.name:<8}{task.title:<26}chapter {task.chapter.partition('-')[0]:<6}{state}"


def page_of(task: Task) -> str:
    return f"docs/{task.chapter}.rst"


def digest(root: pathlib.Path = ROOT) -> str:
    """Of all files of the tree that a task may be about."""
    sums = hashlib.sha256()
    for path in sorted({path for pattern in JUDGED for path in root.glob(pattern)}):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # removed meanwhile; or Emacs's lock of a file, a link to nowhere
            continue
        sums.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return sums.hexdigest()


class Memory:
    """A small file with the last judgement of each task."""

    def __init__(self, path: pathlib.Path = ROOT / "var" / "labs.json") -> None:
        self._path = path

    def _read(self) -> dict[str, Any]:
        try:
            found = strictjson.loads(self._path.read_bytes())
        except (OSError, BadMessage):
            return {}
        rows = found if isinstance(found, Mapping) else {}
        return {name: row for name, row in rows.items() if isinstance(row, Mapping)}

    def write(self, name: str, tree: str, *, passed: bool) -> None:
        """That tree was judged. Raises OSError."""
        rows = {**self._read(), name: {"tree": tree, "passed": passed}}
        make_folder(self._path.parent)
        self._path.write_bytes(strictjson.dumps(rows))

    def states(self, names: Sequence[str], tree: str) -> Iterator[str]:
        """Of each task, for the tree of now."""
        rows = self._read()
        for name in names:
            row = rows.get(name)
            if row is None:
                yield OPEN
            elif row.get("tree") != tree:
                yield CHANGED
            else:
                yield SOLVED if row.get("passed") is True else FAILED
