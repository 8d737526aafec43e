"""Parties: one process each, a real node without its loop."""

import argparse
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from barker.bizlogic import BizLogic
from barker.delivery.acks import Acks
from barker.delivery.duplicates import Duplicates, Keys
from barker.disk.deadletters import DeadLetters
from barker.disk.users import World
from barker.followers import Followers
from barker.graph.graph import Graph
from barker.graph.publisher import Publisher
from barker.inbox import Inbox
from barker.links.link import Conversation
from barker.manifold.handover import HandOver
from barker.manifold.intake import Intake
from barker.manifold.parking import Parking
from barker.manifold.push import Push
from barker.manifold.readers import Readers
from barker.manifold.share import Share
from barker.manifold.store import TimelineStore
from barker.outbox import Outbox
from barker.process.node import DirectoryTalk, Node
from barker.process.service import Service
from barker.routing.routes import Target
from barker.wire import messages
from barker.wire.ops import Instance, Put, Routes, Unregister, Watch
from tests.simulation.disk import Killed, SimJournal
from tests.simulation.links import End, SimDialer, Unforeseen
from tests.simulation.settings import FOLLOWS
from tests.tools.fleet import run_to_its_end

if TYPE_CHECKING:
    from tests.simulation.engine import Simulation

# Where an exception may be raised, before or after: in nodes, and in the parts they are made of.
STEPS = (
    *("take", "keep", "_ours", "_check", "_record", "_apply", "batch_end", "link_up", "link_down"),
    *("pump", "put", "put_all", "add", "peers_changed", "_on_done", "_on_refused", "_changed"),
    *("fresh", "are_new", "add_all", "groups", "append", "numbers", "grown", "flush", "send"),
    *("move", "publish", "changed", "replaced", "_keep", "go_on", "_moved", "park", "owe", "say"),
    "said",
)
PARTS = (
    *(Conversation, Intake, Share, Push, Parking, Acks, Keys, Duplicates, TimelineStore, HandOver),
    *(Readers, Publisher),
)


