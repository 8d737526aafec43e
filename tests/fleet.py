"""The system for tests: real processes on free ports in a temporary folder, and people to use it.

`Fleet` starts and hurts processes. `Producer` and `Audience` are nodes that run inside a test: one
puts numbered barks and knows which of them were acked, the other reads inboxes and knows what it
was shown. `Audience.verdict` holds the two against each other: lost, twice, out of order,
unexpected.
"""

import argparse
import asyncio
import atexit
import contextlib
import os
import pathlib
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from typing import Any

from barker import barks, state, wire
from barker.arguments import LEASH
from barker.bark import new_id, now_ms
from barker.bizlogic import Targets
from barker.delivery import Delivery, Job, Put
from barker.listen import Reader
from barker.node import Node
from barker.processes import NO_BROWSER

CERTIFICATES = state.ROOT / "tests" / "certificates"
TLS_FLAGS = (
    *("--tls-cert", str(CERTIFICATES / "service.pem")),
    *("--tls-key", str(CERTIFICATES / "service.key")),
    *("--tls-ca", str(CERTIFICATES / "authority.pem")),
)

# One variable scales every deadline, for machines that are slow or busy.
SCALE = float(os.environ.get("BARKER_TEST_SCALE", "1"))
DEADLINE_S = 20.0 * SCALE
SLOW = bool(os.environ.get("BARKER_SLOW"))


def copy_of_the_project(root: pathlib.Path) -> pathlib.Path:
    """Make `root` what a clone would hold, without history; and compiled, as far as ours is.

    A first start would wait for that otherwise, and all that begin with a copy are first starts.
    """
    unwanted = shutil.ignore_patterns("var", ".*", "*_host.js*")
    shutil.copytree(state.ROOT, root, ignore=unwanted)
    if "PYTHONPYCACHEPREFIX" in os.environ:
        prefix = pathlib.Path(os.environ["PYTHONPYCACHEPREFIX"])
        ours, copys = (prefix / path.relative_to(path.anchor) for path in (state.ROOT, root))
        if ours.is_dir():
            shutil.copytree(ours, copys)
    return root


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
    """Wait in the loop until `condition()` is true; AssertionError with `what` at the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        await asyncio.sleep(0.005)


def run_to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """A coroutine that waits for nothing but its next turn, without a loop."""
    with contextlib.suppress(StopIteration):
        while True:
            work.send(None)


class Process:
    """One child; its lines are kept as they come."""

    def __init__(self, argv: Sequence[str], cwd: pathlib.Path, **popen: Any) -> None:
        self.argv = argv
        self.lines: list[str] = []
        self._more: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.child = subprocess.Popen(
            [sys.executable, *argv],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env={**os.environ, LEASH: "1", "PYTHONUNBUFFERED": "1"},
            **popen,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"{' '.join(self.argv)} [{self.pid}]\n  " + "\n  ".join(self.lines[-15:])

    @property
    def pid(self) -> int:
        return self.child.pid

    def _read(self) -> None:
        assert self.child.stdout
        for line in self.child.stdout:
            self.lines.append(line.rstrip("\n"))
            self._more.put(self.lines[-1])
        self._more.put(None)

    def wait_for(self, pattern: str, deadline_s: float = DEADLINE_S) -> re.Match[str]:
        """The first line, of those not yet waited for, in which `pattern` is found."""
        end = time.monotonic() + deadline_s
        while True:
            try:
                line = self._more.get(timeout=max(0.001, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {pattern!r} within {deadline_s:g} s: {self!r}") from None
            if line is None:
                self.child.wait(DEADLINE_S)
                raise AssertionError(f"ended without {pattern!r}: {self!r}")
            found = re.search(pattern, line)
            if found:
                return found

    def ended(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for its end; the exit status."""
        try:
            status = self.child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {deadline_s:g} s: {self!r}") from None
        self._thread.join(DEADLINE_S)
        return status

    def signal(self, number: int) -> None:
        self.child.send_signal(number)

    def kill(self) -> None:
        """As kill -9 does."""
        self.child.kill()
        self.ended()

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it for good, whatever state it is in."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                self._thread.join(1.0)
                with contextlib.suppress(OSError):
                    pipe.close()


class Service(Process):
    """A child that has said READY; `port` is where."""

    port: int


