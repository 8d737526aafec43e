"""Patching: applies a unified diff, with nothing but Python.

Text before the first file is left alone, as other tools leave it. A hunk has to be found as it
stands, once or at its line: a patch that does not fit raises ValueError.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")


class Hunk(NamedTuple):
    """From that line on, `new` takes the place of `old`."""

    line: int
    old: list[str]
    new: list[str]


def hunks(patch: str) -> Iterator[tuple[str, list[Hunk]]]:
    """By file, its changes."""
    for part in re.split(r"(?m)^(?=--- )", patch)[1:]:
        lines = part.split("\n")
        name = lines[1].removeprefix("+++ b/").partition("\t")[0]
        found: list[Hunk] = []
        for line in lines[2:]:
            if begun := _HUNK.match(line):
                found.append(Hunk(int(begun[1]), [], []))
            elif found and line[:1] in (" ", "-", "+"):
                if line[0] != "+":
                    found[-1].old.append(line[1:])
                if line[0] != "-":
                    found[-1].new.append(line[1:])
            elif line.startswith("diff "):
                break
        yield name, found


def patched(root: pathlib.Path, patch: str) -> dict[str, str]:
    """The new text of each file that the patch changes, or makes. Raises ValueError."""
    result: dict[str, str] = {}
    for name, changes in hunks(patch):
        path = root / name
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
        shift = 0
        for hunk in changes:
            if not hunk.old:  # a new file
                lines = [*hunk.new, ""]
                continue
            at = _place(lines, hunk, shift, name)
            shift = at - (hunk.line - 1) + len(hunk.new) - len(hunk.old)
            lines[at : at + len(hunk.old)] = hunk.new
        result[name] = "\n".join(lines)
    if not result:
        raise ValueError("there is no change in this patch")
    return result


def _place(lines: list[str], hunk: Hunk, shift: int, name: str) -> int:
    size = len(hunk.old)
    places = [i for i in range(len(lines)) if lines[i : i + size] == hunk.old]
    if not places:
        raise ValueError(f"{name} has no such lines: {hunk.old[:4]}")
    return min(places, key=lambda i: abs(i - (hunk.line - 1 + shift)))
