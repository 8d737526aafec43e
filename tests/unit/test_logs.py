"""Logs: an unread pipe stops no loop, nothing grows, and what is left out is counted."""

import contextlib
import io
import logging
import os
import re
import selectors
import sys
import time
import unittest
from collections.abc import Iterator
from unittest import mock

from barker.process import logs
from barker.process.logs import SAME_KIND, QueuedHandler
from tests.tools.fleet import DEADLINE_S


class Pipe:
    """A pipe that a handler writes to, and the lines that come out of it when it is read."""

    def __init__(self, *, full: bool = False) -> None:
        self.reads, self.writes = os.pipe()
        self.waits = selectors.DefaultSelector()
        self.waits.register(self.reads, selectors.EVENT_READ)
        self.junk = fill(self.writes) if full else 0
        self.stream = os.fdopen(self.writes, "w", encoding="utf-8", buffering=1)
        self._text = ""

    def lines(self, last: str) -> list[str]:
        """All lines since the first, once there is one that has `last` in it."""
        end = time.monotonic() + DEADLINE_S
        while not re.search(f"{last}.*\n", self._text[self.junk :]):
            if not self.waits.select(max(0.0, end - time.monotonic())):
                raise AssertionError(f"no {last!r} in {self._text[self.junk :]!r}")
            self._text += os.read(self.reads, 1 << 16).decode()
        return self._text[self.junk :].splitlines()

    def close(self) -> None:
        self.waits.close()
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
            self.handler.put(sys.stderr, "line 000 " + 90 * "x")
            while self.handler._waiting_chars:  # until the thread has it, and waits for the pipe
                self.assertLess(time.monotonic() - begun, DEADLINE_S)
                time.sleep(0.001)
            begun = time.monotonic()
            for i in range(1, 500):
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

    def test_what_would_come_every_second_is_written_once_in_its_time(self) -> None:
        with self.pipe() as pipe:
            for i in range(5):
                self.log.info("mistake %d", i, extra={"again_after_s": 60.0})
            self.log.info("after")
            lines = pipe.lines("after")
        self.assertEqual([line for line in lines if "mistake" in line], lines[:1])

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
