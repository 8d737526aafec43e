"""Ctrl-C while a command still loads its modules: it ends, without a traceback.

A module that comes early in Python's path holds each command where it imports the first module
that takes long to load, until the signal has come: of the standard library or below `barker.wire`.

Python's own start, before it has read a line of ours, is not ours to mend.
"""

import contextlib
import pathlib
import re
import signal
import tempfile
import time
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
        if name.startswith(("argparse", "asyncio", "barker.wire")) and self in sys.meta_path:
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

    def test_at_any_moment_there_is_no_traceback_but_of_python_s_own_start(self) -> None:
        text = (ROOT / "barker" / "bark.py").read_text(encoding="utf-8")
        last = text[: text.index("\nimport barker ")].count("\n") + 2
        nowhere = ("--directory", "127.0.0.1:9", "--timeout", "0.2", "--state", str(self.folder))
        for moment_ms in range(0, 400, 20):
            with contextlib.closing(
                Process(("barker/bark.py", "ark3", "x", *nowhere), ROOT)
            ) as bark:
                time.sleep(moment_ms / 1000)  # that is the experiment
                bark.signal(signal.SIGINT)
                # 1 if it is over, or if Python has lost the signal while it started
                self.assertIn(bark.ended(), (-signal.SIGINT, 130, 1), bark)
                frames = re.findall(
                    rf'File "{ROOT}/barker/bark.py", line (\d+)', "\n".join(bark.lines)
                )
                self.assertLessEqual(max(map(int, frames), default=0), last, bark)

    def test_a_program_of_others_has_its_own_ctrl_c(self) -> None:
        code = "import barker.disk.files"
        (self.folder / "theirs.py").write_text(code, encoding="utf-8")
        for argv in (("-c", code), ("-m", "theirs")):
            with self.subTest(argv), self.interrupted(*argv) as command:
                command.wait_for("^KeyboardInterrupt")
