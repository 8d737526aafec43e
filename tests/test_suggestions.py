"""Suggestions: friends of friends, a few for each user, told once, and kept up to date."""

import json
import random
import unittest
from collections import Counter
from collections.abc import Iterator
from unittest import mock

from barker import friends, suggestions, wire
from barker.barks import check_body
from barker.events import FOLLOW, UNFOLLOW
from barker.friends import FEW, Suggester, Suggestion, text_of
from barker.graph import Change, Graph
from barker.suggestions import Suggestions
from barker.users import World, generate
from tests.fleet import SLOW, Fleet, until
from tests.wireclient import WireTest


def follow(graph: Graph, user: str, whom: str, at: int = 1, kind: str = FOLLOW) -> list[Change]:
    return graph.apply({"kind": kind, "user": user, "whom": whom, "at": at})


class SuggesterTest(unittest.TestCase):
    def setUp(self) -> None:
        # ann follows bob and cid; both of these follow dora, and one of them eve.
        self.graph = Graph.of(
            World(
                {
                    "ann": ["bob", "cid"],
                    "bob": ["ann", "dora", "eve"],
                    "cid": ["dora", "bob"],
                    "dora": [],
                    "eve": [],
                    "fay": [],
                }
            )
        )
        self.suggester = Suggester(self.graph)

    def test_who_has_most_in_common_comes_first_and_nobody_known_comes(self) -> None:
        self.assertEqual(
            self.suggester.suggest("ann"),
            [Suggestion("ann", "dora", 2, ("bob", "cid")), Suggestion("ann", "eve", 1, ("bob",))],
        )

    def test_who_follows_nobody_gets_nothing(self) -> None:
        self.assertEqual(self.suggester.suggest("fay"), [])
        self.assertEqual(self.suggester.suggest("nobody"), [])

    def test_nothing_is_suggested_twice(self) -> None:
        self.suggester.suggest("ann")
        self.assertEqual(self.suggester.suggest("ann"), [])
        self.assertEqual(self.suggester.open, 2)

    def test_a_few_at_a_time_and_the_next_when_one_is_followed(self) -> None:
        for i in range(6):
            follow(self.graph, "bob", f"more{i}")
        first = [s.whom for s in self.suggester.suggest("ann")]
        self.assertEqual(first, ["dora", "eve", "more0"])
        follow(self.graph, "ann", "dora")
        self.assertEqual([s.whom for s in self.suggester.suggest("ann")], ["more1"])
        self.assertEqual(self.suggester.open, FEW)

    def test_something_far_better_replaces_the_weakest(self) -> None:
        for i in range(4):
            follow(self.graph, "bob", f"more{i}")
        self.assertEqual(len(self.suggester.suggest("ann")), FEW)
        follow(self.graph, "cid", "more3")
        self.assertEqual([s.whom for s in self.suggester.suggest("ann")], ["more3"])
        self.assertEqual(self.suggester.open, FEW)
        self.assertEqual(self.suggester.suggest("ann"), [], "and not for ever in turn")

    def test_a_change_affects_its_user_and_some_who_follow_that_one(self) -> None:
        (change,) = follow(self.graph, "bob", "fay")
        self.assertEqual(self.suggester.affected(change), ["bob", "ann", "cid"])
        with mock.patch.object(friends, "MAX_AFFECTED", 1):
            self.assertEqual(self.suggester.affected(change), ["bob", "ann"])

    def test_only_the_affected_can_have_other_suggestions(self) -> None:
        """By brute force: everybody's best, before and after each of many changes."""
        dice = random.Random(4)
        graph = Graph.of(generate())
        suggester = Suggester(graph)
        names = sorted(graph.names)
        with mock.patch.object(friends, "MAX_AFFECTED", 1000):
            for at in range(1, 25 if SLOW else 5):
                before = {name: self.brute_force(graph, name) for name in names}
                user, whom = dice.sample(names, 2)
                kind = UNFOLLOW if graph.has(user, whom) else FOLLOW
                (change,) = follow(graph, user, whom, at, kind)
                after = {name: self.brute_force(graph, name) for name in names}
                different = {name for name in names if before[name] != after[name]}
                self.assertLessEqual(different, set(suggester.affected(change)))
        for name in names:
            best = self.brute_force(graph, name)[: 2 * FEW]
            self.assertEqual(suggester._best(name), best)

    def brute_force(self, graph: Graph, user: str) -> list[tuple[str, int]]:
        common = Counter(
            whom
            for friend in graph.follows(user)
            for whom in graph.follows(friend)
            if whom != user and whom not in graph.follows(user)
        )
        return sorted(common.items(), key=lambda item: (-item[1], item[0]))

    def test_the_steps_of_one_count_are_bounded(self) -> None:
        graph = Graph()
        for i in range(300):
            follow(graph, "ann", f"friend{i}")
        for j in range(300):
            follow(graph, "friend299", f"theirs{j}")
        looked: list[str] = []
        real = Graph.follows

        def counted(self: Graph, user: str) -> list[str]:
            looked.append(user)
            return real(self, user)

        with mock.patch.object(Graph, "follows", counted):
            best = Suggester(graph)._best("ann")
        self.assertLessEqual(len(looked), 1 + friends.MAX_FRIENDS)
        self.assertEqual(len(best), 2 * FEW, "the latest are among those that are looked at")

    def test_it_reads_as_a_sentence(self) -> None:
        for common, some, text in (
            (1, ("bob",), "Follow @dora? bob, whom you follow, does."),
            (2, ("bob", "cid"), "Follow @dora? bob and cid, whom you follow, do."),
            (9, ("bob", "cid"), "Follow @dora? bob, cid and 7 more, whom you follow, do."),
        ):
            self.assertEqual(text_of(Suggestion("ann", "dora", common, some)), text)


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


class ArrivalTest(unittest.TestCase):
    """With everything in between."""

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    def test_a_new_follow_brings_suggestions_to_the_inbox_once(self) -> None:
        with Fleet() as fleet:
            fleet.directory()
            fleet.followers()
            fleet.inbox()
            fleet.outbox()
            first = fleet.start("suggestions")

            def done(*args: str) -> None:
                process = fleet.run(*args)
                self.assertEqual(process.ended(), 0, repr(process))

            done("join", "newcomer", "--wait")
            done("follow", "newcomer", "toto", "--wait")
            listener = fleet.run("listen", "newcomer", "--count", str(FEW), "--json")
            self.assertEqual(listener.ended(), 0, repr(listener))
            told = [json.loads(line) for line in listener.lines]
            toto_follows = fleet.world.follows["toto"]
            for one in told:
                self.assertEqual((one["kind"], one["user"]), ("suggestion", "suggestions"))
                self.assertIn(one["whom"], toto_follows)
                self.assertEqual(one["common"], 1)
                self.assertIn("toto, whom you follow, does", one["content"])
                body = {name: value for name, value in one.items() if name != "reader"}
                check_body(wire.dumps(body), body)
            # A second one, which knows of nothing, and a bark behind what it says.
            first.kill()
            fleet.start("suggestions")
            fleet.bizlogic()
            done("follow", "newcomer", told[0]["whom"], "--wait")
            listener = fleet.run("listen", "newcomer", "--count", str(FEW + 1), "--json")
            self.assertEqual(listener.ended(), 0, repr(listener))
            names = [json.loads(line)["whom"] for line in listener.lines]
            self.assertEqual(len(set(names)), FEW + 1, "what is followed makes room for one more")


if __name__ == "__main__":
    unittest.main()
