"""Friends of friends: a few for each user, told once, and kept up to date."""

import random
import unittest
from collections import Counter
from unittest import mock

from barker.disk.users import World, generate
from barker.graph import friends
from barker.graph.friends import FEW, Suggester, Suggestion, text_of
from barker.graph.graph import Graph
from barker.wire.bodies import FOLLOW, UNFOLLOW
from tests.tools.fleet import SLOW
from tests.unit.test_suggestions import follow


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
