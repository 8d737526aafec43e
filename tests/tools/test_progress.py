"""The line about long work."""

import io
import unittest

from tests.tools.progress import EVERY_S, Progress


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
