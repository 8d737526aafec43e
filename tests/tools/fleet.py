"""The system for tests: real processes on free ports in a temporary folder, and people to use it.

`Fleet` starts and hurts processes. `Producer` and `Audience` are nodes that run inside a test: one
puts numbered barks and knows which of them were acked, the other reads inboxes and knows what it
was shown. `Audience.verdict` holds the two against each other: lost, twice, out of order,
unexpected.
"""

import argparse
import asyncio
import contextlib
import os
import pathlib
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any, Self, TypeVar

from barker.bizlogic import Targets
from barker.client.reader import Reader
from barker.client.speaker import new_id, now_ms
from barker.disk import files
from barker.process.node import Node
from barker.wire import bodies, protocol
from barker.wire.ops import Item
from tests.tools.children import (
    DEADLINE_S,
    SCALE,
    SLOW,
    Process,
    Service,
    free_port,
    free_shift,
    run_to_its_end,
    until,
)
from tests.tools.mouth import Mouth, Said

# Whoever has a fleet needs these too.
__all__ = [
    "DEADLINE_S",
    "SCALE",
    "SLOW",
    "Process",
    "Service",
    "free_port",
    "free_shift",
    "run_to_its_end",
    "until",
]

CERTIFICATES = pathlib.Path(__file__).resolve().parent / "certificates"
TLS_FLAGS = (
    *("--tls-cert", str(CERTIFICATES / "service.pem")),
    *("--tls-key", str(CERTIFICATES / "service.key")),
    *("--tls-ca", str(CERTIFICATES / "authority.pem")),
)


def copy_of_the_project(root: pathlib.Path) -> pathlib.Path:
    """Make `root` what a clone would hold, without history; and compiled, as far as ours is.

    A first start would wait for that otherwise, and all that begin with a copy are first starts.
    """
    unwanted = shutil.ignore_patterns("var", ".*", "*_host.js*")
    shutil.copytree(files.ROOT, root, ignore=unwanted)
    if "PYTHONPYCACHEPREFIX" in os.environ:
        prefix = pathlib.Path(os.environ["PYTHONPYCACHEPREFIX"])
        ours, copys = (prefix / path.relative_to(path.anchor) for path in (files.ROOT, root))
        if ours.is_dir():
            shutil.copytree(ours, copys)
    return root


AnyProcess = TypeVar("AnyProcess", bound=Process)


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
        self.world = files.world(self.state)

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
        """Start a client or anything else of `barker`, or of another package by its whole name."""
        return self._add(Process(self._argv(module, *args), files.ROOT, **popen))

    def start(self, module: str, *args: str, port: int = 0, **popen: Any) -> Service:
        """Start a service and wait until it is ready."""
        argv = self._argv(module, *args, "--port", str(port))
        return self._add(Service(argv, files.ROOT, **popen)).until_ready()

    def _argv(self, module: str, *args: str) -> list[str]:
        whole = module if "." in module else f"barker.{module}"
        return ["-m", whole, *args, *self.flags]

    def _add(self, process: AnyProcess) -> AnyProcess:
        self.processes.append(process)
        return process

    def directory(self) -> Service:
        return self.start("directory", port=self.port)

    def inbox(self, *args: str, port: int = 0) -> Service:
        return self.start("inbox", *args, port=port)

    def outbox(self, *args: str, port: int = 0) -> Service:
        return self.start("outbox", *args, port=port)

    def followers(self, *args: str, port: int = 0) -> Service:
        return self.start("followers", *args, port=port)

    def bizlogic(self, *args: str, port: int = 0) -> Service:
        """And before the first one, if the test has not done so, whom it has the graph from."""
        with self._lock:
            begun = any("barker.followers" in p.argv for p in self.processes)
            if not (begun or self._own_followers):
                self.run("followers", "--port", "0", "--no-journal")
        return self.start("bizlogic", *args, port=port)

    def running(self, module: str) -> int:
        """How many processes of that module live."""
        return sum(f"barker.{module}" in p.argv and p.child.poll() is None for p in self.processes)

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
        async with producer.running(), audience.running():
            await until(
                lambda: len(producer.routes.route("outbox").targets) == self.running("outbox"),
                "all outboxes are known",
            )
            yield producer, audience


class Guest(Node):
    """A node inside a test: signals stay the test runner's."""

    def _stop_on_signals(self) -> None:
        pass

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """It runs in this loop until the block ends; before that, `started` has been called."""
        run = asyncio.create_task(self.run())
        await asyncio.sleep(0)
        try:
            yield self
        finally:
            self.stop()
            await run


class SaidBark(Said):
    """One bark of a producer."""

    def __init__(self, bark: bodies.Bark, said_at: float, also: Collection[str]) -> None:
        super().__init__()
        self.bark = bark
        self.said_at = said_at
        self.also = also  # readers it is due to besides those that the world has for it