class Fleet:
    """Services of one system. Use as a context manager; nothing of it is left afterwards."""

    def __init__(
        self,
        *,
        heartbeat_s: float = 1.0,
        more_flags: Sequence[str] = (),
        own_followers: bool = False,
    ) -> None:
        """With `own_followers`, no followers service is started but by the test."""
        self._folder = tempfile.TemporaryDirectory(prefix="barker ")
        self.state = pathlib.Path(self._folder.name) / "var"
        self.heartbeat_s = heartbeat_s
        self.more_flags = more_flags
        self.port = free_port()
        self.processes: list[Process] = []
        self._own_followers = own_followers
        self._lock = threading.Lock()  # tests start services from several threads
        self.world = state.world(self.state)

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.close()
        self._folder.cleanup()

    @property
    def flags(self) -> list[str]:
        """What every process of this system is told."""
        place = f"127.0.0.1:{self.port}"
        beat = f"{self.heartbeat_s:g}"
        own = ["--directory", place, "--state", str(self.state), "--heartbeat", beat]
        return [*own, *self.more_flags]

    def run(self, module: str, *args: str, **popen: Any) -> Process:
        """Start a client or anything else of `barker`."""
        process = Process(["-m", f"barker.{module}", *args, *self.flags], state.ROOT, **popen)
        self.processes.append(process)
        return process

    def start(self, module: str, *args: str, port: int = 0) -> Service:
        """Start a service and wait until it is ready."""
        argv = ["-m", f"barker.{module}", *args, "--port", str(port), *self.flags]
        service = Service(argv, state.ROOT)
        self.processes.append(service)
        service.port = int(service.wait_for(r"^READY \S+:(\d+)$")[1])
        return service

    def directory(self) -> Service:
        return self.start("directory", port=self.port)

    def inbox(self, *args: str, port: int = 0) -> Service:
        return self.start("manifold", "inbox", *args, port=port)

    def outbox(self, *args: str, port: int = 0) -> Service:
        return self.start("manifold", "outbox", "--push", "bizlogic", *args, port=port)

    def followers(self, *args: str, port: int = 0) -> Service:
        return self.start("followers", *args, port=port)

    def bizlogic(self, *args: str, port: int = 0) -> Service:
        """And before the first one, if the test has not done so, whom it has the graph from."""
        with self._lock:
            begun = any("barker.followers" in p.argv for p in self.processes)
            if not (begun or self._own_followers):
                self.run("followers", "--port", "0", "--no-journal")
        return self.start("bizlogic", *args, port=port)

    def running(self, word: str) -> int:
        """How many processes with that word on their command line live."""
        return sum(word in p.argv and p.child.poll() is None for p in self.processes)

    def args(self, **more: Any) -> argparse.Namespace:
        """Arguments for a node that runs inside the test."""
        return argparse.Namespace(
            directory=("127.0.0.1", self.port),
            state=self.state,
            secret_file=None,
            tls_cert=None,
            tls_key=None,
            tls_ca=None,
            heartbeat=self.heartbeat_s,
            **more,
        )

    @contextlib.asynccontextmanager
    async def people(
        self, readers: Sequence[str] = ()
    ) -> "AsyncIterator[tuple[Producer, Audience]]":
        """A producer and an audience for `readers` (everybody by default), running in this loop."""
        # Debugging slows the loop down by half, and we measure what others do through it.
        asyncio.get_running_loop().set_debug(False)
        producer = Producer(self.args())
        audience = Audience(self.args(), readers or self.world.names, Targets(self.world))
        runs = [asyncio.create_task(node.run()) for node in (producer, audience)]
        try:
            await until(
                lambda: len(producer.routes.route("outbox").targets) == self.running("outbox"),
                "all outboxes are known",
            )
            yield producer, audience
        finally:
            producer.stop()
            audience.stop()
            await asyncio.gather(*runs)


class Guest(Node):
    """A node inside a test: signals stay the test runner's."""

    def _stop_on_signals(self) -> None:
        pass


class Said:
    """One bark of a producer; a `Job`."""

    void = False

    def __init__(self, bark: barks.Bark) -> None:
        self.bark = bark
        self.pending = 0
        self.acked_at: float | None = None
        self.refused: str | None = None


