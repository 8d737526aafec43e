"""Children: processes that the bench has started, what they say, and what they have used so far.

`System` is the services of one Barker, on free ports, with a state folder of its own.
"""

import contextlib
import json
import math
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

from barker import state, users
from barker.arguments import LEASH
from barker.users import World
from tests.fleet import free_port

# For one event. The longest wait is for a backlog of a million to drain on a slow machine.
DEADLINE_S = 300.0
# A service gives itself a second to finish.
PATIENCE_S = 5.0
# What is still going on after the last bark was shown (acks, notes of what is settled) is over when
# all services together use less than this part of a core, seen over such a span.
QUIET = 0.05
QUIET_S = 0.1

# On a machine that has other things to do, a process may stand still for a second. Its peers would
# give it up, and say everything again: more work than is to be measured.
PATIENT = ("--heartbeat", "5")


class BenchError(Exception):
    """Something did not run as it has to for a measurement to mean anything."""


class Child:
    """One process; its lines of JSON are events, and a service's READY is one, too."""

    def __init__(
        self, label: str, argv: Sequence[str], *, profile: pathlib.Path | None = None
    ) -> None:
        self.label = label
        if profile:
            argv = ["-m", "cProfile", "-o", str(profile / f"{label}.prof"), *argv]
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
        # A producer's standard input is what it is told, and its leash by `load.obey`.
        leash = "" if "producer" in argv else "1"
        self.process = subprocess.Popen(
            [sys.executable, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            cwd=state.ROOT,
            env={**os.environ, LEASH: leash},
        )
        self._asked = False
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event of that name. Raises BenchError if there won't be one."""
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise BenchError(f"{self.label}: no {name!r} in {DEADLINE_S:g} s") from None
            if not line:
                self._lines.put("")
                raise BenchError(f"{self.label} ended without {name!r}\n{self._complaint()}")
            fields = {}
            if line.startswith("READY"):
                fields = {"event": "ready", "port": int(line.rpartition(":")[2])}
            elif line.startswith("{"):
                fields = json.loads(line)
            if fields.get("event") == name:
                return fields

    def _complaint(self) -> str:
        """The end of what it has said on standard error."""
        self._complaints.seek(0)
        return self._complaints.read().decode(errors="replace")[-2000:]

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    @property
    def cpu_s(self) -> float:
        """CPU time so far, all threads, user and system; NaN if the platform doesn't tell."""
        return _cpu_s(self.process.pid)

    @property
    def rss_bytes(self) -> float:
        """Memory at this moment; NaN if the platform doesn't tell."""
        try:
            pages = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return math.nan

    def ask_to_stop(self) -> None:
        """Once: after its loop a second signal would end it in the middle of a profile."""
        if not self._asked and self.process.poll() is None:
            self._asked = True
            self.process.terminate()

    def kill(self) -> None:
        """As kill -9 does; it is gone afterwards."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Ask it to stop, then insist."""
        self.ask_to_stop()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._thread.join(1)
        for file in (self.process.stdin, self.process.stdout, self._complaints):
            if file:
                with contextlib.suppress(OSError):
                    file.close()


def _cpu_s(pid: int) -> float:
    """Linux counts nanoseconds, by thread."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    try:
        spent = [int(task.read_text().split()[0]) for task in tasks]
    except OSError:  # it ends just now
        return math.nan
    return sum(spent) / 1e9 if spent else math.nan


def spent(children: Sequence[Child]) -> dict[str, float]:
    """CPU seconds so far, by label, once all of them have come to rest."""
    before = sum(child.cpu_s for child in children)
    for _ in range(20):
        rest(QUIET_S)
        now = {child.label: child.cpu_s for child in children}
        if not sum(now.values()) - before > QUIET * QUIET_S:
            break
        before = sum(now.values())
    return now


def cpu_s(children: Sequence[Child]) -> float:
    """Of all of them together."""
    return sum(spent(children).values())


def rest(seconds: float) -> None:
    """To measure over a span takes that span."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(left)


class Children(contextlib.ExitStack):
    """A context manager for whatever is started; nothing of it is left afterwards."""

    def __init__(self, profile: pathlib.Path | None = None) -> None:
        super().__init__()
        self.profile = profile
        self.all: list[Child] = []
        self.callback(self._close)

    def start(self, label: str, *argv: str) -> Child:
        child = Child(label, argv, profile=self.profile)
        self.all.append(child)
        return child

    def _close(self) -> None:
        for child in self.all:
            child.ask_to_stop()
        for child in self.all:
            child.close()


class System(Children):
    """The real services with a state folder of their own."""

    def __init__(self, world: World, profile: pathlib.Path | None = None) -> None:
        folder = tempfile.TemporaryDirectory(prefix="barker ")
        super().__init__(profile)
        self.state = pathlib.Path(folder.name)
        (self.state / "users.json").write_text(users.dump(world), encoding="utf-8")
        self.secret = state.secret(self.state)
        self.port = free_port()
        self._folder = folder

    def _close(self) -> None:
        super()._close()
        self._folder.cleanup()

    def run(self, label: str, module: str, *argv: str) -> Child:
        """Start a node: a service, a producer, a listener."""
        place = ("--directory", f"127.0.0.1:{self.port}", "--state", str(self.state))
        return self.start(label, "-m", module, *PATIENT, *place, *argv)

    def directory(self) -> Child:
        return self.run("directory", "barker.directory", "--port", str(self.port))

    def outbox(self, name: str, *flags: str) -> Child:
        argv = ("outbox", "--push", "bizlogic", "--port", "0", "--name", name)
        return self.run(name, "barker.manifold", *argv, *flags)

    def followers(self) -> Child:
        return self.run("followers", "barker.followers", "--port", "0")

    def bizlogic(self) -> Child:
        return self.run("bizlogic", "barker.bizlogic", "--port", "0")

    def inbox(self, *flags: str) -> Child:
        return self.run("inbox", "barker.manifold", "inbox", "--port", "0", *flags)

    def pipeline(self, *flags: str) -> list[Child]:
        """Directory, followers, 3 outboxes, bizlogic, inbox; `flags` are for manifolds."""
        first = [self.directory(), self.followers()]
        outboxes = [self.outbox(f"outbox-{i}", *flags) for i in (1, 2, 3)]
        return [*first, *outboxes, self.bizlogic(), self.inbox(*flags)]

    def producer(self, label: str, **flags: object) -> Child:
        return self.run(label, "tests.bench.people", "producer", *_words(flags))

    def listener(self, **flags: object) -> Child:
        return self.run("listener", "tests.bench.people", "listener", *_words(flags))


def _words(flags: dict[str, object]) -> list[str]:
    """Flags as on a command line; those that are None or False are left out."""
    words: list[str] = []
    for name, value in flags.items():
        if value is None or value is False:
            continue
        words.append(f"--{name}")
        if value is not True:
            words += [str(v) for v in value] if isinstance(value, list) else [str(value)]
    return words


def all_ready(children: Sequence[Child]) -> None:
    for child in children:
        child.event("ready")
