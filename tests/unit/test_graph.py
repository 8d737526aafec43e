"""The graph: the same events make the same graph, in whatever order and however often they come."""

import random
import unittest
from collections.abc import Iterable
from typing import Any
from unittest import mock

from barker.disk.users import World, generate
from barker.graph import graph
from barker.graph.graph import Graph, Names
from barker.wire import protocol, strictjson
from barker.wire.bodies import FOLLOW, JOIN, UNFOLLOW, Event, check_event, encode_event
from barker.wire.protocol import BadMessage

Fields = dict[str, Any]


def said(kind: str, user: str, whom: str = "", at: int = 1, id_: str = "x") -> Fields:
    fields: Fields = strictjson.loads(encode_event(Event(kind, id_, user, at, whom)))
    return fields


def edges(some: Graph) -> dict[str, set[str]]:
    return {user: set(some.follows(user)) for user in some.names}


def made_of(fields: Iterable[Fields]) -> Graph:
    some = Graph()
    for one in fields:
        some.apply(one)
    return some


class EventTest(unittest.TestCase):
    def check(self, **changed: Any) -> Event:
        fields = {**said(FOLLOW, "ann", "bob"), **changed}
        fields = {name: value for name, value in fields.items() if value is not None}
        return check_event(fields)

    def test_what_is_said_is_what_is_heard(self) -> None:
        for event in (
            Event(JOIN, "a", "ann", 5),
            Event(FOLLOW, "b", "ann", 6, "bob"),
            Event(UNFOLLOW, "c", "ann", 7, "bob"),
        ):
            body = encode_event(event)
            self.assertEqual(check_event(strictjson.loads(body)), event)

    def test_what_nobody_can_have_said(self) -> None:
        for changed, reason in (
            ({"kind": "like"}, "takes barks, join, follow, unfollow"),
            ({"kind": "suggestion"}, "takes barks"),
            ({"id": "one two"}, "bad id"),
            ({"id": None}, "bad id"),
            ({"user": "Ann"}, "begins with a letter"),
            ({"user": 7}, "begins with a letter"),
            ({"user": "a" * 21}, "1 to 20"),
            ({"at": -1}, "bad at"),
            ({"at": True}, "bad at"),
            ({"whom": None}, "follow whom"),
            ({"whom": "Bob"}, "follow whom"),
            ({"whom": "ann"}, "nobody can follow themself"),
            ({"kind": JOIN, "user": "suggestions"}, "name of a service"),
        ):
            with self.subTest(changed), self.assertRaises(BadMessage) as caught:
                self.check(**changed)
            self.assertIn(reason, caught.exception.reason)


