"""Stand: one program under test, and all services around it played by hand.

Only the directory is a real one of ours, unless the program is that. A case decides the actions of
the others: when an inbox acks, when a link is cut, which events a followers service sends.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

from barker.disk import files, keys
from barker.laboratory.lab import Broken, Lab
from barker.laboratory.peer import ANSWER_S, Peer
from barker.laboratory.program import Output, Program
from barker.launching.commands import Command, busy_ports
from barker.launching.fleet import PATIENCE_S
from barker.process.arguments import DEFAULT_HOST
from barker.routing.ring import Ring
from barker.routing.routes import CONSISTENT, ORDERED
from barker.wire import strictjson
from barker.wire.ops import (
    Credit,
    Message,
    Op,
    Register,
    Routes,
    Subscribe,
    Subscribed,
    Unregister,
    Watch,
)

# The users, and their follows. Those without a dog's name follow none.
USERS: dict[str, list[str]] = {
    "ark3": ["rdl"],
    "rdl": [],
    "toto": ["ark3", "rdl"],
    "ella": ["ark3"],
    **{f"user{i}": [] for i in range(20)},
}
POLICIES = {"bizlogic": ORDERED, "graph": ORDERED, "followers": ORDERED}
FIRST_PORT = 5900
REGISTERED_S = 10.0
# Until the loop has closed the links that were cut.
TURNS_S = 0.01


def bark(user: str, id_: str, content: str = "woof", at: int = 1000, **more: Any) -> bytes:
    """A bark's body."""
    return strictjson.dumps({"id": id_, "user": user, "content": content, "at": at, **more})