class ToDirectory:
    """A link with the directory. What counts is which one it is; the world knows what is said."""

    def send(self, message: bytes) -> None: ...


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
        self.armed: list[str] = []  # steps of which the last one raises; see `spot`
        self.spots: list[str] = []
        self.node: Node = self.make()
        self.talk = DirectoryTalk(self.node, self.node._watched)
        self.node._talk = self.talk
        self.new_talk()
        if world.setting.faults:
            self.find_spots()
        if isinstance(self.node, Service):
            run_to_its_end(self.node.prepare())
            run_to_its_end(self.node.ready())

    def make(self) -> Node:
        args = argparse.Namespace(**self.world.args)
        made: Any
        if self.kind in ("client", "listener"):
            made = Node(args)
        elif self.kind == "bizlogic":
            made = BizLogic(args)
            self.watch_decisions(made)
        elif self.kind == "followers":
            made = Followers(args)
        elif self.kind == "outbox":
            made = Outbox(argparse.Namespace(**self.world.args, address="outbox", push="bizlogic"))
        else:
            made = Inbox(argparse.Namespace(**self.world.args, address="inbox", push=None))
        made.name = self.name
        made.host, made.port = "127.0.0.1", 5000 + ord(self.name[-1])
        made.party = self
        made.now = lambda: self.world.now_s
        made.later = lambda delay_s, work: self.timers.append(work)
        made.tell_directory = self.tell_directory
        made.start = lambda work, name: work.close()
        made.give_up = lambda why, status=1: made.stop(status)
        if self.kind in ("outbox", "inbox", "followers"):
            disk = self.world.disk_of(self.name)
            made._intake.open(SimJournal(disk, self.spot))
            if self.kind != "followers":
                made._parking.open(DeadLetters(disk.folder.with_suffix(".jsonl")))
        if self.kind == "bizlogic" and "followers" not in self.world.kinds:
            made.graph_came(Graph.of(World(FOLLOWS)))
        return made  # type: ignore[no-any-return]

    def new_talk(self) -> None:
        """It has a new link with the directory, which has told it nothing over that yet."""
        self.told.clear()
        self.talk.told.clear()
        self.talk.link = ToDirectory()  # type: ignore[assignment]

    def watch_decisions(self, logic: Any) -> None:
        """What bizlogic decides is seen by the judge."""
        put_all = logic._inboxes.put_all

        def decided(put: Put, to: Sequence[str], job: object) -> None:
            for body, entry in zip(put.bodies, to, strict=True):
                fields = json.loads(body)
                self.world.decided(fields["user"], fields["content"], entry.split(" "))
            put_all(put, to, job)

        logic._inboxes.put_all = decided

    @property
    def runs(self) -> bool:
        return self.alive and not self.frozen

    def tell_directory(self, message: bytes) -> None:
        said = messages.decode(message)
        assert isinstance(said, Unregister | Watch)  # the world tells all routes to all
        if self.world.directory_is_there and isinstance(said, Unregister):
            self.world.unregister(said.address, self.name)

    @property
    def unregistered(self) -> list[tuple[str, str]]:
        """What it serves, and the directory does not know of yet: (address, policy)."""
        serves = self.node._serves if isinstance(self.node, Service) else []
        known = self.world.registered
        return [(a, policy) for a, policy in serves if known[a].get(self.name) != self.target]

    @property
    def target(self) -> Target:
        return Target(self.name, "127.0.0.1", 5000 + ord(self.name[-1]), self.since)

    @property
    def leaving(self) -> bool:
        return isinstance(self.node, Inbox) and self.node._leaving

    # --- what it does ---

    def do(self, work: Callable[[], None]) -> None:
        """One turn of the loop; what was sent during it leaves at its end, unless it was killed."""
        try:
            work()
        except Killed:
            self.world.kill(self)
        except Unforeseen:
            pass  # a callback of the loop: it is logged
        for end in list(self.ends):
            end.flush()
        if self.alive and self.node._stop.is_set():
            self.end()

    def end(self) -> None:
        """As `Node.run` ends: the last words still leave, and then it is gone."""
        try:
            run_to_its_end(self.node.stopping())
            for end in list(self.ends):
                end.close()
        except (Killed, Unforeseen):
            pass
        if self.alive:
            self.world.kill(self, 10**6)

    def hear_route(self) -> None:
        service, policy, targets = self.told.popleft()
        routes = Routes(service, policy, [Instance(*target) for target in targets])
        self.talk.on_routes(None, routes)  # type: ignore[arg-type]

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for work in timers:
            try:
                work()
            except Unforeseen:
                pass  # the loop logs it, and the others have their turn

    # --- exceptions ---

    def arm(self, where: str, nth: int) -> None:
        """Raises ValueError if there is no such step: a story tells nothing of it any more."""
        if where not in self.spots:
            raise ValueError(where)
        self.armed = [where] * nth

    def spot(self, where: str) -> None:
        """A step of this process. It raises if it is the one that was armed."""
        if self.armed and self.armed[-1] == where:
            self.armed.pop()
            if not self.armed:
                raise Unforeseen(where)

    def find_spots(self) -> None:
        """Have all steps pass by `spot`, before and after."""
        spots = {"write", "write+"}
        for part in self.parts(self.node):
            kind = type(part).__name__
            handlers = part.handlers if isinstance(part, Conversation) else {}
            for op, handler in handlers.items():
                handlers[op] = self.watched(f"{kind}.{op.__name__.lower()}", handler, spots)
            for step in STEPS:
                if callable(getattr(part, step, None)):
                    work = self.watched(f"{kind}.{step}", getattr(part, step), spots)
                    setattr(part, step, work)
        if hasattr(self.node, "_intake"):
            spots |= {"journal", "journal+", "drop", "drop+"}
        self.spots = sorted(spots)

    def parts(self, of: object) -> Iterator[object]:
        """A node, and all that it is made of."""
        yield of
        for value in list(vars(of).values()):
            if isinstance(value, PARTS) and not isinstance(value, Node):
                yield from self.parts(value)

    def watched(self, where: str, work: Any, spots: set[str]) -> Any:
        def step(*args: Any, **more: Any) -> Any:
            self.spot(where)
            result = work(*args, **more)
            self.spot(where + "+")
            return result

        spots |= {where, where + "+"}
        return step
