"""A reader's program: whatever it does wrong is one line, and nothing of it is left."""

import os
import pathlib
import sys
import tempfile
import time
import unittest
from unittest import mock

from barker.laboratory import program
from barker.laboratory.lab import Broken
from barker.laboratory.program import Output, Program
from tests.tools.children import DEADLINE_S

READY = "print('READY 127.0.0.1:7', flush=True)\n"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
WAITS = "import sys; sys.stdin.read()\n"


class ProgramTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.complaints: list[str] = []
        self.heard: list[str] = []
        self.output = Output(folder / "log", self.complaints.append)

    def program(self, code: str, *command: str) -> Program:
        words = [*command] or [sys.executable, "-c", code]
        made = Program(
            "mine-7", words, [], 7, self.output, self.complaints.append, self.heard.append
        )
        self.addCleanup(made.close)
        return made

    async def assertBroken(self, code: str, text: str) -> None:
        with self.assertRaisesRegex(Broken, text):
            await self.program(code).until_ready()

    async def test_one_that_is_not_there(self) -> None:
        with self.assertRaisesRegex(Broken, r"^nobody --x can't be started: No such file"):
            self.program("", "nobody", "--x")

    async def test_one_that_ends_at_once(self) -> None:
        await self.assertBroken("1/0", "mine-7 ended with status 1 before READY; .*ZeroDivision")
        await self.assertBroken("", "status 0 before READY")

    async def test_one_that_never_gets_ready(self) -> None:
        with self.assertRaisesRegex(Broken, "mine-7 has not printed READY HOST:PORT within 0.2 s"):
            await self.program(WAITS).until_ready(0.2)

    async def test_one_whose_ready_is_nonsense_or_another_port(self) -> None:
        await self.assertBroken("print('READY', flush=True)\n" + WAITS, "'READY', which is not")
        await self.assertBroken(
            "print('READY here:8', flush=True)\n" + WAITS, "'READY here:8', and was given --port 7"
        )

    async def test_one_that_does_all_right(self) -> None:
        mine = self.program(READY + WAITS)
        await mine.until_ready()
        mine.stop()
        mine.close(DEADLINE_S)
        self.assertEqual(self.complaints, [])
        self.assertEqual(self.output.path.read_text(), "READY 127.0.0.1:7\n")
        self.assertEqual(self.heard, ["READY 127.0.0.1:7"])

    async def test_one_that_prints_without_an_end(self) -> None:
        with mock.patch.object(program, "MAX_LOG_BYTES", 2048):
            self.output = Output(self.output.path, self.complaints.append)
            mine = self.program("print('x' * 1_000_000)\n" + READY + WAITS)
            await mine.until_ready()
        self.assertEqual(self.complaints, ["prints over 2 KiB; the rest is not kept"])
        self.assertEqual(self.output.path.stat().st_size, 2048)

    @unittest.skipUnless(os.name == "posix", "signals")
    async def test_one_that_does_not_stop(self) -> None:
        mine = self.program(DEAF + READY + "while True: signal.pause()")
        await mine.until_ready()
        mine.stop()
        mine.close(0.2)
        self.assertEqual(self.complaints, ["still runs 0.2 s after SIGTERM, and is killed"])

    @unittest.skipUnless(os.name == "posix", "groups")
    async def test_one_that_leaves_a_child(self) -> None:
        child = f"{DEAF}print('here', flush=True)\nwhile True: signal.pause()"
        code = (
            "import subprocess, sys\n"
            f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
            "child.stdout.readline()\n"
            "print(child.pid, flush=True)\n" + READY + WAITS + "\n"
            "import os; os._exit(0)"  # Python would warn of the child
        )
        mine = self.program(code)
        await mine.until_ready()
        pid = int(self.output.path.read_text().split()[0])
        mine.stop()
        mine.close(DEADLINE_S)
        self.assertEqual(
            self.complaints, ["has ended, and left processes running that it had started"]
        )
        end = time.monotonic() + DEADLINE_S
        while _runs(pid) and time.monotonic() < end:
            time.sleep(0.01)
        self.assertFalse(_runs(pid))


def _runs(pid: int) -> bool:
    stat = pathlib.Path(f"/proc/{pid}/stat")
    if stat.exists():
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return not pathlib.Path("/proc/self").exists()