class GraphTest(unittest.TestCase):
    def test_who_joins_exists_and_follows_nobody(self) -> None:
        some = made_of([said(JOIN, "ann")])
        self.assertIn("ann", some)
        self.assertEqual((len(some), some.edges), (1, 0))
        self.assertEqual((some.follows("ann"), list(some.followers("ann"))), ([], []))
        self.assertEqual((some.follows("bob"), list(some.followers("bob"))), ([], []))

    def test_follow_and_unfollow(self) -> None:
        some = Graph()
        changes = some.apply(said(FOLLOW, "ann", "bob", 1))
        self.assertEqual(
            changes, [("ann", "", True), ("bob", "", True), ("ann", "bob", True)], "users, edge"
        )
        self.assertTrue(some.has("ann", "bob"))
        self.assertEqual(list(some.followers("bob")), ["ann"])
        self.assertEqual(some.apply(said(UNFOLLOW, "ann", "bob", 2)), [("ann", "bob", False)])
        self.assertFalse(some.has("ann", "bob"))
        self.assertEqual((some.edges, some.tombstones), (0, 1))

    def test_the_last_word_counts_whenever_it_comes(self) -> None:
        follow, unfollow = said(FOLLOW, "ann", "bob", 1), said(UNFOLLOW, "ann", "bob", 2)
        for order in ([follow, unfollow], [unfollow, follow], [unfollow, follow, unfollow]):
            self.assertEqual(edges(made_of(order)), {"ann": set(), "bob": set()})
        again = said(FOLLOW, "ann", "bob", 3)
        for order in ([again, unfollow], [unfollow, again, follow]):
            self.assertEqual(edges(made_of(order)), {"ann": {"bob"}, "bob": set()})

    def test_in_one_millisecond_the_unfollow_counts(self) -> None:
        both = [said(FOLLOW, "ann", "bob", 5), said(UNFOLLOW, "ann", "bob", 5)]
        self.assertEqual(edges(made_of(both)), edges(made_of(reversed(both))))
        self.assertEqual(made_of(both).edges, 0)

    def test_news_is_what_would_be_remembered(self) -> None:
        some = made_of([said(FOLLOW, "ann", "bob", 5)])
        for fields, news in (
            (said(FOLLOW, "ann", "bob", 5), False),
            (said(UNFOLLOW, "ann", "bob", 4), False),
            (said(FOLLOW, "ann", "bob", 6), True),  # an unfollow of between will not count
            (said(JOIN, "bob"), False),
            (said(JOIN, "cid"), True),
            (said(FOLLOW, "bob", "ann", 1), True),
        ):
            self.assertEqual(some.is_news(fields), news, fields)
            before = strictjson.dumps([piece.decode() for piece, _ in some.pieces()])
            some.apply(fields)
            after = strictjson.dumps([piece.decode() for piece, _ in some.pieces()])
            self.assertEqual(before != after, news, fields)

    def test_a_seed_gives_way_to_any_word(self) -> None:
        some = Graph.of(World({"ann": ["bob"], "bob": []}))
        some.apply(said(UNFOLLOW, "ann", "bob", 0))
        self.assertEqual(some.edges, 0)

    def test_order_and_repetition_make_no_difference(self) -> None:
        for seed in range(30):
            dice = random.Random(seed)
            names = ["ann", "bob", "cid", "dora"]
            what = []
            for _ in range(40):
                user, whom = dice.sample(names, 2)
                what.append(said(dice.choice([FOLLOW, UNFOLLOW]), user, whom, dice.randrange(9)))
            there = made_of(what)
            other = dice.sample(what, len(what)) + dice.sample(what, 10)
            back = made_of(other)
            self.assertEqual(edges(there), edges(back), seed)
            self.assertEqual((there.edges, there.tombstones), (back.edges, back.tombstones))
            self.assertEqual(there.edges, sum(map(len, edges(there).values())))
            for name in names:
                readers = {user for user, followed in edges(there).items() if name in followed}
                self.assertEqual(set(there.followers(name)), readers)

    def test_what_makes_no_sense_changes_nothing(self) -> None:
        some = Graph()
        for fields in (
            {},
            {"kind": "bark"},
            {"kind": FOLLOW, "user": "ann"},
            {"kind": FOLLOW, "user": "ann", "whom": "bob", "at": "now"},
            {"kind": FOLLOW, "user": "Ann", "whom": "bob", "at": 1},
            {"kind": graph.PIECE},
            {"kind": graph.PIECE, "users": ["ann"]},
            {"kind": graph.PIECE, "users": {"ann": ["bob"]}},
            {"kind": graph.PIECE, "users": {"ann": {"bob": 1.5}}},
            {"kind": graph.PIECE, "users": {"bob": {}, "ann": {"B": 1}}},
        ):
            with self.subTest(fields), self.assertRaises(BadMessage):
                some.apply(fields)
            self.assertEqual(len(some), 0)


class LatestTest(unittest.TestCase):
    def test_the_latest_edges_in_their_order(self) -> None:
        some = Graph()
        for i in range(10):
            some.apply({"kind": FOLLOW, "user": "ann", "whom": f"u{i}", "at": 1})
        self.assertEqual(some.latest("ann", 3), ["u7", "u8", "u9"])
        some.apply({"kind": UNFOLLOW, "user": "ann", "whom": "u8", "at": 2})
        self.assertEqual(some.latest("ann", 3), ["u6", "u7", "u9"])
        self.assertEqual(some.latest("ann", 30), some.follows("ann"))
        self.assertEqual(some.latest("bob", 3), [])

    def test_tombstones_are_not_looked_through_without_an_end(self) -> None:
        some = Graph()
        for i in range(100):
            kind = FOLLOW if i < 10 else UNFOLLOW
            some.apply({"kind": kind, "user": "ann", "whom": f"u{i}", "at": 1})
        self.assertEqual(some.latest("ann", 3), [])
        self.assertEqual(some.words_of("ann"), 100)


