"""Logs of whole processes: with any kind of standard error, a process goes on, and it ends."""

import os
import pathlib
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

from barker.disk import files, keys
from barker.links import greeting
from barker.process import logs
from barker.wire import messages, protocol
from barker.wire.ops import Hello, Pong, Proof
from barker.wire.rights import SERVICE
from tests.tools.fleet import DEADLINE_S
from tests.unit.test_logs import fill

# What a process may take from its last line to its end, besides what it waits for its log.
END_S = 5.0
SCRIPT = textwrap.dedent(
    """
    import logging, sys
    from barker.process import logs, terminal
    logs.setup_logging(verbose=False)
    terminal.tolerate_any_text()
    for i in range(500):
        logging.getLogger(f"barker.{i}").info("line %d", i)
    logs.say("test", "READY")
    logs.complain("test", "the last line")
    logs.flush()
    sys.exit(3)
    """
)


@unittest.skipUnless(os.name == "posix", "descriptors are given to a child")
class ExitTest(unittest.TestCase):
    """Whatever is the matter with standard error, a process ends, soon, with its own status."""

    def run_to_end(self, redirection: str = "", **popen: int) -> "subprocess.Popen[str]":
        shell = f'exec "$0" -c "$1" {redirection}'
        argv = ["/bin/sh", "-c", shell, sys.executable, SCRIPT]
        child = subprocess.Popen(argv, cwd=files.ROOT, text=True, **popen)  # type: ignore[call-overload]
        self.addCleanup(child.kill)
        return child  # type: ignore[no-any-return]

    def test_everything_is_written_in_order_if_it_is_read(self) -> None:
        child = self.run_to_end(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = child.communicate(timeout=DEADLINE_S)[0].splitlines()
        self.assertEqual([line[17:] for line in lines[:500]], [f"line {i}" for i in range(500)])
        self.assertEqual(lines[500:], ["READY", "test: the last line"])
        self.assertEqual(child.returncode, 3)

    def test_a_pipe_that_is_not_read_does_not_keep_it_from_ending(self) -> None:
        reads, writes = os.pipe()
        fill(writes)
        child = self.run_to_end(stdout=writes, stderr=writes)
        self.assertEqual(child.wait(END_S + logs.FLUSH_S), 3)
        os.close(reads)
        os.close(writes)

    def test_streams_that_are_closed_full_or_given_up(self) -> None:
        cases = ["2>&-", ">&- 2>&-"]
        if pathlib.Path("/dev/full").exists():
            cases += ["2>/dev/full", ">/dev/full 2>&1"]
        for redirection in cases:
            with self.subTest(redirection):
                child = self.run_to_end(redirection, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual(child.communicate(timeout=END_S + logs.FLUSH_S)[1], "")
                self.assertEqual(child.returncode, 3)

    def test_standard_output_that_can_t_be_written_is_told_on_stderr(self) -> None:
        cases = {">&-": "test: standard output is closed"}
        if pathlib.Path("/dev/full").exists():
            cases[">/dev/full"] = "standard output can't be written: .*: READY"
        for redirection, pattern in cases.items():
            with self.subTest(redirection):
                child = self.run_to_end(redirection, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                said = child.communicate(timeout=END_S + logs.FLUSH_S)[1]
                self.assertRegex(said, f"(?m)^{pattern}$")
                self.assertEqual((said.count("\n"), child.returncode), (502, 3))

    def test_a_reader_that_has_gone(self) -> None:
        child = self.run_to_end(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert child.stderr
        child.stderr.close()
        self.assertEqual(child.wait(END_S + logs.FLUSH_S), 3)


@unittest.skipUnless(os.name == "posix", "descriptors are given to a child")
class ServiceTest(unittest.TestCase):
    """A service, and a pipe behind its standard error and output that is not read."""

    STRANGERS = 1000

    def start(self, writes: int) -> int:
        """Its port, which it may be unable to tell."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.secret = keys.secret(folder)
        argv = ["-m", "barker.directory", "--no-settle", "--port", str(port)]
        argv += ["--state", str(folder)]
        self.child = subprocess.Popen(
            [sys.executable, *argv], cwd=files.ROOT, stdout=writes, stderr=writes
        )
        self.addCleanup(self.child.wait)
        self.addCleanup(self.child.kill)
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.connect(port).close()
                return port
            except OSError:
                self.assertLess(time.monotonic(), end, "it does not listen")
                time.sleep(0.02)

    @staticmethod
    def connect(port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)

    def refused(self, port: int) -> None:
        with self.connect(port) as stranger:
            stranger.sendall(b"I am nobody you know\n")
            answer = stranger.makefile("rb").read()
        self.assertIn(b'"error"', answer)

    def ping(self, port: int) -> None:
        """As a member: greet, and have a ping answered."""
        nonce = "0" * 32
        with self.connect(port) as member, member.makefile("rb") as lines:
            hello = messages.encode(Hello(protocol.VERSION, SERVICE, nonce))
            member.sendall(hello + b"\n")
            answer = messages.decode(lines.readline())
            assert isinstance(answer, Hello), answer
            mac = greeting.mac(self.secret, greeting.OPENER, SERVICE, nonce, answer.nonce)
            member.sendall(messages.encode(Proof(mac, "member")) + b"\n" + messages.PING + b"\n")
            answers = [type(messages.decode(lines.readline())) for _ in range(2)]
        self.assertEqual(answers, [Proof, Pong])

    def check(self, *, full: bool) -> list[str]:
        """What comes out of the pipe once it is read, after very many strangers."""
        reads, writes = os.pipe()
        self.addCleanup(os.close, reads)
        junk = fill(writes) if full else 0
        port = self.start(writes)
        os.close(writes)
        for _ in range(self.STRANGERS):
            self.refused(port)
        begun = time.monotonic()
        self.ping(port)
        self.assertLess(time.monotonic() - begun, 2.0)
        time_left = time.monotonic() + DEADLINE_S
        text = b""
        with selectors.DefaultSelector() as waits:
            waits.register(reads, selectors.EVENT_READ)
            while self.count(text[junk:]) < self.STRANGERS:
                left_s = max(0.0, time_left - time.monotonic())
                self.assertTrue(waits.select(left_s), text[junk:])
                text += os.read(reads, 1 << 16)
        self.ping(port)
        return text[junk:].decode().splitlines()

    @staticmethod
    def count(text: bytes) -> int:
        """Strangers of which a whole line speaks, alone or together."""
        lines = text[: text.rfind(b"\n") + 1]
        more = re.findall(rb" (\d+) more lines like this one: ", lines)
        return len(re.findall(rb"INFO    a stranger was refused", lines)) + sum(map(int, more))

    def test_an_unread_pipe_and_hundreds_of_strangers(self) -> None:
        lines = self.check(full=False)
        self.assertRegex(lines[0], r"^READY ")
        self.assertLess(len(lines), self.STRANGERS // 2)

    def test_a_pipe_that_is_full_from_the_start(self) -> None:
        """Then any line at all would stop the service, and the line READY would, too."""
        lines = self.check(full=True)
        self.assertRegex(lines[0], r"^READY ")
        self.child.terminate()
        self.assertEqual(self.child.wait(DEADLINE_S), 0)
