"""A child process: its lines, its end, and that nothing of it is left."""

import os
import signal
import threading
import unittest
from collections.abc import Callable
from pathlib import Path

from barker.launching.child import ChildProcess
from tests.tools.children import DEADLINE_S

READS = "import sys; print('here', flush=True); sys.stdin.read()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)\n"


class ChildTest(unittest.TestCase):
    def child(self, code: str) -> ChildProcess:
        """It runs, and has printed its first line."""
        child = ChildProcess(["-c", code])
        self.addCleanup(child.close)
        self.lines: list[str] = []
        printed = threading.Event()

        def keep(line: str) -> None:
            self.lines.append(line)
            printed.set()

        child.read(keep)
        self.assertTrue(printed.wait(DEADLINE_S))
        return child

    def assertEnds(self, child: ChildProcess, status: int) -> None:
        self.assertTrue(child.join(DEADLINE_S))
        self.assertTrue(child.has_ended)
        self.assertEqual(child.status, status)

    def test_lines_of_both_outputs_come_without_their_ends_and_before_it_has_ended(self) -> None:
        code = "import sys; print('out'); sys.stdout.flush(); sys.exit('err\\xe9')"
        child, seen = ChildProcess(["-c", code]), []
        self.addCleanup(child.close)
        end: Callable[[], None] = lambda: seen.append(("end", child.has_ended))  # noqa: E731
        child.read(lambda line: seen.append((line, child.has_ended)), end)
        self.assertEnds(child, 1)
        self.assertEqual(seen, [("out", False), ("erré", False), ("end", True)])

    def test_it_ends_when_its_input_does(self) -> None:
        child = self.child(READS)
        self.assertIsNone(child.status)
        child.hang_up()
        self.assertEnds(child, 0)
        self.assertEqual(self.lines, ["here"])

    def test_bytes_that_are_no_text_do_not_end_the_reading(self) -> None:
        child = self.child("import os; os.write(1, b'a\\xff\\nb\\n')")
        self.assertEnds(child, 0)
        self.assertEqual(self.lines, ["a\ufffd", "b"])

    def test_closing_ends_it_and_is_harmless_twice(self) -> None:
        child = self.child(READS)
        for _ in range(2):
            child.close()
            self.assertIsNotNone(child.status)
        self.assertRaises(ProcessLookupError, os.kill, child.pid, 0)

    @unittest.skipUnless(os.name == "posix", "signals")
    def test_patience_is_for_a_child_that_was_asked_to_end(self) -> None:
        asked = self.child(READS)
        asked.stop()
        asked.close(DEADLINE_S)
        self.assertIn(asked.status, (0, -signal.SIGTERM))
        deaf = self.child(DEAF + "while True: signal.pause()")
        deaf.stop()
        deaf.close(0.1)
        self.assertEqual(deaf.status, -signal.SIGKILL)

    @unittest.skipUnless(os.name == "posix", "signals")
    def test_a_frozen_child_is_closed_too(self) -> None:
        child = self.child(READS)
        child.freeze()
        child.close()
        self.assertEqual(child.status, -signal.SIGKILL)

    @unittest.skipUnless(os.name == "posix", "groups")
    def test_it_is_in_a_group_of_its_own(self) -> None:
        child = self.child(READS)
        self.assertEqual(os.getpgid(child.pid), child.pid)

    def test_no_file_is_left_open(self) -> None:
        folder = Path("/proc/self/fd")
        if not folder.exists():
            self.skipTest("needs Linux's /proc")
        before = len(list(folder.iterdir()))
        child = self.child(READS)
        child.close()
        self.assertEqual(len(list(folder.iterdir())), before)
