"""What tests wait by, ports that no other test has, and child processes whose lines are kept."""

import asyncio
import atexit
import contextlib
import math
import os
import pathlib
import queue
import random
import re
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Self, TypeVar

from barker.laboratory import lab
from barker.launching.child import ChildProcess
from barker.launching.commands import NO_BROWSER
from barker.process.arguments import LEASH

# One variable scales every deadline, for machines that are slow or busy.
SCALE = float(os.environ.get("BARKER_TEST_SCALE", "1"))
DEADLINE_S = 20.0 * SCALE
SLOW = bool(os.environ.get("BARKER_SLOW"))

Made = TypeVar("Made")


# Sockets that hold claims; macOS gives a process 256 files, unless it asks for more.
MAX_CLAIMS = 100
_claims: deque[socket.socket] = deque()


@atexit.register
def _give_up_claims() -> None:
    for holder in _claims:
        holder.close()


def claim(port: int) -> bool:
    """Is this port free? Then no other test on this machine is given it for a good while.

    A service takes its port later, and may be killed and started anew. So what holds the claim is a
    socket of UDP, which has ports of its own: none of our services is in its way. It is given up
    when `MAX_CLAIMS` more have been made.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        holder.bind(("127.0.0.1", port))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        return False
    _claims.append(holder)
    if len(_claims) > MAX_CLAIMS:
        _claims.popleft().close()
    return True


def free_port() -> int:
    """A port nobody uses, below those that the system gives to outgoing connections.

    So a service that is killed finds it free again when it is started anew.
    """
    while not claim(port := random.SystemRandom().randrange(10_000, 30_000)):
        pass
    return port


def free_shift(ports: Collection[int]) -> int:
    """What to add to all of these ports so that every one of them is free."""
    for _ in range(100):
        shift = free_port() - min(ports)
        others = {port + shift for port in ports if port != min(ports)}
        if max(others) > 65535 or not NO_BROWSER.isdisjoint({*others, shift + min(ports)}):
            continue
        if all(map(claim, others)):
            return shift
    raise AssertionError("no free ports")


async def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """`lab.until`, with the deadline of a test; what it raises is an AssertionError."""
    await lab.until(condition, what, deadline_s)


async def at_once(*starts: Callable[[], Made]) -> list[Made]:
    """Do these at the same time, in threads: each waits, for a service to be ready, say."""
    return await asyncio.gather(*map(asyncio.to_thread, starts))


def run_to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """A coroutine that waits for nothing but its next turn, without a loop."""
    with contextlib.suppress(StopIteration):
        while True:
            work.send(None)


class Process(ChildProcess):
    """A child of which all lines are kept as they come; what a test waits for, has a deadline."""

    def __init__(self, argv: Sequence[str], cwd: pathlib.Path, **popen: Any) -> None:
        """Start it. `popen` may be more arguments of `subprocess.Popen`, or others than ours."""
        self.lines: list[str] = []
        self._more: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        env = {**os.environ, LEASH: "1", "PYTHONUNBUFFERED": "1"}
        super().__init__(argv, cwd, **{"env": env, "process_group": None, **popen})
        self.read(self._keep, lambda: self._more.put(None))

    def __repr__(self) -> str:
        return f"{' '.join(self.argv)} [{self.pid}]\n  " + "\n  ".join(self.lines[-15:])

    def _keep(self, line: str) -> None:
        self.lines.append(line)
        self._more.put(line)

    def wait_for(self, pattern: str, deadline_s: float = DEADLINE_S) -> re.Match[str]:
        """The first line, of those not yet waited for, in which `pattern` is found."""
        end = time.monotonic() + deadline_s
        while True:
            try:
                line = self._more.get(timeout=max(0.001, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {pattern!r} within {deadline_s:g} s: {self!r}") from None
            if line is None:
                self._more.put(None)  # there will be no more the next time either
                raise AssertionError(f"ended without {pattern!r}: {self!r}")
            found = re.search(pattern, line)
            if found:
                return found

    def ended(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait until it has ended and its last line is read; the exit status."""
        try:
            status = self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {deadline_s:g} s: {self!r}") from None
        self.join(DEADLINE_S)
        return status

    @property
    def cpu_s(self) -> float:
        """CPU time so far, all threads, user and system; NaN if the platform doesn't tell."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        try:
            spent = [int(task.read_text().split()[0]) for task in tasks]  # ns, by thread
        except OSError:  # it ends just now
            return math.nan
        return sum(spent) / 1e9 if spent else math.nan

    @property
    def rss_bytes(self) -> float:
        """Memory at this moment; NaN if the platform doesn't tell, or it has ended."""
        try:
            pages = pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return math.nan
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """As kill -9 does; it has ended afterwards."""
        super().kill()
        self.ended()


class Service(Process):
    """A child that says READY; `port` is where, once `until_ready` has returned."""

    port: int

    def until_ready(self) -> Self:
        self.port = int(self.wait_for(r"^READY \S+:(\d+)$")[1])
        return self