class Played:
    """A service that is played: it is registered, and accepts all connections."""

    def __init__(self, secret: bytes, service: str, name: str) -> None:
        self.service = service
        self.name = name
        self.port = 0
        self._secret = secret
        self._links: asyncio.Queue[Peer | Broken] = asyncio.Queue()
        self._peers: list[Peer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._directory: Peer | None = None
        self._frozen = False

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, DEFAULT_HOST, 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    def register(self, directory: Peer) -> None:
        policy = POLICIES.get(self.service, CONSISTENT)
        place = (self.name, DEFAULT_HOST, self.port, policy, self.service, 1)
        directory.send(Register(self.service, *place))
        self._directory = directory

    def unregister(self) -> None:
        if self._directory:
            self._directory.send(Unregister(self.service, self.name))

    def freeze(self) -> None:
        """Greet no more: the kernel accepts connections, and no process reads them."""
        self._frozen = True

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._frozen:
            self._peers.append(Peer(reader, writer))
            return
        task = asyncio.create_task(self._greet(Peer(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _greet(self, peer: Peer) -> None:
        self._peers.append(peer)
        try:
            await peer.greet_back(self._secret, self.name)
        except Broken as fault:
            self._links.put_nowait(fault)
        else:
            self._links.put_nowait(peer)

    async def link(self, within_s: float = ANSWER_S) -> Peer:
        """The next link to it. Raises Broken if none comes."""
        try:
            async with asyncio.timeout(within_s):
                found = await self._links.get()
        except TimeoutError:
            raise Broken(f"it does not connect to {self.name} within {within_s:g} s") from None
        if isinstance(found, Broken):
            raise found
        return found

    def close(self) -> None:
        self._server.close()
        for peer in self._peers:
            peer.abort()


class Graph:
    """Plays a followers service's stream ``graph``: answers by itself, and notes the credits."""

    def __init__(self, played: Played) -> None:
        self.epoch = "0123456789abcdef"
        self.follows = dict(USERS)  # the content of a snapshot
        self.serial = 1
        self.asked: list[Subscribe] = []
        self.credits: list[int] = []
        self.after_snapshot = 0  # credits that came before the end of it
        self._played = played
        self._reading: list[Peer] = []
        self._work = asyncio.create_task(self._serve())
        self._talks: list[asyncio.Task[None]] = []

    async def _serve(self) -> None:
        while True:
            with contextlib.suppress(Broken):
                self._talks.append(asyncio.create_task(self._talk(await self._played.link(1e6))))

    async def _talk(self, peer: Peer) -> None:
        while message := await peer.next(1e6):
            if isinstance(message, Credit):
                self.credits.append(message.serial)
            elif isinstance(message, Subscribe):
                await self._answer(peer, message)

    async def _answer(self, peer: Peer, wish: Subscribe) -> None:
        self.asked.append(wish)
        peer.send(Subscribed(wish.address, self.epoch, self.serial, self.serial, history=0))
        if wish.epoch != self.epoch or wish.after != self.serial:
            users = {user: dict.fromkeys(whom, 0) for user, whom in self.follows.items()}
            names = list(users)
            for part, more in ((names[:3], True), (names[3:], False)):
                piece = {"kind": "graph", "more": more, "users": {n: users[n] for n in part}}
                peer.send(Message([wish.address], [strictjson.dumps(piece)]))
                if more:
                    await asyncio.sleep(0.01)  # two reads
        self._reading.append(peer)

    def say(self, kind: str, user: str, whom: str = "", at: int = 2000) -> None:
        """Send an event to all readers."""
        self.serial += 1
        fields = {"kind": kind, "id": f"event{self.serial}", "user": user, "at": at}
        body = strictjson.dumps({**fields, **({"whom": whom} if whom else {})})
        for peer in self._reading:
            peer.send(Message(["graph"], [body]))

    async def until_credited(self) -> None:
        """Wait until all events are credited."""
        for _ in range(int(ANSWER_S / 0.01)):
            if self.serial in self.credits:
                return
            await asyncio.sleep(0.01)
        raise Broken(f"it gives no credit for {self.serial}, but {self.credits[-3:]}")

    def begin_anew(self, epoch: str, follows: Mapping[str, list[str]]) -> None:
        """Another life of the service, with these follows in place of the others."""
        self.cut()
        self.epoch = epoch
        self.follows |= follows
        self.credits.clear()

    def cut(self) -> None:
        for peer in self._reading:
            peer.abort()
        self._reading.clear()

    def close(self) -> None:
        for task in (self._work, *self._talks):
            task.cancel()


class Stand:
    """One case's. Use as an asynchronous context manager; nothing of it is left afterwards."""

    ports = itertools.count(FIRST_PORT)

    def __init__(self, lab: Lab, role: str, command: Sequence[str], output: Output) -> None:
        self.lab = lab
        self.role = role
        self.secret = keys.secret(lab.state)
        self.complaints: list[str] = []
        self.program: Program | None = None
        self.port = 0
        self.graph: Graph | None = None
        self._command = command
        self._output = output
        self._played: list[Played] = []
        self._peers: list[Peer] = []
        self._flags: list[str] = []

    @property
    def name(self) -> str:
        """The program's."""
        return f"{self.role}-{self.port}"

    @property
    def directory_port(self) -> int:
        return self.port if self.role == "directory" else self.lab.place[1]

    async def __aenter__(self) -> Self:
        while True:
            self.port = next(self.ports) + self.lab.shift
            if not busy_ports([Command("", [], DEFAULT_HOST, self.port)]):
                return self

    async def __aexit__(self, *_: object) -> None:
        if self.graph:
            self.graph.close()
        for played in self._played:
            played.close()
        for peer in self._peers:
            peer.abort()
        self.end()
        await asyncio.sleep(TURNS_S)

    # --- the program ---

    async def start(self, *flags: str, is_first: bool = False) -> None:
        """Start the program, or start it again as before, and wait until it is ready.

        A directory need not settle if it `is_first`.
        """
        self._flags = list(flags) or self._flags
        place = f"{DEFAULT_HOST}:{self.directory_port}"
        common = ["--port", str(self.port), "--name", self.name, "--directory", place]
        common += ["--state", str(self.lab.state), "--heartbeat", "1"]
        common += ["--no-settle"] * (is_first and self.role == "directory")
        self.program = Program(
            self.name,
            self._command,
            [*common, *self._flags],
            self.port,
            self._output,
            self.complaints.append,
        )
        await self.program.until_ready()

    def end(self) -> None:
        """kill -9."""
        if self.program:
            self.program.thaw()
            self.program.kill()
            self.program.close()

    async def stop(self) -> int | None:
        """Stop it in good order; its status."""
        assert self.program
        self.program.stop()
        await asyncio.to_thread(self.program.close, PATIENCE_S)
        return self.program.status

    async def begin(self, *flags: str, waits: bool = True) -> None:
        """Play the graph, start the program, and wait until the directory lists it."""
        if self.role != "directory":
            self.graph = Graph(await self.play("graph", "followers-1"))
        await self.start(*flags, is_first=True)
        if waits and self.role != "directory":
            await self.registered()

    async def registered(self, address: str = "") -> Routes:
        """Wait until the directory lists the program."""
        address = address or self.role
        watcher = await self.directory()
        watcher.send(Watch(address))
        try:
            async with asyncio.timeout(REGISTERED_S):
                while True:
                    routes = await watcher.expect(Routes, REGISTERED_S)
                    if any(target.name == self.name for target in routes.targets):
                        return routes
        except (TimeoutError, Broken):
            raise Broken(
                f"{self.name} has not registered {address} within {REGISTERED_S:g} s"
            ) from None

    # --- the others ---

    async def open(self, name: str = "judge", epoch: str | None = None) -> Peer:
        """A link to the program."""
        return await (await self.connect()).greet(self.secret, name, epoch)

    async def connect(self, port: int = 0) -> Peer:
        """A connection to the program, on which nothing was sent yet."""
        peer = await Peer.connect(port or self.port)
        self._peers.append(peer)
        return peer

    async def directory(self, name: str = "judge", epoch: str | None = None) -> Peer:
        """A link to the directory, ours or the program."""
        peer = await self.connect(self.directory_port)
        return await peer.greet(self.secret, name, epoch)

    async def play(self, service: str, name: str, *, at_once: bool = True) -> Played:
        """Play an instance of that service, registered unless not at once."""
        played = Played(self.secret, service, name)
        await played.listen()
        self._played.append(played)
        if at_once:
            played.register(await self.directory(name))
        return played

    def owned(self, names: Sequence[str]) -> dict[str, list[str]]:
        """By instance, the users that a ring of these gives it."""
        ring = Ring(names)
        result: dict[str, list[str]] = {name: [] for name in names}
        for user in USERS:
            result[str(ring.owner(user))].append(user)
        return result


def prepare(lab: Lab) -> None:
    """Have the users of the cases be the first users."""
    files.make_folder(lab.state)
    (lab.state / "users.json").write_text(json.dumps(USERS), encoding="utf-8")


def of_kind(some: Sequence[Op | None], kind: type) -> list[Any]:
    return [message for message in some if isinstance(message, kind)]
