"""Where the time goes: every process of a run under cProfile, and the functions that took most.

cProfile makes calls dearer than they are and C code look cheaper; its shares are a hint, and what a
change brings is for the bench to say.
"""

import pathlib
import pstats
from collections.abc import Iterator
from typing import NamedTuple

from barker.disk import files
from tests.bench.figures import WIDTH

TOP = 8
# What begins like this is left out: waiting is no work, and Python starts only once.
UNWANTED = (
    *("poll of select", "control of select", "select.select", "acquire of _thread"),
    *("<frozen ", "builtins.compile", "builtins.__build_class__", "marshal.", "_imp."),
)


class Row(NamedTuple):
    """One function: its own seconds, without those that it called."""

    seconds: float
    calls: int
    name: str


def rows(path: pathlib.Path) -> list[Row]:
    """The functions of a profile that worked, and not just once; who took most comes first."""
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    stats = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]
    found = [Row(own, calls, _name(*function)) for function, (_, calls, own, *_) in stats.items()]
    return sorted((row for row in found if not row.name.startswith(UNWANTED)), reverse=True)


def _name(file: str, line: int, function: str) -> str:
    if file == "~":  # C code
        words = function.strip("<>").removeprefix("built-in method ").removeprefix("method ")
        return words.replace("' of '", " of ").replace("' objects", "").strip("'")
    path = pathlib.Path(file)
    if path.is_relative_to(files.ROOT):
        path = path.relative_to(files.ROOT)
    else:
        path = pathlib.Path(*path.parts[-2:])
    return f"{path.as_posix()}:{line} {function}"


def lines(label: str, profile: list[Row], top: int = TOP) -> Iterator[str]:
    """One process as text."""
    total = sum(row.seconds for row in profile) or 1.0
    yield f"{label}: {total:.2f} s in {sum(row.calls for row in profile):,} calls"
    for row in profile[:top]:
        share = f"{100 * row.seconds / total:5.1f} %  {row.calls:>10,}  {row.name}"
        yield f"  {share}"[:WIDTH]
