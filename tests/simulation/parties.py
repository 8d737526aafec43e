"""Parties: one process each, a real node without its loop; and what a client puts."""

import argparse
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from barker import barks, keeper, wire
from barker.bizlogic import BizLogic
from barker.delivery import Delivery
from barker.graph import Graph
from barker.inbox import Inbox
from barker.node import DirectoryTalk, Node
from barker.outbox import Outbox
from barker.routing import Target
from barker.service import Service
from barker.users import World
from tests.fleet import run_to_its_end
from tests.simulation.disk import Disk, Killed, MemoryJournal
from tests.simulation.links import End, SimDialer
from tests.simulation.settings import FOLLOWS

if TYPE_CHECKING:
    from tests.simulation.engine import Simulation


class Party:
    """One process: a real node, without its loop."""

    def __init__(self, world: "Simulation", name: str, since: int) -> None:
        self.world = world
        self.name = name
        self.kind = name.partition("-")[0]
        self.alive = True
        self.frozen = False
        self.since = since
        self.ends: list[End] = []
        self.dialers: list[SimDialer] = []
        self.timers: list[Callable[[], None]] = []
        self.told: deque[tuple[str, str, tuple[Target, ...]]] = deque()
        self.node: Node = self.make()
        self.talk = DirectoryTalk(self.node, self.node._watched)
        if isinstance(self.node, Service):
            run_to_its_end(self.node.prepare())

    def make(self) -> Node:
        args = argparse.Namespace(**self.world.args)
        made: Node
        if self.kind in ("client", "listener"):
            made = Node(args)
        elif self.kind == "bizlogic":
            made = BizLogic(args)
            made.graph_came(Graph.of(World(FOLLOWS)))
        elif self.kind == "outbox":
            made = Outbox(argparse.Namespace(**self.world.args, address="outbox", push="bizlogic"))
        else:
            made = Inbox(argparse.Namespace(**self.world.args, address="inbox", push=None))
        made.name = self.name
        made.party = self  # type: ignore[attr-defined]
        made.now = lambda: self.world.now_s  # type: ignore[method-assign]
        made.later = lambda delay_s, work: self.timers.append(work)  # type: ignore[method-assign]
        made.tell_directory = self.tell_directory  # type: ignore[method-assign]
        made.start = lambda work, name: work.close()  # type: ignore
        if isinstance(made, keeper.Keeper):
            disk = self.world.disks.setdefault(self.name, Disk())
            made.journal = MemoryJournal(disk, self.world.epochs)  # type: ignore[assignment]
        return made

    @property
    def runs(self) -> bool:
        return self.alive and not self.frozen

    def tell_directory(self, message: bytes) -> None:
        assert wire.decode(message)["op"] == "unregister"
        self.world.unregister(self.name)

    @property
    def leaving(self) -> bool:
        return isinstance(self.node, Inbox) and self.node._leaving

    def do(self, work: Callable[[], None]) -> None:
        """One turn of the loop; what was sent during it leaves at its end, unless it was killed."""
        try:
            work()
        except Killed:
            self.world.kill(self)
        for end in list(self.ends):
            end.flush()

    def hear_route(self) -> None:
        service, policy, targets = self.told.popleft()
        message = {
            "address": service,
            "policy": policy,
            "targets": [t._asdict() for t in targets],
        }
        self.talk.on_routes(None, message)  # type: ignore[arg-type]

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for work in timers:
            work()


class Saying:
    """A bark of the client; a `Job`."""

    void = False

    def __init__(self, bark: barks.Bark) -> None:
        self.bark = bark
        self.pending = 0
        self.acked = False


class Mouth(Delivery):
    def settled(self, jobs: list[Any]) -> None:
        for job in jobs:
            job.pending -= 1
            job.acked = True

    def refused(self, job: Any, code: str, reason: str, addresses: Sequence[str]) -> None:
        raise AssertionError(f"{job.bark} was refused: {reason} ({code})")
