"""Children: processes that the bench has started, what they say, and what they have used so far.

`System` is the services of one Barker, on free ports, with a state folder of its own.
"""

import contextlib
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from barker.disk import files, keys, users
from barker.disk.users import World
from barker.process.arguments import LEASH
from barker.streams.stream import DEFAULT_KEEP
from tests.tools.children import Process, free_port

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


class Child(Process):
    """One process; its lines of JSON are events, and a service's READY is one, too."""

    def __init__(
        self, label: str, argv: Sequence[str], *, profile: pathlib.Path | None = None
    ) -> None:
        self.label = label
        self._asked = False
        if profile:
            argv = ["-m", "cProfile", "-o", str(profile / f"{label}.prof"), *argv]
        # A producer's standard input is what it is told, and its leash by `load.obey`.
        leash = "" if "producer" in argv else "1"
        super().__init__(argv, files.ROOT, env={**os.environ, LEASH: leash})

    def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event of that name. Raises BenchError if there won't be one."""
        ready = "^READY |" if name == "ready" else ""
        try:
            line = self.wait_for(rf'{ready}^{{"event": "{name}"', DEADLINE_S).string
        except AssertionError as fault:
            raise BenchError(f"{self.label}: {fault}") from None
        if line.startswith("READY"):
            return {"event": "ready", "port": int(line.rpartition(":")[2])}
        fields: dict[str, Any] = json.loads(line)
        return fields

    def go(self) -> None:
        self.send("go")

    def ask_to_stop(self) -> None:
        """Once: after its loop a second signal would end it in the middle of a profile."""
        if not self._asked and self.popen.poll() is None:
            self._asked = True
            self.popen.terminate()

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Ask it to stop, then insist."""
        self.ask_to_stop()
        super().close(patience_s)


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
        self.secret = keys.secret(self.state)
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
        flags = ("--port", str(self.port), "--no-settle")
        return self.run("directory", "barker.directory", *flags)

    def outbox(self, name: str, *flags: str) -> Child:
        argv = ("--port", "0", "--name", name)
        return self.run(name, "barker.outbox", *argv, *flags)

    def followers(self) -> Child:
        return self.run("followers", "barker.followers", "--port", "0", "--name", "followers")

    def bizlogic(self) -> Child:
        return self.run("bizlogic", "barker.bizlogic", "--port", "0")

    def inbox(self, *flags: str) -> Child:
        return self.run("inbox", "barker.inbox", "--port", "0", "--name", "inbox", *flags)

    def pipeline(self, *flags: str, keep: int = DEFAULT_KEEP) -> list[Child]:
        """Directory, followers, 3 outboxes, bizlogic, inbox; `flags` are for manifolds."""
        first = [self.directory(), self.followers()]
        outboxes = [self.outbox(f"outbox-{i}", *flags) for i in (1, 2, 3)]
        return [*first, *outboxes, self.bizlogic(), self.inbox("--keep", str(keep), *flags)]

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
