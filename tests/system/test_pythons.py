"""Pythons that are too old: one line says so, wherever they come in.

The interpreters are those of this machine (pyenv's, and what the PATH has). Where there are none,
the syntax of the files at which they come in is looked at all the same.
"""

import ast
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from barker.disk.files import ROOT
from tests.tools.children import DEADLINE_S, SLOW

OLD = ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10")
# What every Python from 2.7 on compiles before it comes to the check.
OLDEST = ("launch.py", "barker/__init__.py", "monitoring/__init__.py", "tests/__init__.py")
# What comes before the check if a file is started by its path; 3.6 is the oldest that can.
BY_PATH = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *(ROOT / "barker").glob("*.py"),
        *(
            (ROOT / "monitoring" / f"{name}.py")
            for name in "__main__ barker launch monitor".split()
        ),
    )
)
# Each as it is typed, in the project's folder.
AS_MODULES = (
    *("launch.py", "-m barker", "-m barker.bark ark3 hi", "-m barker.inbox", "-m monitoring"),
    *("-m monitoring.monitor", "-m unittest tests.unit.test_ring", "-m unittest discover"),
    *("-m tests.chaos",),
)
AS_FILES = (
    *("barker", "barker/bark.py", "monitoring", "monitoring/launch.py", "monitoring/monitor.py"),
    "-m unittest",
)
PROGRAMS = [path for path in BY_PATH if path.startswith("barker/") and "_" not in path]
PROGRAMS.remove("barker/barker.py")  # a stand-in, which is not started


def interpreters() -> Iterator[tuple[str, str]]:
    """The old versions that there are here, each with the path of one."""
    versions = pathlib.Path.home() / ".pyenv" / "versions"
    for version in OLD:
        found = sorted(versions.glob(f"{version}.*/bin/python"))
        path = str(found[-1]) if found else shutil.which(f"python{version}")
        if path and _says(path, "import sys; print('%d.%d' % sys.version_info[:2])") == version:
            yield version, path


def _says(path: str, code: str) -> str:
    run = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S)
    return run.stdout.strip()


class OldPythonTest(unittest.TestCase):
    def assertNamed(self, version: str, path: str, typed: str) -> None:
        # 3.6 looks at its locale; and what these compile is not to lie among our files.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C"}
        run = subprocess.run(
            [path, *typed.split()],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        line = f"Barker needs Python 3.11 or newer; this is {version}\n"
        self.assertEqual((run.stdout, run.stderr, run.returncode), ("", line, 1), typed)

    def test_one_line_names_the_python_that_is_needed(self) -> None:
        found = list(interpreters())
        if not found:
            self.skipTest("no Python here is too old")
        runs = []
        for version, path in found:
            typed = [*AS_MODULES, *(() if version == "2.7" else AS_FILES)]
            if not SLOW and version not in ("2.7", "3.6", "3.10"):
                typed = ["launch.py", "-m barker.bark"]
            runs += [(version, path, words) for words in typed]
            if version == "3.6":
                runs += [(version, path, program) for program in PROGRAMS]
        with ThreadPoolExecutor(4) as pool:
            for result in [pool.submit(self.assertNamed, *run) for run in runs]:
                result.result()

    def test_it_is_named_in_the_folders_of_the_programs_too(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for version, path in interpreters():
                for typed in () if version == "2.7" else ("barker/bark.py", "monitoring/launch.py"):
                    run = subprocess.run(
                        [path, "-B", str(ROOT / typed)], cwd=folder, capture_output=True, text=True
                    )
                    self.assertEqual(run.stderr.count("\n"), 1, run.stderr)
                    self.assertIn(f"this is {version}", run.stderr)


class SyntaxTest(unittest.TestCase):
    """The same without such interpreters, as far as a newer one can tell."""

    def test_what_is_started_by_its_path_is_read_by_python_3_6(self) -> None:
        self.assertGreater(len(BY_PATH), 15)
        for name in (*BY_PATH, *OLDEST):
            with self.subTest(name):
                tree = ast.parse((ROOT / name).read_bytes(), name, feature_version=(3, 6))
                for node in ast.walk(tree):
                    self.assertNotIsInstance(node, ast.Match | ast.NamedExpr | ast.TryStar)
                self.assertFirstOfOurs(tree)

    def assertFirstOfOurs(self, tree: ast.Module) -> None:
        """Before the first module of ours, only what has been in Python for long is imported."""
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                if node.module.partition(".")[0] in ("barker", "monitoring"):
                    return
                names = {alias.name for alias in node.names}
                if node.module == "typing":
                    self.assertLessEqual(names, {"Any", "ClassVar", "NamedTuple", "TypeVar"})

    def test_what_python_2_7_compiles_has_no_newer_syntax(self) -> None:
        newer = (ast.AnnAssign, ast.AsyncFunctionDef, ast.JoinedStr, ast.Nonlocal)
        for name in OLDEST:
            with self.subTest(name):
                text = (ROOT / name).read_bytes()
                self.assertTrue(text.isascii())  # else it would have to name its encoding
                for node in ast.walk(ast.parse(text)):
                    self.assertNotIsInstance(node, newer)
                    if isinstance(node, ast.FunctionDef):
                        arguments = [*node.args.posonlyargs, *node.args.args]
                        self.assertEqual([a.annotation for a in arguments if a.annotation], [])
                        self.assertEqual((node.returns, node.args.kwonlyargs), (None, []))
                    if isinstance(node, ast.List | ast.Tuple | ast.Set):
                        self.assertFalse([e for e in node.elts if isinstance(e, ast.Starred)])
                    if isinstance(node, ast.Raise):
                        self.assertIsNone(node.cause)
