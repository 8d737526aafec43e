"""Fleet: start local processes, label what each of them says, stop them all together.

No asyncio here: a launcher waits for a signal, while threads copy lines. However the launcher ends,
its children end too (`barker.launching.child`).
"""

import errno
import os
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
from barker.process.terminal import is_nohup, say

# Between asking a child to stop and ending it the hard way. Most are gone within milliseconds; an
# inbox that hands over to others gives itself five seconds, and every node two for its links.
PATIENCE_S = 8.0

# Colours of labels that can be read on black and on white.
_COLOURS = (36, 33, 35, 32, 34, 31)


class Command(NamedTuple):
    """What to run: arguments for this Python, a label for its lines, the port it will want."""

    label: str
    argv: list[str]
    host: str = ""
    port: int | None = None

    def __str__(self) -> str:
        return shlex.join(["python", *self.argv])


def busy_ports(commands: Sequence[Command]) -> list[Command]:
    """Those of the commands whose port somebody else has.

    Raises OSError or UnicodeError if it is the host that can't be listened at.
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

    def __init__(self) -> None:
        self._children: dict[ChildProcess, Command] = {}
        self._events: queue.SimpleQueue[ChildProcess | None] = queue.SimpleQueue()
        self._print_lock = threading.Lock()
        self._width = 0
        self._stopping = False
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def stop_on_signals(self) -> None:
        """Ctrl-C and its relatives make `run` stop everything, from now on."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number and not is_nohup(number):
                signal.signal(number, lambda *_: self._events.put(None))

    def start(self, commands: Sequence[Command]) -> None:
        """Start all of them at once, each with a line that says so."""
        self._width = max(len(c.label) for c in commands)
        for i, command in enumerate(commands):
            child = ChildProcess(command.argv)
            self._children[child] = command
            self.say(f"[{child.pid}] {command}")
            label = f"{command.label:<{self._width}} | "
            if self._colour:
                label = f"\033[{_COLOURS[i % len(_COLOURS)]}m{label}\033[0m"
            child.read(
                lambda line, label=label: self.say(label + line),  # type: ignore[misc]
                lambda child=child: self._ended(child),  # type: ignore[misc]
            )

    def say(self, text: str) -> None:
        """One piece of text to standard output, never mixed with others'."""
        with self._print_lock:
            if not say(text):  # nobody reads us any more (launch.py | head)
                self._events.put(None)

    def run(self) -> int:
        """Report children that end by themselves, until a signal or the last of them.

        The exit status: 1 if all of them have ended by themselves and not all of them well, else 0.
        """
        failed = False
        while self._children:
            try:
                child = self._events.get(timeout=0.5)
            except queue.Empty:  # on Windows a wait without an end can't be interrupted
                continue
            if child is None:
                failed = False
                break
            command = self._children.pop(child)
            status = child.popen.wait()
            failed = failed or status != 0
            self.say(f"[{child.pid}] {command.label} ended: {_status(status)}")
        self.stop()
        return int(failed)

    def stop(self) -> None:
        """Ask all to stop, then insist."""
        self._stopping = True
        for child in self._children:
            child.stop()
        deadline = time.monotonic() + PATIENCE_S
        for child in self._children:
            child.close(max(0.0, deadline - time.monotonic()))

    def _ended(self, child: ChildProcess) -> None:
        """A thread has read the last line of that child."""
        if not self._stopping:
            self._events.put(child)


def _status(code: int) -> str:
    if code >= 0:
        return f"status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