class PiecesTest(unittest.TestCase):
    def assertCopied(self, some: Graph) -> None:
        bodies = list(some.pieces())
        self.assertEqual([more for _, more in bodies], [True] * (len(bodies) - 1) + [False])
        for body, more in bodies:
            self.assertEqual(strictjson.loads(body)["more"], more)
            self.assertLess(len(body) + 300, protocol.MAX_LINE_BYTES)
        copy = made_of(strictjson.loads(body) for body, _ in bodies)
        self.assertEqual(edges(copy), edges(some))
        self.assertEqual(copy.tombstones, some.tombstones)

    def test_a_copy_of_all_pieces_is_the_same_graph(self) -> None:
        self.assertCopied(Graph())
        self.assertCopied(Graph.of(generate()))
        self.assertCopied(made_of([said(FOLLOW, "ann", "bob", 1), said(UNFOLLOW, "ann", "bob", 2)]))

    def test_the_longest_names_and_times_fit_a_line(self) -> None:
        some = Graph()
        for i in range(2500):
            some.apply(said(FOLLOW, "z" * 20, f"z{i:019}", 4_000_000_000_000))
        for i in range(1500):
            some.apply(said(JOIN, f"y{i:019}"))
        self.assertCopied(some)

    def test_sizes_around_that_of_a_piece(self) -> None:
        for count in (1, 2, 3, 4, 5):
            for size in (2, 3, 4):
                with self.subTest(count=count, size=size):
                    before, graph.PIECE_SIZE = graph.PIECE_SIZE, size
                    try:
                        whom = [f"w{i}" for i in range(count)]
                        self.assertCopied(made_of(said(FOLLOW, "ann", w) for w in whom))
                    finally:
                        graph.PIECE_SIZE = before

    def test_what_changes_while_it_is_read_is_right_with_the_events_besides(self) -> None:
        dice = random.Random(5)
        names = [f"u{i}" for i in range(60)]
        some, copy, later = Graph(), Graph(), []
        for i in range(3000):
            user, whom = dice.sample(names, 2)
            some.apply(said(FOLLOW, user, whom, i))
        for i, (body, _) in enumerate(some.pieces()):
            copy.apply(strictjson.loads(body))
            for j in range(50):
                user, whom = dice.sample(names, 2)
                later.append(said(UNFOLLOW, user, whom, 5000 + 100 * i + j))
                some.apply(later[-1])
        self.assertGreater(len(later), 100)
        for fields in later:
            copy.apply(fields)
        self.assertEqual(edges(copy), edges(some))

    def test_tombstones_are_forgotten_when_they_are_old(self) -> None:
        some = made_of(
            [
                said(UNFOLLOW, "ann", "bob", 10),
                said(UNFOLLOW, "ann", "cid", 20),
                said(FOLLOW, "bob", "ann", 5),
            ]
        )
        self.enterContext(mock.patch.object(graph, "LOOKED_AT_ONCE", 2))
        self.assertGreater(len(list(some.forget(20))), 1, "in slices")
        self.assertEqual((some.edges, some.tombstones, some.newest), (1, 1, 20))
        some.apply(said(FOLLOW, "ann", "cid", 15))
        some.apply(said(FOLLOW, "ann", "bob", 9))  # nobody remembers that it was taken back
        self.assertEqual(edges(some)["ann"], {"bob"})


class NamesTest(unittest.TestCase):
    def test_all_that_is_remembered_is_who_exists(self) -> None:
        names = Names()
        seed = Graph.of(generate())
        for body, _ in seed.pieces():
            names.apply(strictjson.loads(body))
        self.assertEqual(len(names), len(seed))
        self.assertTrue(all(name in names for name in seed.names))
        self.assertEqual(names.apply(said(JOIN, "newcomer")), [("newcomer", "", True)])
        self.assertEqual(names.apply(said(JOIN, "newcomer")), [])
