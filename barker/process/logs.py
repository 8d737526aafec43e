"""Logs: a process writes its lines through a thread, so that no reader can stop a loop.

A write to a full pipe waits until the pipe is read. Nothing reads it while a terminal is stopped,
while a pager shows its first page, or after Ctrl-Z of a launcher. So a line is made where it is
logged, and queued. A thread writes the queue in its order, and may wait for as long as a write
takes.

* The queue is bounded. When it is full, further lines are dropped and counted. Once the thread can
  go on, one line in their place gives their number.
* Lines of one kind (logger, level and text before its arguments are filled in) are limited within a
  second. Further ones are counted, and one line at the end of the second gives their number. So
  strangers do not fill a disk.
* A line that is logged with ``extra={"again_after_s": 60}`` is written once in that time. Without
  it, it would come every second for as long as a peer makes the same mistake.
* At the end of the process the queue is written, unless that takes too long.

Left out: files and their rotation. The program that starts a service sees to them; the service has
standard error.
"""

import io
import logging
import os
import sys
import threading
import time
from collections import deque
from typing import Any, TextIO

from barker.process import terminal

# Queued text: ten thousand lines, or some hundred tracebacks. Beyond, lines are dropped.
WAITING_CHARS = 1024 * 1024
# Lines of one kind within a second; beyond, they are counted.
SAME_KIND = 20
SECOND_S = 1.0
# Kinds with a count of their own within a second; all others share one.
MAX_KINDS = 1000
# Characters of the example in a line that counts others.
SHOWN_CHARS = 200
# At the end of a process, the queue is written within this time, or is lost.
FLUSH_S = 1.0
# Another program can make the shared pipe non-blocking; then we look this often.
FULL_PIPE_S = 0.05

# Logger, level and text.
Kind = tuple[str, int, str]
_OTHERS: Kind = ("barker", logging.WARNING, "lines of very many kinds")

MORE = "%d more lines like this one: %s"
DROPPED = "%d log lines were dropped, because standard error was not read"


