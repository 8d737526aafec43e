"""Chapter 0: what its six steps print is what the text shows, and each is one small file."""

import ast
import itertools
import json
import os
import pathlib
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

from tests.book.test_docs import DOCS, blocks
from tests.tools.children import DEADLINE_S, SLOW, free_port

CHAPTER = DOCS / "00-a-small-barker.rst"
MINI = DOCS / "mini"
STEPS = [MINI / f"step{i}.py" for i in range(1, 7)]
MAX_LINES = 250
MAX_CHANGES = 60  # from a step to the next, lines that go and lines that come
MAX_WORDS = 1800


def experiment(step: pathlib.Path) -> str:
    """What the experiment of a step prints, on ports that no other test has."""
    ports = {
        kind: [free_port() for _ in own] for kind, own in runpy.run_path(str(step))["PORTS"].items()
    }
    child = subprocess.Popen(
        [sys.executable, str(step), "experiment"],
        env={**os.environ, "MINI_PORTS": json.dumps(ports)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        printed, why = child.communicate(timeout=10 * DEADLINE_S)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)  # it ends what it has started
        printed, why = child.communicate(timeout=DEADLINE_S)
        raise AssertionError(f"{printed}\n{why}") from None
    if child.returncode:
        raise AssertionError(why)
    return printed


def row(printed: str, title: str) -> list[int]:
    """Sent, lost, twice, late."""
    found = re.search(rf"(?m)^{title} +(\d+) +(\d+) +(\d+) +(\d+)$", printed)
    if not found:
        raise AssertionError(f"no {title!r} in\n{printed}")
    return list(map(int, found.groups()))


@unittest.skipUnless(hasattr(os, "waitid"), "the experiment freezes processes")
class ExperimentTest(unittest.TestCase):
    def test_each_step_prints_what_the_chapter_shows(self) -> None:
        shown = {
            step: block.text.splitlines()
            for block in blocks(CHAPTER)
            for step in re.findall(
                r"^\$ python docs/mini/(step\d)\.py experiment$", block.text, re.M
            )
        }
        self.assertEqual(sorted(shown), [step.stem for step in STEPS])
        with ThreadPoolExecutor(2) as pool:
            for step, printed in zip(STEPS, pool.map(experiment, STEPS), strict=True):
                with self.subTest(step.stem):
                    self.assertEqual(printed.count("\n"), 5, printed)
                    whole = "..." not in shown[step.stem]
                    lines = printed.splitlines() if whole else [*printed.splitlines(), "..."]
                    self.assertEqual([x for x in shown[step.stem][1:] if x not in lines], [])

    def variant(self, name: str, old: str, new: str) -> str:
        """What the experiment of a step prints after an edit."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copytree(MINI, folder, dirs_exist_ok=True)
        text = (folder / name).read_text(encoding="utf-8")
        self.assertEqual(text.count(old), 1)
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
        return experiment(folder / name)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: another experiment")
    def test_a_window_that_is_too_small_by_one_recognises_nothing(self) -> None:
        printed = self.variant("step3.py", "WINDOW = 1_000", "WINDOW = 99")
        self.assertEqual(row(printed, "kill -9 of a bizlogic at work"), [200, 0, 100, 100])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: another experiment")
    def test_a_journal_that_is_still_in_a_buffer_is_lost(self) -> None:
        printed = self.variant("step4.py", 'path.open("ab", buffering=0)', 'path.open("ab")')
        sent, lost, twice, late = row(printed, "kill -9 of a full outbox")
        self.assertEqual((sent, lost + late, twice), (100, 100, 0))
        self.assertGreaterEqual(lost, 25)


class FilesTest(unittest.TestCase):
    def test_each_is_one_file_of_the_standard_library(self) -> None:
        for step in STEPS:
            text = step.read_text(encoding="utf-8")
            with self.subTest(step.stem):
                self.assertLess(len(text.splitlines()), MAX_LINES)
                self.assertTrue(
                    (ast.get_docstring(ast.parse(text)) or "").startswith(
                        f"A small Barker, step {step.stem[-1]}: "
                    )
                )
                for node in ast.walk(ast.parse(text)):
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        names = [alias.name for alias in node.names]
                        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
                        for name in names:
                            known = name.partition(".")[0] in sys.stdlib_module_names
                            self.assertTrue(known or name == "experiment", name)

    def test_a_step_changes_little(self) -> None:
        for before, after in itertools.pairwise(STEPS):
            ran = subprocess.run(
                ["diff", str(before), str(after)], capture_output=True, text=True, check=False
            )
            changes = re.findall(r"(?m)^[<>]", ran.stdout)
            self.assertLessEqual(len(changes), MAX_CHANGES, after.stem)

    def test_the_chapter_is_short_and_quotes_every_step(self) -> None:
        text = CHAPTER.read_text(encoding="utf-8")
        self.assertLessEqual(len(text.split()), MAX_WORDS)
        quoted = {block.word for block in blocks(CHAPTER) if block.kind == "from"}
        self.assertEqual(quoted, {f"docs/mini/{step.name}" for step in STEPS})

    def test_each_other_chapter_says_which_step_it_makes_real(self) -> None:
        for path in sorted(DOCS.glob("[0-9]*.rst")):
            if path != CHAPTER:
                opening = path.read_text(encoding="utf-8").partition("\nWhat you need\n")[0]
                with self.subTest(path.name):
                    self.assertIn("<00-a-small-barker.rst>`_", opening)
