"""Model answers and wrong answers to the labs, as patches; each is judged in a copy of the tree.

``mute.patch`` is a model answer to the lab *mute*. ``mute.wrong1.patch`` changes that answer into a
wrong one. Its first lines have what is wrong with it, then the case that has to fail, and the
beginning of the reason that the judge has to give::

    Mutes in both directions.
    Fails: one way
    Because: a bark of toto does not go to ark3

    python -m tests.labs                 judges all of them, the untouched tree first
    python -m tests.labs mute ring       these labs alone

When the code that a patch changes has changed, the patch no longer applies, and a test says so: put
the answer into a copy of the tree by hand, and have ``git diff`` write the patch anew.

`patching` applies a patch with nothing but Python: ``git`` and ``patch`` may be missing.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from barker.laboratory.tasks import TASKS
from tests.labs.patching import patched
from tests.tools.fleet import copy_of_the_project

HERE = pathlib.Path(__file__).resolve().parent
# A judgement takes a minute at most; a machine under load gets three.
JUDGED_S = 180.0


class Answer(NamedTuple):
    """One answer: the patches that make it, and for a wrong one the case that has to fail."""

    lab: str
    patches: Sequence[pathlib.Path]
    about: str = ""
    fails: str = ""
    because: str = ""

    def __str__(self) -> str:
        return self.patches[-1].name if self.patches else f"{self.lab}, the untouched tree"


class Judged(NamedTuple):
    """What the judge said."""

    status: int
    shown: str

    def reason(self, case: str) -> str | None:
        """Why that case failed; None if it did not. Lines are joined."""
        text = " ".join(self.shown.split())
        found = re.search(
            rf"(FAILED|BROKEN) {re.escape(case)} (.*?)( passed | FAILED | BROKEN |$)", text
        )
        return found[2] if found else None


def answers(lab: str) -> list[Answer]:
    """The untouched tree, the model answer, the wrong answers."""
    model = HERE / f"{lab}.patch"
    found = [Answer(lab, ()), Answer(lab, (model,))]
    for path in sorted(HERE.glob(f"{lab}.wrong*.patch")):
        head = path.read_text(encoding="utf-8").partition("\n--- ")[0].split("\ndiff ")[0]
        fields = dict(re.findall(r"(?m)^(Fails|Because): (.+)$", head))
        about = head.partition("\n")[0]
        found.append(Answer(lab, (model, path), about, fields["Fails"], fields["Because"]))
    return found


def make(answer: Answer, folder: pathlib.Path) -> pathlib.Path:
    """A copy of the tree, with this answer, in that folder."""
    root = copy_of_the_project(folder / "tree")
    for patch in answer.patches:
        for name, text in patched(root, patch.read_text(encoding="utf-8")).items():
            (root / name).write_text(text, encoding="utf-8")
    return root


def judged(answer: Answer, python: str = sys.executable) -> Judged:
    """Have the judge of a copy judge that copy."""
    with tempfile.TemporaryDirectory(prefix="barker-labs-") as folder:
        root = make(answer, pathlib.Path(folder))
        run = subprocess.run(
            [python, "-m", "barker.judge", answer.lab, "--judge"],
            cwd=root,
            env={**os.environ, "TMPDIR": folder},  # where it leaves what a wrong answer has printed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=JUDGED_S,
        )
    return Judged(run.returncode, run.stdout)


def fault(answer: Answer, found: Judged) -> str:
    """What is wrong with a judgement; "" if it is right."""
    if answer.patches and not answer.fails:
        return "" if found.status == 0 else "the model answer does not pass"
    if found.status != 1:
        return f"the judge has status {found.status}, and 1 is right"
    if not answer.fails:
        return ""
    reason = found.reason(answer.fails)
    if reason is None:
        return f"the case {answer.fails!r} does not fail"
    if answer.because not in reason:
        return f"the case {answer.fails!r} does not fail because {answer.because!r}"
    return ""


def labs() -> list[str]:
    return list(TASKS)
