"""The launcher writes byte code once, before many children need it at the same time."""

import pathlib
import sys
import tempfile
import unittest
from unittest import mock

from barker.disk import files
from barker.launching import launcher


class CompileTest(unittest.TestCase):
    def setUp(self) -> None:
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="a b ")))
        (self.root / "barker" / "idea").mkdir(parents=True)
        (self.root / "barker" / "idea" / "good.py").write_text("GOOD = 1\n")
        (self.root / "barker" / "bad.py").write_text("def bad(:\n")
        self.enterContext(mock.patch.object(files, "ROOT", self.root))

    def compiled(self) -> list[str]:
        return [path.name.partition(".")[0] for path in self.root.rglob("*.pyc")]

    def test_all_modules_are_compiled_and_a_faulty_one_is_left_to_its_child(self) -> None:
        with (
            mock.patch.object(sys, "dont_write_bytecode", False),
            mock.patch.object(sys, "pycache_prefix", None),
        ):
            launcher.compile_once()
        self.assertEqual(self.compiled(), ["good"])

    def test_nothing_is_written_where_python_is_told_so(self) -> None:
        with mock.patch.object(sys, "dont_write_bytecode", True):
            launcher.compile_once()
        self.assertEqual(self.compiled(), [])
