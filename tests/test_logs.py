"""Logs: an unread pipe stops no loop, nothing grows, and what is left out is counted."""

import contextlib
import io
import logging
import os
import pathlib
import re
import select
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from collections.abc import Iterator
from unittest import mock

from barker import greeting, logs, state, wire
from barker.logs import SAME_KIND, QueuedHandler
from tests.fleet import DEADLINE_S

# What a process may take from its last line to its end, besides what it waits for its log.
END_S = 5.0


class Pipe:
    """A pipe that a handler writes to, and the lines that come out of it when it is read."""

    def __init__(self, *, full: bool = False) -> None:
        self.reads, self.writes = os.pipe()
        self.junk = fill(self.writes) if full else 0
        self.stream = os.fdopen(self.writes, "w", encoding="utf-8", buffering=1)
        self._text = ""

    def lines(self, last: str) -> list[str]:
        """All lines since the first, once there is one that has `last` in it."""
        end = time.monotonic() + DEADLINE_S
        while not re.search(f"{last}.*\n", self._text[self.junk :]):
            if not select.select([self.reads], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {last!r} in {self._text[self.junk :]!r}")
            self._text += os.read(self.reads, 1 << 16).decode()
        return self._text[self.junk :].splitlines()

    def close(self) -> None:
        os.close(self.reads)  # a thread that still writes gets an error
        self.stream.close()


def fill(descriptor: int) -> int:
    """Write to a pipe until it takes no more; how much that was."""
    os.set_blocking(descriptor, False)
    size = 0
    for junk in (b"." * 4096, b"."):
        with contextlib.suppress(BlockingIOError):
            while True:
                size += os.write(descriptor, junk)
    os.set_blocking(descriptor, True)
    return size


@unittest.skipUnless(os.name == "posix", "waits for pipes with select")
class HandlerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.log = logging.Logger("barker.test")
        self.handler = QueuedHandler()
        self.log.addHandler(self.handler)

    @contextlib.contextmanager
    def pipe(self, *, full: bool = False) -> Iterator[Pipe]:
        with (
            contextlib.closing(Pipe(full=full)) as pipe,
            mock.patch.object(sys, "stderr", pipe.stream),
        ):
            yield pipe

    def test_lines_come_in_order_and_with_what_is_said_besides(self) -> None:
        with self.pipe() as pipe:
            self.log.info("one")
            self.handler.put(sys.stderr, "two")
            self.log.warning("three")
            lines = pipe.lines("three")
        self.assertRegex(lines[0], r"\d\d:\d\d:\d\d INFO    one")
        self.assertEqual(lines[1], "two")
        self.assertRegex(lines[2], r"WARNING three")

    def test_a_line_says_how_things_were_when_it_was_logged(self) -> None:
        with self.pipe(full=True) as pipe:
            links = ["a"]
            self.log.info("links: %s", links)
            links.append("b")
            self.assertEqual(pipe.lines("links")[0][-12:], "links: ['a']")

    def test_a_full_pipe_makes_no_caller_wait_and_no_memory_grow(self) -> None:
        self.enterContext(mock.patch.object(logs, "WAITING_CHARS", 2000))
        with self.pipe(full=True) as pipe:
            begun = time.monotonic()
            for i in range(500):
                self.handler.put(sys.stderr, f"line {i:03} " + 90 * "x")
            self.assertLess(time.monotonic() - begun, 1.0)
            self.assertLessEqual(self.handler._waiting_chars, 2000)
            self.assertGreater(self.handler._dropped, 400)
            pipe.lines("dropped")
            self.log.info("after")
            lines = pipe.lines("after")
        kept = [int(line[5:8]) for line in lines if line.startswith("line")]
        self.assertEqual(kept, list(range(len(kept))), "in order, and those before the gap")
        counts = [i for i, line in enumerate(lines) if "dropped" in line]
        self.assertEqual(counts, [len(kept)], "in its place, and once")
        self.assertRegex(
            lines[counts[0]],
            f"{500 - len(kept)} log lines were dropped, because standard error was not read",
        )

    def test_many_lines_of_one_kind_are_counted_and_others_are_written(self) -> None:
        with self.pipe() as pipe:
            for i in range(600):
                self.log.info("stranger %d refused", i)
            self.log.info("something else")
            lines = pipe.lines("more lines like this one")
        self.assertEqual(
            sum("stranger" in line and "more" not in line for line in lines), SAME_KIND
        )
        self.assertIn("something else", lines[SAME_KIND])
        self.assertRegex(lines[-1], "INFO    580 more lines like this one: stranger 20 refused")

    def test_the_next_second_has_its_own_lines(self) -> None:
        with self.pipe() as pipe:
            for _ in range(SAME_KIND + 1):
                self.log.info("again")
            self.handler._second_ends = 0.0
            self.log.info("again")
            self.log.info("the end")
            lines = pipe.lines("the end")
        self.assertRegex(lines[SAME_KIND], " 1 more lines like this one: again")
        self.assertRegex(lines[SAME_KIND + 1], "INFO    again")

    def test_a_kind_is_logger_level_and_text(self) -> None:
        with self.pipe() as pipe:
            for _ in range(SAME_KIND):
                self.log.info("a")
                self.log.warning("a")
                self.log.info("b")
            self.log.info("the end")
            self.assertEqual(len(pipe.lines("the end")), 3 * SAME_KIND + 1)

    def test_kinds_are_bounded(self) -> None:
        self.enterContext(mock.patch.object(logs, "MAX_KINDS", 5))
        with self.pipe() as pipe:
            for i in range(100):
                self.log.info(f"kind {i}")
            self.assertLessEqual(len(self.handler._kinds), 6)
            lines = pipe.lines("more lines")
        self.assertEqual(len(lines), 5 + SAME_KIND + 1)
        self.assertIn(f"{100 - 5 - SAME_KIND} more lines", lines[-1])

    def test_an_error_with_its_traceback_counts_as_a_line(self) -> None:
        with self.pipe() as pipe:
            for _ in range(SAME_KIND + 3):
                try:
                    raise ZeroDivisionError
                except ZeroDivisionError:
                    self.log.exception("a bug")
            lines = pipe.lines("more lines like this one")
        self.assertEqual(lines.count("ZeroDivisionError"), SAME_KIND)
        self.assertIn("3 more lines", lines[-1])

    def test_a_line_whose_arguments_do_not_fit_is_told_of_in_its_place(self) -> None:
        with self.pipe() as pipe:
            self.log.info("%d links", "no")
            self.log.info("after")
            lines = pipe.lines("after")
        self.assertRegex(lines[0], r"ERROR .*can't be logged: .*test_logs.py:\d+")
        self.assertIn("TypeError", lines[-2])

    def test_a_line_that_is_logged_within_a_line_does_not_wait_for_it(self) -> None:
        """As when the garbage collector finds a task whose exception was never looked at."""

        class Talkative:
            def __str__(talkative) -> str:  # noqa: N805
                self.log.info("inner")
                return "outer"

        with self.pipe() as pipe:
            self.log.info("%s", Talkative())
            lines = pipe.lines("outer")
        self.assertEqual(len(lines), 2)

    def test_a_pipe_that_another_program_has_set_not_to_wait(self) -> None:
        with self.pipe(full=True) as pipe:
            os.set_blocking(pipe.writes, False)
            self.log.info("patient")
            self.assertIn("patient", pipe.lines("patient")[0])

    def test_a_stream_that_is_gone_keeps_no_later_line_from_another(self) -> None:
        with mock.patch.object(sys, "stderr", None):
            self.log.info("to nobody")
        closed = io.StringIO()
        closed.close()
        with mock.patch.object(sys, "stderr", closed):
            self.log.info("to nobody")
            self.handler.flush()
        with self.pipe() as pipe:
            self.log.info("to us")
            self.assertEqual(len(pipe.lines("to us")), 1)

    def test_flush_waits_once_for_a_pipe_that_is_not_read(self) -> None:
        with self.pipe(full=True) as pipe, mock.patch.object(logs, "FLUSH_S", 0.1):
            self.log.info("late")
            begun = time.monotonic()
            self.handler.flush()
            first = time.monotonic()
            self.handler.flush()
            self.assertGreaterEqual(first - begun, 0.1)
            self.assertLess(time.monotonic() - first, 0.1)
            self.assertIn("late", pipe.lines("late")[0])


SCRIPT = textwrap.dedent(
    """
    import logging, sys
    from barker import logs, state
    logs.setup_logging(verbose=False)
    state.tolerate_any_text()
    for i in range(500):
        logging.getLogger(f"barker.{i}").info("line %d", i)
    logs.say("READY")
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
        child = subprocess.Popen(argv, cwd=state.ROOT, text=True, **popen)  # type: ignore[call-overload]
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
        self.secret = state.secret(folder)
        argv = ["-m", "barker.directory", "--port", str(port), "--state", str(folder)]
        self.child = subprocess.Popen(
            [sys.executable, *argv], cwd=state.ROOT, stdout=writes, stderr=writes
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
            hello = wire.encode("hello", v=wire.VERSION, name="member", nonce=nonce, epoch=None)
            member.sendall(hello + b"\n")
            answer = wire.decode(lines.readline())
            self.assertEqual(answer["op"], "hello", answer)
            theirs = answer["nonce"]
            mac = greeting.mac(self.secret, greeting.OPENER, nonce, theirs)
            member.sendall(wire.encode("proof", mac=mac) + b"\n" + wire.PING + b"\n")
            answers = [wire.decode(lines.readline())["op"] for _ in range(2)]
        self.assertEqual(answers, ["proof", "pong"])

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
        while self.count(text[junk:]) < self.STRANGERS:
            left_s = max(0.0, time_left - time.monotonic())
            self.assertTrue(select.select([reads], [], [], left_s)[0], text[junk:])
            text += os.read(reads, 1 << 16)
        self.ping(port)
        return text[junk:].decode().splitlines()

    @staticmethod
    def count(text: bytes) -> int:
        """Strangers of which a whole line speaks, alone or together."""
        lines = text[: text.rfind(b"\n") + 1]
        more = re.findall(rb" (\d+) more lines like this one: ", lines)
        return len(re.findall(rb"INFO    link with a stranger", lines)) + sum(map(int, more))

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


if __name__ == "__main__":
    unittest.main()
