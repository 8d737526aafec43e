"""The line about long work."""

import contextlib
import io
import os
import signal
import unittest

from barker.disk import files
from barker.laboratory.progress import EVERY_S, Progress, status_of
from tests.tools.children import Process


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ProgressTest(unittest.TestCase):
    def test_on_a_terminal_it_stays_in_one_line(self) -> None:
        terminal = Terminal()
        progress = Progress(terminal)
        for second in range(5):
            progress.say(f"{second} of 5 s")
        progress.end()
        self.assertNotIn("\n", terminal.getvalue())
        self.assertIn("\r4 of 5 s", terminal.getvalue())
        self.assertTrue(terminal.getvalue().endswith(" \r"))

    def test_elsewhere_it_is_a_line_now_and_then(self) -> None:
        now = 100.0
        file = io.StringIO()
        progress = Progress(file, lambda: now)
        for _ in range(3 * int(EVERY_S)):
            progress.say(f"at {now:.0f}")
            now += 1.0
        progress.end()
        self.assertEqual(file.getvalue(), "at 100\nat 110\nat 120\n")


class InterruptTest(unittest.TestCase):
    def test_ctrl_c_is_one_line_and_130(self) -> None:
        def interrupted() -> int:
            raise KeyboardInterrupt

        with contextlib.redirect_stderr(io.StringIO()) as shown:
            self.assertEqual(status_of("work", interrupted), 130)
            self.assertEqual(status_of("work", lambda: 3), 3)
        self.assertEqual(shown.getvalue(), "work: interrupted\n")

    @unittest.skipUnless(os.name == "posix", "signals are Unix's")
    def test_ctrl_c_ends_a_run_of_chaos_and_judges_nothing(self) -> None:
        # A suite that was started in the background of a script would hand on that it ignores it.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        chaos = Process(["-m", "tests.chaos", "--seconds", "600"], files.ROOT)
        self.addCleanup(chaos.close)
        chaos.wait_for("chaos: starting")
        chaos.signal(signal.SIGINT)
        self.assertEqual(chaos.ended(), 130, chaos)
        self.assertEqual(chaos.lines[-1], "chaos: interrupted")
        self.assertNotIn("Traceback", "\n".join(chaos.lines))
