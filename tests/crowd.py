"""A crowd: users who join, follow and unfollow each other at random, for tests.

It knows what was acked, and so what everybody's graph has to be in the end; and it reads the graph
of every followers service there is. Nobody in it barks, and nobody else follows anybody in it.
"""

import argparse
import random
from typing import Any

from barker import events, wire
from barker.bark import new_id, now_ms
from barker.delivery import Delivery, Job, Put
from barker.events import FOLLOW, JOIN, UNFOLLOW, Event
from barker.feed import GRAPH, Place
from barker.graph import Graph
from barker.link import Link, Message
from barker.peers import Peers
from barker.users import World
from tests.fleet import DEADLINE_S, Guest, until

Edges = dict[str, set[str]]


def edges(graph: Graph) -> Edges:
    return {user: set(graph.follows(user)) for user in graph.names}


class Asked:
    """One event; a `Job`."""

    void = False

    def __init__(self, event: Event) -> None:
        self.event = event
        self.pending = 0
        self.acked = False
        self.refused = ""


class Crowd(Guest):
    """A node inside a test. First `join`, then `mingle`, in the end `agree`."""

    kind = "crowd"

    def __init__(self, args: argparse.Namespace, world: World, seed: int, size: int = 30) -> None:
        super().__init__(args)
        self.names = [f"crowd{i}" for i in range(size)]
        self.asked: list[Asked] = []
        self._world = world
        self._dice = random.Random(seed)

    async def started(self) -> None:
        self._mouth = _Mouth(self)
        self.graphs = Graphs(self)

    def ask(self, kind: str, user: str, whom: str = "") -> None:
        # No two words about an edge in one millisecond: of those, the unfollow would count.
        at = max(now_ms(), self.asked[-1].event.at + 1 if self.asked else 0)
        asked = Asked(Event(kind, new_id(), user, at, whom))
        self.asked.append(asked)
        end = wire.unstamped(events.encode_event(asked.event))
        self._mouth.put((f"outbox/{user}",), end, asked)

    @property
    def unanswered(self) -> int:
        return sum(not (a.acked or a.refused) for a in self.asked)

    async def join(self) -> None:
        """Be known everywhere."""
        for name in self.names:
            self.ask(JOIN, name)
        self._mouth.pump()
        await until(lambda: not self.unanswered, "everybody has joined")
        await self.agree()

    async def mingle(self, rate: float, seconds: float) -> None:
        """Follow and unfollow."""
        begun, done = self.now(), 0
        while done < rate * seconds:
            due = min(int(rate * seconds), int((self.now() - begun) * rate) + 1)
            for _ in range(done, due):
                user, whom = self._dice.sample(self.names, 2)
                self.ask(self._dice.choice([FOLLOW, UNFOLLOW]), user, whom)
            done = due
            self._mouth.pump()
            at = self.now() + 0.01
            await until(lambda: self.now() >= at, "the next moment")  # noqa: B023

    def implied(self) -> Edges:
        """The graph that follows from what was acked."""
        graph = Graph.of(self._world)
        for asked in self.asked:
            if asked.acked:
                graph.apply(wire.loads(events.encode_event(asked.event)))
        return edges(graph)

    async def agree(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until every event is acked and every followers service has the implied graph."""
        await until(lambda: not self.unanswered, "every event is acked", deadline_s)
        implied = self.implied()

        def same() -> bool:
            graphs = self.graphs.complete
            return len(graphs) == len(self.graphs.route.targets) > 0 and all(
                edges(graph) == implied for graph in graphs.values()
            )

        try:
            await until(same, "all have the implied graph", deadline_s)
        except AssertionError as fault:
            different = {
                name: [user for user in implied if edges(graph).get(user) != implied[user]]
                for name, graph in self.graphs.complete.items()
            }
            raise AssertionError(f"{fault}; different in {different}") from None


class _Mouth(Delivery):
    def __init__(self, node: Crowd) -> None:
        super().__init__(node, "outbox")

    def settled(self, jobs: list[Job]) -> None:
        for job in jobs:
            assert isinstance(job, Asked)
            job.pending -= 1
            job.acked = True

    def refused(self, put: Put, code: str, reason: str, addresses: Any) -> None:
        assert isinstance(put.job, Asked)
        put.job.refused = f"{reason} ({code})"


class Graphs(Peers):
    """A copy of the graph of every followers service."""

    def __init__(self, node: Crowd) -> None:
        super().__init__(node, GRAPH)
        self._copies: dict[str, tuple[Place, Graph]] = {}

    @property
    def complete(self) -> dict[str, Graph]:
        known = {t.name for t in self.route.targets}
        return {n: g for n, (p, g) in self._copies.items() if n in known and p.caught_up}

    def link_up(self, link: Link) -> None:
        super().link_up(link)
        place, graph = Place(), Graph()
        self._copies[link.peer["name"]] = (place, graph)
        place.ask(link, GRAPH)

    def on_subscribed(self, link: Link, message: Message) -> None:
        self._copies[link.peer["name"]][0].begin(message)

    def on_message(self, link: Link, message: Message) -> None:
        place, graph = self._copies[link.peer["name"]]
        place.take(message)
        graph.apply(message["parsed"])

    def batch_end(self, link: Link) -> None:
        self._copies[link.peer["name"]][0].ack(link, GRAPH)
