"""Progress of work that takes minutes: one line, in place on a terminal, else now and then.

Ctrl-C before its end prints a line, too, and has a status of its own.
"""

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from barker.process import starting, terminal

# Between two lines where lines stay, as in a file.
EVERY_S = 10.0


def status_of(program: str, main: Callable[[], int]) -> int:
    """Run a command; its exit status, which is 130 if Ctrl-C comes before its end."""
    starting.take_ctrl_c_back()
    try:
        return main()
    except KeyboardInterrupt:
        terminal.end_line()
        terminal.complain(program, "interrupted")
        return 130


class Progress:
    """Writes the progress of work to standard error; its results go to standard output."""

    def __init__(
        self, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._in_place = stream.isatty()
        self._said_at = clock() - EVERY_S

    def say(self, text: str) -> None:
        """Show this text; it may be called often."""
        text = terminal.printable(text)
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r{text[:width]:<{width}}\r")
        elif self._clock() - self._said_at >= EVERY_S:
            self._said_at = self._clock()
            self._write(f"{text}\n")

    def end(self) -> None:
        """Leave the line to others."""
        if self._in_place:
            self._write(f"\r{'':<{shutil.get_terminal_size().columns - 1}}\r")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # it has no reader any more; the work goes on
