"""The system for tests: real processes on free ports in a temporary folder, and people to use it.

`Fleet` starts and hurts processes. `People` are a guest in a test (`barker.laboratory.guest`)
that has the laboratory's producer and audience (`barker.laboratory`). What only tests need is here:
the readers that a bark is due to where users join and follow meanwhile, and what is excused.
"""

import argparse
import asyncio
import contextlib
import os
import pathlib
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any, TypeVar

from barker.bizlogic import Recipients
from barker.disk import files
from barker.disk.users import World
from barker.laboratory.audience import Audience
from barker.laboratory.guest import Guest
from barker.laboratory.producer import Producer, SaidBark
from barker.laboratory.verdict import Key, Verdict, judge
from barker.wire import bodies, protocol
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

# Whoever has a fleet needs these too.
__all__ = [
    "DEADLINE_S",
    "SCALE",
    "SLOW",
    "Guest",
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
        argv = self._argv(module, *args, "--port", str(port or free_port()))
        return self._add(Service(argv, files.ROOT, **popen)).until_ready()

    def _argv(self, module: str, *args: str) -> list[str]:
        whole = module if "." in module else f"barker.{module}"
        return ["-m", whole, *args, *self.flags]

    def _add(self, process: AnyProcess) -> AnyProcess:
        self.processes.append(process)
        return process

    def directory(self) -> Service:
        is_first = not any("barker.directory" in p.argv for p in self.processes)
        return self.start("directory", *["--no-settle"] * is_first, port=self.port)

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

    def key_file(self, name: str, key: str = "f" * 64) -> pathlib.Path:
        """A file with that key, which is by default not this system's secret."""
        path = self.state / name
        self.state.mkdir(parents=True, exist_ok=True)
        path.write_text(key)
        path.chmod(0o600)
        return path

    def running(self, module: str) -> int:
        """How many processes of that module live."""
        return sum(f"barker.{module}" in p.argv and p.popen.poll() is None for p in self.processes)

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
    async def people(self, readers: Sequence[str] = ()) -> "AsyncIterator[People]":
        """A producer and an audience of `readers` (all users by default), running in this loop."""
        readers = readers or self.world.names
        outboxes = self.running("outbox")
        async with populated(self.args(), self.world, readers, outboxes) as people:
            yield people


class People(Guest):
    """A producer, and an audience of whose readers some may join while barks flow."""

    kind = "people"

    def __init__(self, args: argparse.Namespace, world: World, readers: Sequence[str]) -> None:
        super().__init__(args)
        self.producer = Producer(self, self._said)
        self.audience = Audience(self)
        self.audience.read(readers)
        self.first_readers = frozenset(readers)
        self.excused: set[Key] = set()  # what need not be shown
        # By a bark's id, readers that it is due to besides those that the world has for it. They
        # are found, when it is said, by its author and its text; `also_due` may be replaced.
        self.also: dict[str, Collection[str]] = {}
        self.also_due: Callable[[str, str], Collection[str]] = lambda author, text: ()
        self._recipients = Recipients(world)

    def _said(self, said: SaidBark) -> None:
        if also := self.also_due(said.bark.user, said.bark.content):
            self.also[said.bark.id] = also

    def welcome(self, readers: Sequence[str]) -> None:
        """Read the inboxes of these users too, from their first bark on."""
        self.audience.read(readers, history=protocol.MAX_COUNT)

    def due(self, said: SaidBark) -> set[Key]:
        """A key for each reader that is to be shown this bark, if it is acked."""
        named = " ".join(bodies.mentions(said.bark.content))
        addresses = self._recipients.of(said.bark.user, named).split(" ")
        readers = {address.partition("/")[2] for address in addresses}
        return {(reader, said.bark.id) for reader in readers.union(self.also.get(said.bark.id, ()))}

    def expected(self, said: Sequence[SaidBark]) -> set[Key]:
        """A key for all of this that is to be shown to readers of ours.

        A newcomer that an inbox does not know is none of them: `Audience.refused` has it.
        """
        unknown = {user for user, _ in self.audience.refused} - self.first_readers
        readers = self.audience.shown.keys() - unknown
        due = {key for each in said if each.acked for key in self.due(each)}
        return {key for key in due - self.excused if key[0] in readers}

    def verdict(self) -> Verdict:
        said = self.producer.said
        return judge(self.producer.numbers, self.audience.shown, self.expected(said))

    async def ready(self) -> None:
        """Wait until every inbox has answered: what is said from now on is not the past."""
        await until(lambda: self.audience.is_ready, "every inbox has answered")

    async def all_acked(self, deadline_s: float = DEADLINE_S) -> None:
        await until(lambda: not self.producer.unanswered, "every bark is acked", deadline_s)

    async def all_shown(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait for the last of what is due; AssertionError names what is lost."""
        due = self.expected(self.producer.said)
        try:
            await until(lambda: due <= self.audience.got, "everything is shown", deadline_s)
        except AssertionError:
            lost = self.verdict().lost
            raise AssertionError(f"{len(lost)} of {len(due)} not shown, first {lost[:3]}") from None


@contextlib.asynccontextmanager
async def populated(
    args: argparse.Namespace, world: World, readers: Sequence[str], outboxes: int
) -> AsyncIterator[People]:
    """People who run in this loop, and know so many outboxes."""
    # Debugging slows the loop down by half, and we measure what others do through it.
    asyncio.get_running_loop().set_debug(False)
    people = People(args, world, readers)
    async with people.running():
        await until(
            lambda: len(people.routes.route("outbox").targets) == outboxes,
            "all outboxes are known",
        )
        yield people


GOOD = Verdict([], [], [], [])
