"""Breaks: how the code was once wrong. In a copy it is made so again, and the simulation finds it.

    python -m tests.breaks                  all of them, one after the other
    python -m tests.breaks shared_counter   just this one

Each module here is one break. Its docstring says what is wrong, and what that loses. `SETTING` is
the simulation's setting that has to find it, `KINDS` are the kinds of failure that it may show, and
`CHANGES` are the texts that are replaced in the copy. A rare one says with `FIRST` at which seed to
begin, since those before it took minutes and showed nothing.
"""

import importlib
import pathlib
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COPIED = ("barker", "monitoring", "tests", "webui", "launch.py")
# A break is found within these, or the simulation does not see it.
SEEDS = 2000
SECONDS = 300.0
SHRINKING_S = 300.0


class Change(NamedTuple):
    """In the file at `path`, below the project's root, `new` takes the place of `old`."""

    path: str
    old: str
    new: str


class Break(NamedTuple):
    name: str
    about: str
    setting: str
    kinds: tuple[str, ...]
    changes: Sequence[Change]
    first: int  # the seed to begin with


class Hunt(NamedTuple):
    """What the simulation said of a broken copy."""

    story: str
    seconds: float

    @property
    def kind(self) -> str:
        """The kind of the failure; "" if there was none."""
        parts = self.story.partition("\n")[0].split(": ")
        return parts[1] if len(parts) > 1 else ""


def names() -> list[str]:
    return sorted(
        m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith(("_", "test_"))
    )


def load(name: str) -> Break:
    module = importlib.import_module(f"tests.breaks.{name}")
    first = getattr(module, "FIRST", 0)
    return Break(name, module.__doc__ or "", module.SETTING, module.KINDS, module.CHANGES, first)


def broken(text: str, change: Change) -> str:
    """The text with the change made. Raises ValueError unless `old` is in it exactly once."""
    if text.count(change.old) != 1:
        raise ValueError(f"{change.path} has {text.count(change.old)} times: {change.old!r}")
    return text.replace(change.old, change.new)


def copy_broken(some: Break, folder: pathlib.Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)
    for change in some.changes:
        path = folder / change.path
        path.write_text(broken(path.read_text(encoding="utf-8"), change), encoding="utf-8")


def hunt(some: Break) -> Hunt:
    """Break a copy, and have the simulation find it; what it says goes on to stderr meanwhile."""
    begun = time.monotonic()
    limits = ["--first", str(some.first), "--seeds", str(SEEDS), "--seconds", str(SECONDS)]
    with tempfile.TemporaryDirectory(prefix="barker-break-") as folder:
        copy_broken(some, pathlib.Path(folder))
        run = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--setting", some.setting, *limits],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=SECONDS + SHRINKING_S,
        )
    return Hunt(run.stdout, time.monotonic() - begun)
