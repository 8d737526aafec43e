"""Ctrl-C while a command still loads its modules: it ends, without a traceback.

A module that comes early in Python's path holds each command where it imports the first module
below `barker.wire`, which they all do, until the signal has come.
"""

import contextlib
import pathlib
import signal
import tempfile
import unittest
from collections.abc import Iterator

from barker.disk.files import ROOT
from tests.tools.children import DEADLINE_S, Process
from tests.unit.test_layout import PROGRAMS

# Python runs a module of this name when it starts.
HOLDER = """
import signal, sys

class Holder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("barker.wire") and self in sys.meta_path:
            sys.meta_path.remove(self)
            print("loading", flush=True)
            # In slices: a signal that comes just before the wait begins does not end it.
            for _ in range({slices}):
                signal.sigtimedwait([signal.SIGUSR1], 0.05)

sys.meta_path.insert(0, Holder())
"""


@unittest.skipUnless(hasattr(signal, "sigtimedwait"), "signals that can be waited for")
class StartingTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        text = HOLDER.format(slices=int(20 * DEADLINE_S))
        (self.folder / "sitecustomize.py").write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def interrupted(self, *argv: str) -> Iterator[Process]:
        """The command, stopped by Ctrl-C while it loads."""
        env = {"PYTHONPATH": str(self.folder)}
        with contextlib.closing(Process(argv, ROOT, env=env)) as command:
            command.wait_for("^loading$")
            command.signal(signal.SIGINT)
            yield command

    def test_every_command_ends_without_a_traceback(self) -> None:
        modules = ["barker", *(f"barker.{name}" for name in PROGRAMS), "monitoring.monitor"]
        files = ["barker", *(f"barker/{name}.py" for name in PROGRAMS)]
        files += ["launch.py", "monitoring/launch.py", "monitoring/monitor.py"]
        for argv in (*(("-m", name) for name in modules), *((name,) for name in files)):
            with self.subTest(argv), self.interrupted(*argv) as command:
                # What a shell shows as 130.
                self.assertEqual(command.ended(), -signal.SIGINT, command)
                self.assertEqual(command.lines, ["loading"])

    def test_a_program_of_others_has_its_own_ctrl_c(self) -> None:
        code = "import barker.disk.files"
        (self.folder / "theirs.py").write_text(code, encoding="utf-8")
        for argv in (("-c", code), ("-m", "theirs")):
            with self.subTest(argv), self.interrupted(*argv) as command:
                command.wait_for("^KeyboardInterrupt")
