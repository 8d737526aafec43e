"""The suggestions service: which users it looks at, and when."""

from collections.abc import Iterator

from barker import suggestions
from barker.disk.users import generate
from barker.graph.friends import Suggestion
from barker.graph.graph import Change, Graph
from barker.suggestions import Suggestions
from barker.wire.bodies import FOLLOW
from tests.tools.fleet import until
from tests.tools.wireclient import WireTest


def follow(graph: Graph, user: str, whom: str, at: int = 1, kind: str = FOLLOW) -> list[Change]:
    return graph.apply({"kind": kind, "user": user, "whom": whom, "at": at})


class TurnsTest(WireTest):
    """Who is looked at, and when."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(suggestions, "GATHER_S", 0.0)
        self.patch(suggestions, "PAUSE_S", 0.0)
        self.service = await self.serve(Suggestions)
        self.looked: list[str] = []

        def look(user: str) -> Iterator[Suggestion]:
            self.looked.append(user)
            yield Suggestion(user, "dora", 1, ("bob",))

        self.patch(self.service._suggester, "suggest", look)

    async def test_many_changes_are_one_look(self) -> None:
        for _ in range(5):
            self.service.changed([Change("ann", "bob", True)])
        await until(lambda: self.looked, "ann is looked at")
        self.assertEqual(self.looked, ["ann"])
        self.service.changed([Change("ann", "bob", False), Change("zoe", "", True)])
        await until(lambda: len(self.looked) > 1, "and again after the next change")
        self.assertEqual(self.looked, ["ann", "ann"])

    async def test_everybody_has_a_turn_when_the_graph_is_another(self) -> None:
        graph = Graph.of(generate())
        self.service.replaced(graph)
        await until(lambda: len(self.looked) == len(graph), "everybody is looked at")
        self.assertEqual(set(self.looked), set(graph.names))

    async def test_promise_5_no_more_is_on_its_way_than_may_be(self) -> None:
        self.patch(suggestions, "MAX_ON_THEIR_WAY", 7)
        self.service.replaced(Graph.of(generate()))
        await until(lambda: len(self.looked) >= 7, "some are")
        before = self.service.now()
        await until(lambda: self.service.now() > before + 0.05, "nothing more happens")
        self.assertEqual(len(self.looked), 7)
        self.assertEqual(self.service.gauges()["affected"], len(generate().names) - 7)
