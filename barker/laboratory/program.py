"""Program: a service of the reader's own, started, watched and ended as one of ours.

It is started with the flags that ours get, and may be in any language. Its output goes to a file,
up to a limit. Its whole process group is hurt and ended with it, since a command may be a script
around the program. Each of its faults is reported in one line:

* it can't be started, ends before it is ready, or is not ready in time;
* its READY is no ``READY HOST:PORT``, or has another port than the one it was given;
* it does not end when it is asked to, or leaves processes behind;
* it prints without an end.
"""

import contextlib
import os
import pathlib
import re
import shlex
import signal
import time
from collections.abc import Callable, Sequence

from barker.laboratory.lab import CAN_FREEZE, PATIENT_S, SHOWN_CHARS, Broken, Child, until
from barker.process.terminal import printable

# Bytes of output that are kept for one system; further ones are only counted.
MAX_LOG_BYTES = 1024 * 1024
# Processes that it has started may end this much later.
LAST_S = 0.5


class Output:
    """The file that all processes of one name print to. Called by threads, one after the other."""

    def __init__(self, path: pathlib.Path, complain: Callable[[str], None]) -> None:
        self.path = path
        self.last = ""
        self._left = MAX_LOG_BYTES
        self._complain = complain

    def write(self, line: str) -> None:
        self.last = line if line.strip() else self.last
        if self._left <= 0:
            return
        data = f"{line}\n".encode(errors="replace")
        with self.path.open("ab") as file:
            file.write(data[: self._left])
        self._left -= len(data)
        if self._left <= 0:
            self._complain(f"prints over {MAX_LOG_BYTES // 1024} KiB; the rest is not kept")


class Program(Child):
    """One process of it, under its name for the directory.

    `complain` is called with its faults while it runs. A fault that keeps it from being ready is
    raised as Broken.
    """

    program = ()

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        flags: Sequence[str],
        port: int | None,
        output: Output,
        complain: Callable[[str], None],
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Raises Broken if there is no such command. Without a port it prints no READY."""
        self._port = port
        self._output = output
        self._complain = complain
        self._said = ""  # its READY
        try:
            super().__init__(name, [*command, *flags], pathlib.Path.cwd(), on_line)
        except OSError as fault:
            why = fault.strerror or fault
            raise Broken(f"{shlex.join(command)} can't be started: {why}") from None

    def keep(self, line: str) -> None:
        if line.startswith("READY") and not self._said:
            self._said = line
        self._output.write(line)
        super().keep(line)

    async def until_ready(self, within_s: float = PATIENT_S) -> None:
        if self._port is None:
            return
        with contextlib.suppress(Broken):  # a better report is below
            await until(lambda: self._said or self.has_ended, "READY", within_s)
        if not self._said:
            if self.has_ended:
                is_usage = self.status == 2 and self.lines  # then its first line has the mistake
                last = self.lines[0] if is_usage else self._output.last
                last = printable(last[:SHOWN_CHARS])
                words = f"; it says: {last}" if last else ", and has printed nothing"
                raise Broken(f"{self.name} ended with status {self.status} before READY{words}")
            raise Broken(f"{self.name} has not printed READY HOST:PORT within {within_s:g} s")
        found = re.fullmatch(r"READY \S+:(\d+)\s*", self._said)
        said = printable(self._said[:SHOWN_CHARS])
        if not found:
            raise Broken(f"{self.name} prints {said!r}, which is not READY HOST:PORT")
        if int(found[1]) != self._port:
            raise Broken(f"{self.name} prints {said!r}, and was given --port {self._port}")

    # --- blows to it, and to all that it has started ---

    def stop(self) -> None:
        self.hang_up()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if CAN_FREEZE:
            self._signal(signal.SIGCONT)

    def close(self, patience_s: float = 0.0) -> None:
        if patience_s and not self.ends_within(patience_s):
            self._complain(f"still runs {patience_s:g} s after SIGTERM, and is killed")
        was_killed = self.status is None or self.status == -9
        super().close()
        end = time.monotonic() + (0.0 if was_killed else LAST_S)
        while self._has_company() and time.monotonic() < end:
            time.sleep(0.02)
        if self._has_company() and not was_killed:
            self._complain("has ended, and left processes running that it had started")
        self.kill()

    def _has_company(self) -> bool:
        """Does any process of its group run after its own end?"""
        stats = list(pathlib.Path("/proc").glob("[0-9]*/stat"))
        for stat in stats:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.pid and state != "Z":
                    return True
        return not stats and self._signal(0)

    def _signal(self, number: int) -> bool:
        """To its whole group; False if no process of it is left."""
        if os.name != "posix":
            if number:
                self.popen.send_signal(number)
            return False
        try:
            os.killpg(self.pid, number)
        except OSError:  # none is left; macOS reports that we may not
            return False
        return True
