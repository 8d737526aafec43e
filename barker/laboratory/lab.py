"""A laboratory: a system of its own that may be hurt, and of which nothing is left afterwards.

Its services are the usual ones. Their ports are the usual ones, too, but all moved by the same
thousands to free ones, and its state folder is a temporary one. So a laboratory never meets a
system that runs on this machine already, and never touches another's ``var/``.
"""

import argparse
import asyncio
import pathlib
import random
import shlex
import signal
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

from barker.disk.files import ROOT
from barker.launching.child import ChildProcess
from barker.launching.commands import Command, busy_ports
from barker.launching.fleet import PATIENCE_S
from barker.process.arguments import DEFAULT_HOST, DIRECTORY_PORT, common_arguments

# A port that no service has. A process that listens there, moved by a shift, has all its ports.
CLAIM_PORT = 5699
# Thousands by which ports may be moved: below those that systems give to outgoing connections.
SHIFTS = range(1000, 26_001, 1000)
# Lines of a child's output that are remembered, to show the last ones if it fails.
KEPT_LINES = 100
# Characters that are shown of such a line.
SHOWN_CHARS = 90
# How long a process may take to be ready or to end. A slow machine takes one second.
PATIENT_S = 20.0

# Can a process be frozen here? (Not on Windows.)
CAN_FREEZE = hasattr(signal, "SIGSTOP")


class Broken(AssertionError):
    """Something did not happen that should have; the text names it."""


async def until(condition: Callable[[], object], what: str, within_s: float = PATIENT_S) -> None:
    """Wait in the loop until `condition()` is true. Raises Broken with `what` after `within_s`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not condition():
        if loop.time() > end:
            raise Broken(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(0.005)


class Child(ChildProcess):
    """One process of the laboratory; `name` is a service's name in the directory."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        cwd: pathlib.Path = ROOT,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        """A thread calls `on_line` with each line."""
        super().__init__(argv, cwd)
        self.name = name
        self.ready = False
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._on_line = on_line
        self._may_read = threading.Event()
        self._may_read.set()
        self.read(self.keep)

    @property
    def lines(self) -> list[str]:
        """The last ones."""
        return list(self._lines)

    def keep(self, line: str) -> None:
        """Called by a thread with each line."""
        self._may_read.wait()
        self._lines.append(line)
        self.ready = self.ready or line.startswith("READY ")
        self._on_line(line)

    def stop_reading(self) -> None:
        """Leave its output in the pipe, as a stopped launcher does, until `read_again`."""
        self._may_read.clear()

    def read_again(self) -> None:
        self._may_read.set()

    def close(self, patience_s: float = 0.0) -> None:
        self.read_again()
        super().close(patience_s)

    async def until_ready(self, within_s: float = PATIENT_S) -> None:
        """Raises Broken, with the process's last lines, if it does not get there."""
        await until(lambda: self.ready or self.has_ended, f"{self.name} is ready", within_s)
        if not self.ready:
            raise Broken(f"{self.name} ended at once: {' / '.join(self.lines[-5:])}")

    async def until_ended(self) -> None:
        await until(lambda: self.has_ended, f"{self.name} has ended")


class Lab:
    """Use as an asynchronous context manager; all that it started ends with it."""

    def __init__(
        self,
        flags: Sequence[str] = (),
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        """All processes get these `flags`; a thread calls `on_line` with each line of any."""
        self._more_flags = flags
        self._on_line = on_line
        self._folder = tempfile.TemporaryDirectory(prefix="barker-lab-")
        self.state = pathlib.Path(self._folder.name) / "var"
        self.children: list[Child] = []
        self.shift = 0
        self._has_directory = False  # it has had one
        self._claim: socket.socket | None = None

    async def __aenter__(self) -> "Lab":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self.children:
            if CAN_FREEZE:
                child.thaw()
            child.stop()
        for child in self.children:
            await asyncio.to_thread(child.close, PATIENCE_S)
        if self._claim:
            self._claim.close()
        self._folder.cleanup()

    def find_ports(self, commands: list[str]) -> None:
        """Choose a shift under which all ports are free. Raises Broken."""
        shifts = list(SHIFTS)
        random.shuffle(shifts)
        for self.shift in shifts:
            if self._claimed() and not busy_ports([self._command(words) for words in commands]):
                return
        raise Broken("all the ports that a laboratory could take are taken")

    def _claimed(self) -> bool:
        """Is this shift ours, and no other laboratory's that begins at the same moment?"""
        if self._claim:
            self._claim.close()
        self._claim = socket.socket()
        try:
            self._claim.bind((DEFAULT_HOST, CLAIM_PORT + self.shift))
            self._claim.listen()
        except OSError:
            return False
        return True

    @property
    def place(self) -> tuple[str, int]:
        """The address of the directory."""
        return DEFAULT_HOST, DIRECTORY_PORT + self.shift

    @property
    def flags(self) -> list[str]:
        """The flags that lead a command to this system."""
        place = "{}:{}".format(*self.place)
        return ["--directory", place, "--state", str(self.state), *self._more_flags]

    def args(self) -> argparse.Namespace:
        """The same for a node inside this process."""
        parser = argparse.ArgumentParser()
        common_arguments(parser)
        return parser.parse_args(self.flags)

    def _command(self, text: str) -> Command:
        """``bizlogic --port 5680`` -> the command to run here, under the name it will have."""
        module, *words = shlex.split(text)
        port = None
        if "--port" in words:
            at = words.index("--port") + 1
            port = int(words[at]) + self.shift
            words[at] = str(port)
        argv = ["-m", f"barker.{module}", *words]
        return Command(f"{module}-{port}" if port else module, argv, DEFAULT_HOST, port)

    def start(self, text: str) -> tuple[Child, Command]:
        """Start a service or a client; returns it with its command, without `flags`."""
        command = self._command(text)
        argv = [*command.argv, *self.flags]
        if command.label.startswith("directory") and not self._has_directory:
            self._has_directory = True
            argv.append("--no-settle")
        child = Child(command.label, argv, on_line=self._on_line)
        self.children.append(child)
        return child, command
