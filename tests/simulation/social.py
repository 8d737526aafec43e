"""Who follows whom in a run: what was said about it, what has come of it, and who is due a bark."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from barker.bizlogic import BizLogic
from barker.disk.users import World
from barker.followers import Followers
from barker.graph.feed import GRAPH
from barker.graph.graph import Graph
from barker.inbox import Inbox
from barker.outbox import Outbox
from barker.wire.bodies import FOLLOW, JOIN
from tests.simulation.client import Saying
from tests.simulation.settings import FOLLOWS, NEWCOMERS, Failure

if TYPE_CHECKING:
    from tests.simulation.engine import Simulation

Edge = tuple[str, str]  # user, whom
EVERYBODY = (*FOLLOWS, *NEWCOMERS)


class Social:
    """A model of the graph, and the decisions of every bizlogic."""

    def __init__(self, world: "Simulation") -> None:
        self.world = world
        self.seed = World(FOLLOWS)
        self.joins: defaultdict[str, list[Saying]] = defaultdict(list)
        self.names_restored = False  # who has which name went with a journal that was put back
        self.events: list[Saying] = []
        self.edges: defaultdict[Edge, list[Saying]] = defaultdict(list)
        # When an edge was last not the same for all who decide by it.
        self.unsteady: dict[Edge, int] = {}
        # Since when a list of its user has shown an edge, whatever any bizlogic knows.
        self.in_force: dict[Edge, int] = {}
        self.barks: dict[tuple[str, str], Saying] = {}
        self.bodies: dict[str, dict[str, Any]] = {}
        self.decisions: defaultdict[tuple[str, str], list[set[str]]] = defaultdict(list)
        self.forgiven: set[Edge] = set()  # what went with a journal that was put back

    # --- what was said ---

    def said(self, saying: Saying) -> None:
        fields = saying.fields
        if "kind" not in fields:
            self.barks[saying.user, saying.content] = saying
            self.bodies[saying.id] = fields
        elif fields["kind"] == JOIN:
            self.joins[saying.user].append(saying)
        else:
            self.edges[saying.user, fields["whom"]].append(saying)
            self.in_force.pop((saying.user, fields["whom"]), None)
        if "kind" in fields:
            self.events.append(saying)

    def has_rival(self, saying: Saying) -> bool:
        return saying in self.joins[saying.user] and len(self.joins[saying.user]) > 1

    def has_joined(self, user: str) -> bool:
        return any(saying.acked for saying in self.joins[user])

    def meant(self, user: str, whom: str) -> bool:
        """Does `user` follow `whom`, by the last word about it, acked or not?"""
        words = self.edges.get((user, whom))
        return words[-1].fields["kind"] == FOLLOW if words else whom in FOLLOWS.get(user, ())

    def follows(self, edge: Edge) -> bool:
        """The same, by the last word that was acked."""
        for word in reversed(self.edges.get(edge, ())):
            if word.acked:
                return bool(word.fields["kind"] == FOLLOW)
        user, whom = edge
        return whom in FOLLOWS.get(user, ())

    # --- what has come of it ---

    def look(self) -> None:
        """Note which edges are not in force just now; and is no name given away twice?"""
        for user, rivals in self.joins.items():
            given = [saying.id for saying in rivals if saying.acked]
            if len(given) > 1 and not self.names_restored:
                self.world.fault(f"twice: {user} was given to {given}")
        graphs = [p.node.graph for p in self.world.alive(Followers)]  # type: ignore[attr-defined]
        for party in self.world.alive(BizLogic):
            logic: Any = party.node
            if logic._serving:
                graphs.append(logic._copy.held)
        for edge, words in self.edges.items():
            last = words[-1]
            if not (last.acked or last.refused) or not all(w.acked or w.refused for w in words):
                self.unsteady[edge] = self.world.step
                continue
            follows = self.follows(edge)
            if any(graph.has(*edge) != follows for graph in graphs):
                self.unsteady[edge] = self.world.step
            self.look_at_lists(edge, follows)

    def look_at_lists(self, edge: Edge, follows: bool) -> None:
        """Does a list show it? A journal that was put back may take it away again."""
        serving = [s for s in self.serving() if not self.world.setting.backups]
        if any(service.graph.has(*edge) != follows for service in serving):
            self.in_force.pop(edge, None)  # one that lacks it has taken over
        elif any(s._waited.holds >= s._publisher.last for s in serving):
            self.in_force.setdefault(edge, self.world.step)

    def serving(self) -> list[Any]:
        """Followers services that a client may read; but none that has given up on a copy."""
        registered = self.world.registered[GRAPH]
        parties = [p for p in self.world.alive(Followers) if p.runs and p.name in registered]
        nodes: list[Any] = [party.node for party in parties]
        return [n for n in nodes if n._publisher._is_open and not n._waited._copying.laggards]

    def decided(self, author: str, content: str, addresses: Sequence[str]) -> None:
        """A bizlogic has decided; edges that were in force since the bark was said bind it."""
        self.decisions[author, content].append({a.removeprefix("inbox/") for a in addresses})
        saying = self.barks.get((author, content))
        if not saying:
            self.world.fault(f"another: {author} never said {content!r}")
            return
        for reader in EVERYBODY:
            edge = (reader, author)
            is_steady = self.unsteady.get(edge, -1) < saying.step and reader != author
            is_shown = self.in_force.get(edge, saying.step) < saying.step
            if (is_steady or is_shown) and self.follows(edge) != (f"inbox/{reader}" in addresses):
                self.world.fault(f"graph: {saying} goes to {addresses}, not as {reader} said")

    def must(self, saying: Saying) -> set[str]:
        """Who has to be shown it: all that every decision about it names."""
        decisions = self.decisions.get((saying.user, saying.content))
        if decisions:
            return set.intersection(*decisions)
        return {saying.user} if self.world.setting.events else self.static(saying)

    def may(self, saying: Saying) -> set[str]:
        return self.must(saying).union(*self.decisions.get((saying.user, saying.content), ()))

    def static(self, saying: Saying) -> set[str]:
        return {saying.user, *self.seed.followers(saying.user)}

    def shown(self, body: dict[str, Any]) -> None:
        """A reader was shown this: does it mean what was said?"""
        if body != self.bodies.get(body["id"]):
            self.world.fault(f"another: {body} was shown for {self.bodies.get(body['id'])}")

    # --- judging ---

    @property
    def newcomers(self) -> list[str]:
        """Who has joined for sure."""
        return [u for u in self.joins if self.has_joined(u) and (u, "") not in self.forgiven]

    def judge(self) -> None:
        """At rest, every graph is what was acked."""
        model = Graph.of(self.seed)
        for event in self.events:
            if event.acked:
                model.apply(event.fields)
        for party in self.world.alive(Followers):
            self.compare(party.name, model, party.node.graph)  # type: ignore[attr-defined]
        for party in self.world.alive(BizLogic):
            self.compare(party.name, model, party.node._copy.held)  # type: ignore[attr-defined]
        for party in (*self.world.alive(Outbox), *self.world.alive(Inbox)):
            missing = [u for u in self.newcomers if u not in party.node._people]  # type: ignore[attr-defined]
            if missing:
                raise Failure(f"graph: {party.name} has not heard that {missing[0]} has joined")

    def compare(self, name: str, model: Graph, graph: Graph) -> None:
        for user in EVERYBODY:
            if user in model and user not in graph and (user, "") not in self.forgiven:
                raise Failure(f"graph: {name} does not know {user}")
            for whom in EVERYBODY:
                edge = (user, whom)
                if model.has(*edge) != graph.has(*edge) and edge not in self.forgiven:
                    words = [w.fields["kind"] for w in self.edges[edge]]
                    raise Failure(
                        f"graph: {name} has another word on {user} and {whom} than {words}"
                    )
