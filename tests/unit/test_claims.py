"""A claim is held by one living process, and tells the others its place."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

from barker.disk.claims import Claim, place_of
from barker.disk.files import ROOT, StateError
from barker.disk.locks import Taken
from tests.tools.fleet import DEADLINE_S

HOLD = (
    "import pathlib, sys; from barker.disk.claims import Claim;"
    "Claim(pathlib.Path(sys.argv[1]), 'launcher', 'there:1'); print('held', flush=True);"
    "sys.stdin.read()"
)


class ClaimTest(unittest.TestCase):
    def setUp(self) -> None:
        self.state = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "var"

    def test_one_has_it_and_the_others_see_its_place(self) -> None:
        self.assertEqual(place_of(self.state, "launcher"), "")
        claim = Claim(self.state, "launcher", "here:1")
        with self.assertRaises(Taken):
            Claim(self.state, "launcher", "here:2")
        self.assertEqual(place_of(self.state, "launcher"), "here:1")
        Claim(self.state, "monitoring", "here:3").close()
        claim.close()
        self.assertEqual(place_of(self.state, "launcher"), "")
        Claim(self.state, "launcher", "here:2").close()

    def test_kill_9_gives_it_up(self) -> None:
        argv = [sys.executable, "-c", HOLD, str(self.state)]
        with subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout
            self.assertEqual(child.stdout.readline(), "held\n")
            self.assertEqual(place_of(self.state, "launcher"), "there:1")
            child.kill()
            child.wait(DEADLINE_S)
        self.assertEqual(place_of(self.state, "launcher"), "")

    def test_a_folder_that_cannot_be_written_is_told_with_what_to_do(self) -> None:
        self.state.write_text("a file")
        with self.assertRaisesRegex(StateError, "var.*--state DIR"):
            Claim(self.state, "launcher", "here:1")