class Producer(Guest):
    """Says numbered barks: each author's content is "1", "2", "3", ..."""

    kind = "producer"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.said: list[Said] = []
        self._numbers: Counter[str] = Counter()

    async def started(self) -> None:
        self._mouth = _Mouth(self)

    def say(self, users: Sequence[str]) -> None:
        """One bark for each of `users`, on its way at once."""
        for user in users:
            self._numbers[user] += 1
            bark = barks.Bark(new_id(), user, str(self._numbers[user]), now_ms())
            said = Said(bark)
            self.said.append(said)
            self._mouth.put((f"outbox/{user}",), wire.unstamped(barks.encode_bark(bark)), said)
        self._mouth.pump()

    async def say_at(self, rate: float, count: int, users: Sequence[str]) -> None:
        """`count` barks in all at `rate` a second, by `users` in turn."""
        begun, done = self.now(), 0
        while done < count:
            due = min(count, int((self.now() - begun) * rate) + 1)
            self.say([users[i % len(users)] for i in range(done, due)])
            done = due
            await asyncio.sleep(0.002)

    @property
    def unanswered(self) -> int:
        return sum(1 for s in self.said if s.acked_at is None and s.refused is None)

    async def all_acked(self, deadline_s: float = DEADLINE_S) -> None:
        await until(lambda: not self.unanswered, "every bark is acked", deadline_s)


class _Mouth(Delivery):
    def __init__(self, node: Producer) -> None:
        super().__init__(node, "outbox")

    def settled(self, jobs: list[Job]) -> None:
        for job in jobs:
            assert isinstance(job, Said)
            job.pending -= 1
            job.acked_at = self.node.now()

    def refused(self, put: Put, code: str, reason: str, addresses: Sequence[str]) -> None:
        assert isinstance(put.job, Said)
        put.job.refused = code


class Audience(Guest):
    """Reads many inboxes; remembers, for each reader, what was shown in which order."""

    kind = "audience"

    def __init__(self, args: argparse.Namespace, readers: Sequence[str], targets: Targets) -> None:
        super().__init__(args)
        self.readers = list(readers)
        self.shown: dict[str, list[tuple[str, str, str]]] = {r: [] for r in readers}
        self.late: set[tuple[str, str]] = set()
        self.shown_at: list[float] = []
        self._targets = targets

    async def started(self) -> None:
        self.reader = Reader(self, self.readers, self._show, self._refused, history=0)

    def _show(self, reader: str, body: dict[str, Any], late: bool) -> None:
        if late:
            self.late.add((reader, body["id"]))
        self.shown[reader].append((body["user"], body["id"], body["content"]))
        self.shown_at.append(self.now())

    def _refused(self, user: str, reason: str) -> None:
        raise AssertionError(f"{user}: {reason}")

    async def ready(self) -> None:
        """Wait until every inbox has answered: what is said from now on is not the past."""
        places = self.reader._places.values()
        await until(
            lambda: all(p.epoch is not None and p.past is None for p in places),
            "every inbox has answered",
        )

    def expected(self, said: Sequence[Said]) -> Counter[tuple[str, str]]:
        """(reader, id) for everything that should be shown, once each."""
        return Counter(
            (address.partition("/")[2], s.bark.id)
            for s in said
            if s.acked_at is not None
            for address in self._targets.of(s.bark.user, s.bark.content)
            if address.partition("/")[2] in self.shown
        )

    def verdict(self, said: Sequence[Said]) -> dict[str, list[Any]]:
        """What is wrong: lists of offenders, all of them empty if everything was kept."""
        due = self.expected(said)
        got = Counter((r, id_) for r, barks in self.shown.items() for _, id_, _ in barks)
        known = {s.bark.id for s in said}
        disorder = []
        for reader, shown in self.shown.items():
            last: Counter[str] = Counter()
            for author, id_, content in shown:
                if id_ not in known:
                    continue  # somebody else's: counts as unexpected, and may be any text
                if int(content) < last[author] and (reader, id_) not in self.late:
                    disorder.append((reader, author, id_, content, last[author]))
                last[author] = max(last[author], int(content))
        return {
            "lost": [key for key in due if key not in got],
            "twice": [key for key, times in got.items() if times > 1],
            "out of order": disorder,
            "unexpected": [key for key in got if key[1] not in known],
        }

    async def all_shown(self, producer: Producer, deadline_s: float = DEADLINE_S) -> None:
        """Wait for the last of what is due; AssertionError names what is lost."""
        due = sum(self.expected(producer.said).values())

        def enough() -> bool:
            # What others have said is shown as well; so that it is enough says little.
            many = sum(map(len, self.shown.values())) >= due
            return many and not self.verdict(producer.said)["lost"]

        try:
            await until(enough, "everything is shown", deadline_s)
        except AssertionError:
            lost = self.verdict(producer.said)["lost"]
            raise AssertionError(f"{len(lost)} of {due} not shown, first {lost[:3]}") from None


GOOD: dict[str, list[Any]] = {"lost": [], "twice": [], "out of order": [], "unexpected": []}