class Producer(Guest):
    """Says numbered barks: each author's content is "1", "2", "3", ..., and a text if one is given.

    `also` may be replaced: by author and text, who must be shown a bark besides those whom the
    world has for it.
    """

    kind = "producer"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.said: list[SaidBark] = []
        self.also: Callable[[str, str], Collection[str]] = lambda user, text: ()
        self._numbers: Counter[str] = Counter()

    async def started(self) -> None:
        self._mouth = Mouth(self)

    def say(self, users: Sequence[str], text: str = "") -> list[SaidBark]:
        """One bark for each of `users`, on its way at once."""
        for user in users:
            self._numbers[user] += 1
            content = f"{self._numbers[user]} {text}".strip()
            bark = bodies.Bark(new_id(), user, content, now_ms())
            said = SaidBark(bark, self.now(), self.also(user, text))
            self.said.append(said)
            self._mouth.say(f"outbox/{user}", Item(bodies.encode_bark(bark)), said)
        self._mouth.pump()
        return self.said[len(self.said) - len(users) :]

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
        return self._mouth.unanswered

    async def all_acked(self, deadline_s: float = DEADLINE_S) -> None:
        await until(lambda: not self.unanswered, "every bark is acked", deadline_s)


class Audience(Guest):
    """Reads many inboxes; remembers, for each reader, what was shown in which order."""

    kind = "audience"

    def __init__(self, args: argparse.Namespace, readers: Sequence[str], targets: Targets) -> None:
        super().__init__(args)
        self.readers = list(readers)
        self.shown: dict[str, list[tuple[str, str, str]]] = {r: [] for r in readers}
        self.got: set[tuple[str, str]] = set()  # (reader, id) of all that was shown
        self.late: set[tuple[str, str]] = set()
        self.shown_at: list[float] = []
        self.last_shown: dict[str, float] = {}  # by id, when the last of `readers` was shown it
        self.excused: set[tuple[str, str]] = set()  # (reader, id) that need not be shown
        self.refused: list[tuple[str, str]] = []  # newcomers that an inbox does not know, and why
        self._from_the_start = set(readers)
        self._reading: list[Reader] = []
        self._targets = targets

    async def started(self) -> None:
        self.reader = Reader(self, self.readers, self._show, self._refused, history=0)
        self._reading.append(self.reader)

    def _show(self, reader: str, body: dict[str, Any], late: bool) -> None:
        if late:
            self.late.add((reader, body["id"]))
        self.shown[reader].append((body["user"], body["id"], body["content"]))
        self.got.add((reader, body["id"]))
        self.shown_at.append(self.now())
        if reader in self._from_the_start:
            self.last_shown[body["id"]] = self.shown_at[-1]

    def _refused(self, user: str, reason: str) -> None:
        raise AssertionError(f"{user}: {reason}")

    async def ready(self) -> None:
        """Wait until every inbox has answered: what is said from now on is not the past."""
        places = self.reader._places.values()
        await until(
            lambda: all(p.epoch is not None and p.past is None for p in places),
            "every inbox has answered",
        )

    def welcome(self, readers: Sequence[str]) -> None:
        """Read the inboxes of these users too, from their first bark on."""
        for reader in readers:
            self.shown[reader] = []

        def refused(user: str, reason: str) -> None:
            self.refused.append((user, reason))

        more = Reader(self, list(readers), self._show, refused, history=protocol.MAX_COUNT)
        self._reading.append(more)
        more.dial()

    @property
    def gaps(self) -> int:
        """How often a reader was told that something is no longer retained."""
        return sum(reader.gaps for reader in self._reading)

    def due(self, said: SaidBark) -> set[tuple[str, str]]:
        """(reader, id) for all who are to be shown this bark, if it is acked."""
        named = " ".join(bodies.mentions(said.bark.content))
        item = Item(b"", user=said.bark.user, named=named)
        targets = self._targets.of(item)
        readers = {*(address.partition("/")[2] for address in targets), *said.also}
        return {(reader, said.bark.id) for reader in readers}

    def expected(self, said: Sequence[SaidBark]) -> Counter[tuple[str, str]]:
        """(reader, id) for everything that should be shown, once each."""
        strangers = {user for user, _ in self.refused}
        return Counter(
            key
            for s in said
            if s.acked
            for key in self.due(s)
            if key[0] in self.shown and key not in self.excused and key[0] not in strangers
        )

    def verdict(self, said: Sequence[SaidBark]) -> dict[str, list[Any]]:
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
                number = int(content.partition(" ")[0])
                if number < last[author] and (reader, id_) not in self.late:
                    disorder.append((reader, author, id_, content, last[author]))
                last[author] = max(last[author], number)
        return {
            "lost": [key for key in due if key not in got],
            "twice": [key for key, times in got.items() if times > 1],
            "out of order": disorder,
            "unexpected": [key for key in got if key[1] not in known],
        }

    async def all_shown(self, producer: Producer, deadline_s: float = DEADLINE_S) -> None:
        """Wait for the last of what is due; AssertionError names what is lost."""
        due = self.expected(producer.said).keys()
        try:
            await until(lambda: due <= self.got, "everything is shown", deadline_s)
        except AssertionError:
            lost = self.verdict(producer.said)["lost"]
            raise AssertionError(f"{len(lost)} of {len(due)} not shown, first {lost[:3]}") from None


GOOD: dict[str, list[Any]] = {"lost": [], "twice": [], "out of order": [], "unexpected": []}
