"""Fleet: start local processes, label their lines, stop them all together.

No asyncio here: a launcher waits for a signal, while threads copy lines. However the launcher ends,
its children end too (`barker.launching.child`).
"""

import contextlib
import errno
import functools
import math
import queue
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from barker.launching.child import ChildProcess
from barker.links import hosts
from barker.process import terminal
from barker.process.terminal import is_nohup

# Between the request to stop and the kill. Most children end within milliseconds; an inbox that
# hands over to others takes up to five seconds, and every node two for its links.
PATIENCE_S = 8.0

# When the launcher names the services that are not ready yet.
SLOW_START_S = 10.0

# Labels are padded to this, so that lines stay short; a longer label sticks out.
LABEL_COLUMNS = 10

# Colours of labels that can be read on black and on white.
_COLOURS = (36, 33, 35, 32, 34, 31)


# These stand among the numbers of signals: our output can't be written; all services are ready.
_UNREAD = 0
_READY = -1


class Command(NamedTuple):
    """A process to run: arguments for this Python, a label for its lines, the port it will want.

    `short` is the launcher's line for it in its list, without the flags that all have. `first` are
    flags for a start together with all others; a later start is without them.
    """

    label: str
    argv: list[str]
    host: str = ""
    port: int | None = None
    short: str = ""
    first: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{terminal.python()} {shlex.join(self.argv)}"


def busy_ports(commands: Sequence[Command]) -> list[Command]:
    """The commands whose port another process has.

    Raises OSError or UnicodeError if the host itself can't be listened at.
    """
    return [c for c in commands if c.port and not _is_free(c.host, c.port)]


def _is_free(host: str, port: int) -> bool:
    try:
        sockets = hosts.bind(hosts.addresses(host, port))
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        return False
    for probe in sockets:
        probe.close()
    return True


class Fleet:
    """Children that were started together; their lines go to our standard output."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._children: dict[ChildProcess, Command] = {}
        self._events: queue.SimpleQueue[ChildProcess | int] = queue.SimpleQueue()
        self._print_lock = threading.Lock()
        self._width = 0
        self._stopping = False
        self._unread = False
        self._starting: set[str] = set()  # labels of services that have not printed READY
        self._ready = 0
        self._slow_at = 0.0
        self._colour = terminal.wants_colour(sys.stdout)

    def stop_on_signals(self) -> None:
        """From now on, Ctrl-C and its relatives make `run` stop all children."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number and not is_nohup(number):
                signal.signal(number, lambda number, _: self._events.put(number))

    def start(self, commands: Sequence[Command]) -> None:
        """Start all of them at once, with a printed line for each."""
        self._width = min(LABEL_COLUMNS, max(len(c.label) for c in commands))
        services = {c.label for c in commands if c.port}
        if len(services) > 1:  # a single one prints READY itself
            self._starting = services
        else:
            self._events.put(_READY)
        self._slow_at = time.monotonic() + SLOW_START_S
        for i, command in enumerate(commands):
            child = ChildProcess([*command.argv, *command.first])
            self._children[child] = command
            self.say(f"[{child.pid}] {command.short}")
            label = f"{command.label:<{self._width}} | "
            if self._colour:
                label = f"\033[{_COLOURS[i % len(_COLOURS)]}m{label}\033[0m"
            child.read(
                functools.partial(self._said, command.label, label),
                functools.partial(self._ended, child),
            )

    def say(self, *lines: str, label: str = "") -> None:
        """Lines to standard output, never mixed with others'.

        If it can't be written (launch.py | head), `run` ends.
        """
        with self._print_lock:
            if not self._unread and not terminal.say(self._program, *lines, label=label):
                self._unread = True
                self._events.put(_UNREAD)

    def run(self) -> int:
        """Report children that end by themselves, until a signal or the last of them.

        The exit status: 1 if our output can't be written, or if all of them have ended by
        themselves and not all of them well; else 0.
        """
        failed = False
        while self._children:
            try:
                child = self._events.get(timeout=0.5)
            except queue.Empty:  # on Windows a wait without an end can't be interrupted
                self._look_for_slow_ones()
                continue
            if child == _READY:
                self._pass_on_that_all_is_ready()
                continue
            if isinstance(child, int):
                if child == signal.SIGINT:
                    terminal.end_line()
                failed = child == _UNREAD
                break
            command = self._children.pop(child)
            status = child.popen.wait()
            child.close()
            failed = failed or status != 0
            self.say(f"[{child.pid}] {command.label} ended: {_status(status)}")
            self._started(command.label)
        self.stop()
        return int(failed)

    def stop(self) -> None:
        """Request all to stop, then kill the others."""
        self._stopping = True
        for child in self._children:
            child.stop()
        deadline = time.monotonic() + PATIENCE_S
        for child in self._children:
            child.close(max(0.0, deadline - time.monotonic()))

    def _started(self, label: str, ready: int = 0) -> bool:
        """Take a service that is ready, or has ended, off the list of those that start.

        One line follows when the list is empty. False if the service was not on it.
        """
        with self._print_lock:
            if label not in self._starting:
                return False
            self._starting.discard(label)
            self._ready += ready
            done, count = not self._starting, self._ready
        if done:
            self.say(f"Ready: {count} services.")
            self._events.put(_READY)
        return True

    def _pass_on_that_all_is_ready(self) -> None:
        """Notify the processes: one that misses another logs it now (`barker.process.waiting`)."""
        for child in self._children:
            with contextlib.suppress(OSError):  # it has ended
                child.send("ready")

    def _look_for_slow_ones(self) -> None:
        with self._print_lock:
            slow = sorted(self._starting) if time.monotonic() > self._slow_at else []
        if slow:
            self._slow_at = math.inf
            self.say(f"Not ready after {SLOW_START_S:g} s: {', '.join(slow)}")

    def _said(self, name: str, label: str, line: str) -> None:
        """Called by a thread that has read that line of a child."""
        if not (line.startswith("READY ") and self._started(name, ready=1)):
            self.say(line, label=label)

    def _ended(self, child: ChildProcess) -> None:
        """Called by a thread that has read the last line of that child."""
        if not self._stopping:
            self._events.put(child)


def _status(code: int) -> str:
    if code >= 0:
        return f"status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
