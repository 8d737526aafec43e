"""Where Python has not what only a Unix has, a system starts, keeps, refuses and stops too.

A stand-in (``tests/tools/elsewhere``) takes those parts away from every process. It does not make a
Windows; ``docs/elsewhere.rst`` says what nobody has tried.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import unittest
from unittest import mock

from barker.disk import files
from tests.system.test_launch import ProjectTest
from tests.tools.fleet import DEADLINE_S, SLOW, Process

TAKES_AWAY = files.ROOT / "tests" / "tools" / "elsewhere"


@unittest.skipUnless(os.name == "posix", "it takes away what only a Unix has")
class ElsewhereTest(ProjectTest):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.dict(os.environ, PYTHONPATH=str(TAKES_AWAY)))

    def test_the_parts_are_not_there(self) -> None:
        program = """if True:
            import asyncio, os, signal, sys
            from barker.disk import files
            from barker.links import accepting
            from barker.process import agent
            print(files.fcntl, accepting.resource, agent.resource)
            print([hasattr(os, name) for name in ("link", "setpgid", "killpg")])
            print([hasattr(signal, name) for name in ("SIGHUP", "SIGSTOP")])
            loop = asyncio.new_event_loop()
            try:
                loop.add_signal_handler(signal.SIGINT, print)
            except NotImplementedError:
                print("no signals")
            loop.close()
        """
        ran = self.run_command("-c", program)
        said = "None None None\n[False, False, False]\n[False, False]\nno signals\n"
        self.assertEqual((ran.stdout, ran.stderr), (said, ""))

    def test_a_system_starts_keeps_what_was_said_and_stops(self) -> None:
        launcher = self.launch()
        launcher.wait_for("<--")
        said = self.run_command("-m", "barker.bark", "ark3", "Kept.", *self.directory)
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        launcher.wait_for(r"ark3 <-- ark3: +Kept\.")
        self.assertEqual(
            sorted(path.name for path in (self.root / "var").glob("secret*")),
            ["secret", "secret.clients", "secret.clients.lock", "secret.lock"],
        )
        argv = ["-m", "barker.outbox", "--port", str(5800 + self.shift), *self.directory]
        second = self.run_command(*argv)
        self.assertEqual(second.returncode, 1)
        self.assertIn("in use by another process", second.stderr)
        children = self.children(launcher.lines)
        begun = time.monotonic()
        self.end(launcher)
        self.assertLess(time.monotonic() - begun, 3.0)
        self.assertGone(children)
        self.assertNotIn("Traceback", "\n".join(launcher.lines))
        launcher = self.launch()
        launcher.wait_for(r"ark3 <-- ark3: +Kept\.")
        self.end(launcher)

    def test_a_journal_is_one_process_s(self) -> None:
        flags = ["--port", "0", *self.directory]
        first = Process(["-m", "barker.inbox", "--name", "inbox-1", *flags], self.root)
        self.addCleanup(first.close)
        first.wait_for("READY")
        # With Python's own warnings: it leaves nothing open.
        argv = ("-W", "default", "-m", "barker.inbox", "--name", "inbox-1", *flags)
        second = self.run_command(*argv)
        self.assertEqual(second.returncode, 1)
        self.assertRegex(second.stderr, r"inbox: .* is in use by another process\n\Z")
        first.kill()
        third = Process(["-m", "barker.inbox", "--name", "inbox-1", *flags], self.root)
        self.addCleanup(third.close)
        third.wait_for("READY")

    def test_ctrl_c_ends_each_command(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            place = f"127.0.0.1:{silent.getsockname()[1]}"
            for words in ("listen ark3", "autobark 2", "bizlogic --port 0"):
                module, *more = words.split()
                argv = ["-m", f"barker.{module}", *more, "--directory", place]
                process = Process(argv, self.root)
                self.addCleanup(process.close)
                silent.accept()[0].close()  # it dials: by now it takes signals as its own
                process.signal(signal.SIGINT)
                self.assertEqual(process.ended(), 0, process)
                self.assertNotIn("Traceback", "\n".join(process.lines))

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: the whole tour takes twelve seconds")
    def test_the_tour(self) -> None:
        ran = subprocess.run(
            [sys.executable, "launch.py", "--tour", "--no-wait"],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=10 * DEADLINE_S,
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), ran.stdout[-2000:])
