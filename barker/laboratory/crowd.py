"""A crowd: users who join, follow and unfollow each other at random.

It knows which events were acked, and so the graph that every service must have in the end; and it
reads the graph of every followers service there is. Its users do not bark, and no user outside it
follows one of them. Events that others put through it count as well: a user who joins during chaos.
"""

import argparse
import asyncio
import random
from typing import Any

from barker.client.speaker import new_id, now_ms
from barker.client.tracked import Outcome, TrackedSender
from barker.disk.users import World
from barker.graph.feed import GRAPH, Place
from barker.graph.graph import Graph
from barker.laboratory.guest import Member
from barker.laboratory.lab import PATIENT_S, Broken, until
from barker.links.link import Link
from barker.process.peers import Peers
from barker.wire import bodies, messages, strictjson
from barker.wire.bodies import FOLLOW, JOIN, UNFOLLOW, Event
from barker.wire.ops import Item, Message, Subscribe, Subscribed

# Users, as (user, ""), and edges, as (user, whom).
Words = set[tuple[str, str]]
# Events that are put before the next look at other work.
HANDFUL = 200


def words(graph: Graph) -> Words:
    edges = {(user, whom) for user in graph.names for whom in graph.follows(user)}
    return edges | {(user, "") for user in graph.names}


class Asked(Outcome):
    """One event."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event
        self.excused = False  # acked, and perhaps lost with an old journal that was put back


class Crowd(Member):
    """A node of its own. First `join`, then `mingle`, in the end `agree`."""

    kind = "crowd"

    def __init__(
        self,
        args: argparse.Namespace,
        world: World,
        seed: int,
        size: int = 30,
        patience_s: float = PATIENT_S,
    ) -> None:
        super().__init__(args)
        self._patience_s = patience_s
        self.names = [f"crowd{i}" for i in range(size)]
        self.asked: list[Asked] = []
        self._world = world
        self._dice = random.Random(seed)
        self._latest: dict[tuple[str, str], int] = {}  # by user and whom, the last `at`
        self._sender = TrackedSender(self)
        self.graphs = Graphs(self)
        self.lists = Lists(self)

    def ask(self, kind: str, user: str, whom: str = "") -> Asked:
        """Have an event put with the next `pump`."""
        # No two events about an edge in one millisecond: of those, the unfollow would count.
        at = max(now_ms(), self._latest.get((user, whom), 0) + 1)
        self._latest[user, whom] = at
        asked = Asked(Event(kind, new_id(), user, at, whom))
        self.asked.append(asked)
        end = Item(bodies.encode_event(asked.event))
        self._sender.track(f"outbox/{user}", end, asked)
        return asked

    def pump(self) -> None:
        self._sender.pump()

    async def join(self) -> None:
        """Have all users join, and wait until all services know them."""
        for name in self.names:
            self.ask(JOIN, name)
        self.pump()
        await until(lambda: not self._sender.unanswered, "all users have joined", self._patience_s)
        await self.agree()

    async def mingle(self, rate: float, seconds: float) -> None:
        """Follow and unfollow."""
        begun, done = self.now(), 0
        while done < rate * seconds:
            due = min(int(rate * seconds), int((self.now() - begun) * rate) + 1)
            for _ in range(done, due):
                self._say_something(self.names)
            done = due
            self.pump()
            at = self.now() + 0.01
            await until(lambda: self.now() >= at, "the next moment")  # noqa: B023

    async def burst(self, count: int) -> None:
        """`count` events, as fast as they can be put, of users who share one outbox."""
        shares: dict[str, list[str]] = {}
        for name in self.names:
            owner = self.routes.route("outbox").owner(name)
            shares.setdefault(owner.name if owner else "", []).append(name)
        users = max(shares.values(), key=len)
        for done in range(count):
            self._say_something(users)
            if done % HANDFUL == 0:
                self.pump()
                await asyncio.sleep(0)
        self.pump()

    def _say_something(self, users: list[str]) -> None:
        user = self._dice.choice(users)
        whom = self._dice.choice([name for name in self.names if name != user])
        self.ask(self._dice.choice([FOLLOW, UNFOLLOW]), user, whom)

    def implied(self) -> tuple[Words, Words]:
        """The graph that follows from the acked events, and the edges that may be either way."""
        graph = Graph.of(self._world)
        newest: dict[tuple[str, str], int] = {}
        for asked in self.asked:
            if asked.acked and not asked.excused:
                graph.apply(strictjson.loads(bodies.encode_event(asked.event)))
                newest[asked.event.user, asked.event.whom] = asked.event.at
        doubtful = {
            (a.event.user, a.event.whom)
            for a in self.asked
            if a.excused and a.event.at > newest.get((a.event.user, a.event.whom), 0)
        }
        return words(graph), doubtful

    async def agree(self, deadline_s: float | None = None) -> None:
        """Wait until every event is acked and every followers service has the implied graph."""
        patience_s = self._patience_s if deadline_s is None else deadline_s
        await until(lambda: not self._sender.unanswered, "every event is acked", patience_s)
        implied, doubtful = self.implied()

        def known() -> dict[str, Words]:
            return {name: words(graph) for name, graph in self.graphs.complete.items()}

        def same() -> bool:
            graphs = list(known().values())
            return len(graphs) == len(self.graphs.route.targets) > 0 and all(
                graph - doubtful == implied - doubtful and graph == graphs[0] for graph in graphs
            )

        try:
            await until(same, "all have the implied graph", patience_s)
        except Broken as fault:
            different = {
                name: sorted((graph ^ implied) - doubtful)[:5] for name, graph in known().items()
            }
            raise Broken(f"{fault}; different in {different}") from None


class Graphs(Peers):
    """A copy of the graph of every followers service."""

    def __init__(self, node: Crowd) -> None:
        super().__init__(node, GRAPH)
        self.add_handler(Subscribed, self.on_subscribed)
        self.add_handler(Message, self.on_message)
        self._copies: dict[str, tuple[Place, Graph]] = {}

    @property
    def complete(self) -> dict[str, Graph]:
        known = {t.name for t in self.route.targets}
        return {n: g for n, (p, g) in self._copies.items() if n in known and p.caught_up}

    def link_up(self, link: Link) -> None:
        super().link_up(link)
        place, graph = Place(), Graph()
        self._copies[link.name] = (place, graph)
        place.ask(link, GRAPH)

    def on_subscribed(self, link: Link, answer: Subscribed) -> None:
        self._copies[link.name][0].begin(answer)

    def on_message(self, link: Link, message: Message) -> None:
        place, graph = self._copies[link.name]
        for body in message.bodies:
            graph.apply(place.take(body))

    def batch_end(self, link: Link) -> None:
        if credit := self._copies[link.name][0].credit(GRAPH):
            link.send(messages.encode(credit))


class Lists(Peers):
    """The lists of the watched users, as `barker.follow` reads one."""

    def __init__(self, node: Crowd) -> None:
        super().__init__(node, GRAPH)
        self.add_handler(Message, self.on_message)
        self._lists: dict[str, dict[str, Any]] = {}
        self._asked: Link | None = None

    def ask(self, user: str) -> None:
        if user not in self._lists:
            self._lists[user] = {"exists": False, "follows": ()}
            if self._asked:
                self._subscribe(self._asked, user)

    def exists(self, user: str) -> bool:
        return bool(self._lists[user]["exists"])

    def follows(self, user: str, whom: str) -> bool:
        return whom in self._lists[user]["follows"]

    def _subscribe(self, link: Link, user: str) -> None:
        link.send(messages.encode(Subscribe(f"{GRAPH}/{user}")))

    def peers_changed(self) -> None:
        first = self.route.first(lambda t: t.name in self.peers)
        link = self.peers[first.name] if first else None
        if link is not self._asked:
            self._asked = link
            if link:
                for user in self._lists:
                    self._subscribe(link, user)

    def on_message(self, link: Link, message: Message) -> None:
        if link is self._asked:
            for body in message.bodies:
                fields = strictjson.loads(body)
                self._lists[fields["user"]] = fields
