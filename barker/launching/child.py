"""Child: one process of ours that runs beside us, and its printed lines.

Its standard input is a pipe that only we hold. However we end, also by kill -9, that pipe ends with
us, and a service takes its end as the order to stop (`arguments.LEASH`). A thread reads its lines,
those of standard error too, because threads can do that on every platform.

Left out: the use of the lines; `read` gets callbacks for that.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import IO, Any

from barker.disk.files import ROOT
from barker.process.arguments import LEASH

# Its last lines are read for so long after its end. A child of its own may hold the pipe open.
LAST_LINES_S = 0.2
# A longer line comes in pieces: a line without an end must not fill our memory.
MAX_LINE_CHARS = 64 * 1024


class ChildProcess:
    """One child. It runs once this is made; its lines are read after `read`."""

    program: Sequence[str] = (sys.executable,)  # it gets the arguments

    def __init__(self, argv: Sequence[str], cwd: pathlib.Path = ROOT, **popen: Any) -> None:
        """Start it. `popen` may be more arguments of `subprocess.Popen`, or others than ours."""
        self.argv = argv
        self.has_ended = False  # its last line is read, and `status` is known
        popen = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "encoding": "utf-8",
            "errors": "replace",
            "env": {**os.environ, LEASH: "1"},
            # A group of its own: Ctrl-C is for us, and we forward the order.
            **({"process_group": 0} if os.name == "posix" else {}),
            **popen,
        }
        self.popen: subprocess.Popen[str] = subprocess.Popen(
            [*self.program, *argv], cwd=cwd, **popen
        )
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self.popen.poll()

    def read(
        self,
        on_line: Callable[[str], None],
        on_end: Callable[[], None] = lambda: None,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        """Call `on_line` with each line, without its end, and `on_end` after the last one.

        Threads call them. If standard error has a pipe of its own, `on_error` gets its lines.
        """
        errors = None
        if self.popen.stderr:
            args = (self.popen.stderr, on_error or on_line)
            errors = threading.Thread(target=_read_lines, args=args, daemon=True)
            errors.start()
        self._thread = threading.Thread(
            target=self._read, args=(on_line, on_end, errors), daemon=True
        )
        self._thread.start()

    def _read(
        self,
        on_line: Callable[[str], None],
        on_end: Callable[[], None],
        errors: threading.Thread | None,
    ) -> None:
        assert self.popen.stdout
        _read_lines(self.popen.stdout, on_line)
        if errors:
            errors.join()
        self.popen.wait()
        self.has_ended = True
        on_end()

    def join(self, timeout_s: float) -> bool:
        """Wait so long until its last line is read; is it?"""
        if self._thread:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def ends_within(self, seconds: float) -> bool:
        """Wait so long for its end; has it?"""
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    # --- signals and input ---

    def send(self, line: str) -> None:
        """One line to its standard input. Raises OSError if it has ended."""
        assert self.popen.stdin
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()

    def hang_up(self) -> None:
        """End its standard input, as the kernel does when we die."""
        if self.popen.stdin:
            with contextlib.suppress(OSError):
                self.popen.stdin.close()

    def stop(self) -> None:
        """Request its end: by SIGTERM, or on Windows, which lacks that, by the end of its input.

        Never waits. The input of a frozen child may be full, and its end waits for that.
        """
        if os.name == "posix":
            self.popen.terminate()
        else:
            self.hang_up()

    def kill(self) -> None:
        """Kill it, as kill -9 does."""
        self.popen.kill()

    def freeze(self) -> None:
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def close(self, patience_s: float = 0.0) -> None:
        """Wait so long for its end, whatever its state, then kill it. A second call is harmless."""
        if not self.ends_within(patience_s):
            self.popen.kill()
            self.popen.wait()
        self.hang_up()
        if self.join(LAST_LINES_S):
            for pipe in filter(None, (self.popen.stdout, self.popen.stderr)):
                pipe.close()


def _read_lines(pipe: IO[str], on_line: Callable[[str], None]) -> None:
    while line := pipe.readline(MAX_LINE_CHARS):
        on_line(line.rstrip("\n"))