class _OneLine(logging.Formatter):
    """Logs quote peers; a quotation must not look like another log line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = terminal.printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(terminal.printable, super().formatException(ei).split("\n")))


class QueuedHandler(logging.Handler):
    """Queues log lines, and other text for standard output or error, for a thread of its own.

    The handler's own lock guards all of it. It is reentrant: the garbage collector may log in the
    middle of a line, in the same thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
        assert self.lock
        self._changed = threading.Condition(self.lock)
        self._waiting: deque[tuple[TextIO, str]] = deque()
        self._waiting_chars = 0
        self._dropped = 0
        self._writing = False  # the thread has taken text, and not written all of it
        self._given_up = False  # it took too long at the end; no further wait for it
        self._kinds: dict[Kind, int] = {}  # within this second
        self._second_ends = 0.0
        self._examples: dict[Kind, str] = {}  # of kinds with more lines
        self._again_at: dict[Kind, float] = {}  # until when a kind is not written again
        threading.Thread(target=self._write_forever, name="log", daemon=True).start()

    # --- queueing ---

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._end_second(time.monotonic())
            if self._is_wanted(record):
                self.put(sys.stderr, self.format(record))
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Called by `emit` if the arguments do not fit the text, which is the caller's bug."""
        place = (record.pathname, record.lineno)
        text = "a line that can't be logged: %s:%d"
        about = logging.LogRecord(record.name, logging.ERROR, *place, text, place, sys.exc_info())
        self.put(sys.stderr, self.format(about))

    def put(self, stream: TextIO | None, text: str) -> None:
        """Queue one line, or several. `stream` is None if the process has it closed."""
        if stream is None:
            return
        with self._changed:
            # After one drop all are dropped, until the thread has taken the queue. So the line that
            # counts them has one place, behind all that was queued before.
            if self._dropped or self._waiting_chars + len(text) > WAITING_CHARS:
                self._dropped += 1
            else:
                self._waiting.append((stream, text + "\n"))
                self._waiting_chars += len(text)
            self._changed.notify_all()

    # --- kinds ---

    def _is_wanted(self, record: logging.LogRecord) -> bool:
        kind = (record.name, record.levelno, str(record.msg))
        if after_s := getattr(record, "again_after_s", 0.0):
            now = time.monotonic()
            if now < self._again_at.get(kind, 0.0):
                return False
            self._again_at[kind] = now + after_s
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            kind = _OTHERS
        count = self._kinds[kind] = self._kinds.get(kind, 0) + 1
        if count == SAME_KIND + 1:
            self._examples[kind] = record.getMessage()[:SHOWN_CHARS]
            self._changed.notify_all()  # the thread counts the rest, if nothing else comes
        return count <= SAME_KIND

    def _end_second(self, now: float) -> None:
        if now < self._second_ends:
            return
        self._second_ends = now + SECOND_S
        kinds, self._kinds = self._kinds, {}
        examples, self._examples = self._examples, {}
        for kind, example in examples.items():
            line = self._counting(kind[1], MORE, kinds[kind] - SAME_KIND, example)
            self.put(sys.stderr, line)

    def _counting(self, level: int, text: str, *args: object) -> str:
        """A line about lines."""
        return self.format(logging.LogRecord("barker.process.logs", level, "", 0, text, args, None))

    # --- the thread ---

    def _write_forever(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                while not (self._waiting or self._dropped):
                    self._given_up = False
                    self._changed.notify_all()
                    left_s = self._second_ends - time.monotonic()
                    self._changed.wait(max(0.0, left_s) if self._examples else None)
                    self._end_second(time.monotonic())
                waiting, self._waiting, self._waiting_chars = self._waiting, deque(), 0
                dropped, self._dropped = self._dropped, 0
                self._writing = True
            for stream, text in waiting:
                fault = _write(stream, text)
                why = terminal.unwritten(fault) if fault and stream is sys.stdout else ""
                if why and sys.stderr:
                    _write(sys.stderr, f"{why}: {text}")
            if dropped and sys.stderr:
                _write(sys.stderr, self._counting(logging.WARNING, DROPPED, dropped) + "\n")

    def flush(self) -> None:
        """Wait until all is written, for `FLUSH_S` in all. Called at the end of a process."""
        with self._changed:
            if self._examples:
                self._second_ends = 0.0
                self._end_second(time.monotonic())
            end = time.monotonic() + FLUSH_S
            while (self._waiting or self._dropped or self._writing) and not self._given_up:
                left_s = end - time.monotonic()
                self._given_up = left_s <= 0
                self._changed.wait(max(0.0, left_s))


def _write(stream: TextIO, text: str) -> Exception | None:
    """Write past the stream's own buffer. Returns the fault that prevented it, if any.

    The buffer has a lock. A thread that waits for a reader would hold it for as long, and the
    interpreter, which wants it at its end, would crash.
    """
    try:
        if not isinstance(stream, io.TextIOWrapper):
            stream.write(text)
            stream.flush()
            return None
        raw: Any = getattr(stream.buffer, "raw", stream.buffer)
        text = text.replace("\n", os.linesep)
        data = text.encode(stream.encoding, "backslashreplace")
        while data:
            written = raw.write(data)
            if written is None:
                time.sleep(FULL_PIPE_S)
            else:
                data = data[written:]
    except Exception as fault:
        return fault  # it is closed, the disk is full, `| head` has ended: the line has no reader
    return None


_handler: QueuedHandler | None = None  # of this process, once it logs


def setup_logging(verbose: bool) -> None:
    """Log lines go to stderr; standard output is for the program's results."""
    global _handler
    _handler = _handler or QueuedHandler()
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[_handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def say(program: str, text: str) -> None:
    """Queue one line for standard output, behind all that was logged before; never waits."""
    if _handler and sys.stdout:
        _handler.put(sys.stdout, terminal.printable(text))
    else:
        terminal.say(program, text)


def complain(program: str, text: object) -> None:
    """The same on stderr, as every command of ours reports a fault."""
    if _handler:
        _handler.put(sys.stderr, f"{program}: {terminal.printable(str(text))}")
    else:
        terminal.complain(program, text)


def end_line() -> None:
    """A terminal has shown ``^C``: begin a new line, for the next output or the prompt."""
    if _handler and sys.stderr is not None and sys.stderr.isatty():
        _handler.put(sys.stderr, "")
    else:
        terminal.end_line()


def flush() -> None:
    """Wait until all log lines are written, but not for long."""
    if _handler:
        _handler.flush()
