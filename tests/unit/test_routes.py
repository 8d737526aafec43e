"""Routing: who owns under `consistent`, who is first under `ordered`, and when a table changed."""

import random
import unittest
from itertools import permutations

from barker.routing import routes
from barker.routing.ring import Ring
from barker.routing.routes import CONSISTENT, ORDERED, Route, RouteTable, Target, matches, split


def target(name: str, since: int = 1, port: int = 5680) -> Target:
    return Target(name, "127.0.0.1", port, since)


A, B, C = target("a", 3), target("b", 1), target("c", 3)
KEYS = [f"user{i}" for i in range(200)]


class AddressTest(unittest.TestCase):
    def test_split(self) -> None:
        for address, parts in (("inbox/ark3", ("inbox", "ark3")), ("bizlogic", ("bizlogic", ""))):
            self.assertEqual(split(address), parts)

    def test_a_prefix_matches_itself_and_what_is_below_it(self) -> None:
        for prefix, address, expected in (
            ("", "inbox/ark3", True), ("", "", True), ("inbox", "inbox", True),
            ("inbox", "inbox/ark3", True), ("inbox", "inbox-2", False), ("inbox", "inbo", False),
            ("inbox/ark3", "inbox/ark3", True), ("inbox/ark3", "inbox/ark33", False),
            ("inbox/ark3", "inbox", False), ("box", "inbox", False),
        ):  # fmt: skip
            self.assertIs(matches(prefix, address), expected, (prefix, address))


class OrderedTest(unittest.TestCase):
    def test_the_order_is_by_since_then_name_however_they_are_told(self) -> None:
        for told in permutations((A, B, C)):
            self.assertEqual(Route(ORDERED, told).targets, (B, A, C))

    def test_the_first_that_works_gets_everything(self) -> None:
        route = Route(ORDERED, [A, B, C])
        for broken, first in (((), B), ((B,), A), ((B, A), C), ((A,), B), ((A, B, C), None)):
            works = {t for t in (A, B, C) if t not in broken}.__contains__
            self.assertIs(route.first(works), first)
            self.assertEqual({route.choose(key, works) for key in KEYS}, {first})

    def test_without_targets_there_is_none(self) -> None:
        self.assertIsNone(Route(ORDERED).choose("ark3"))


class ConsistentTest(unittest.TestCase):
    def test_the_ring_over_names_owns_every_key_twice_over(self) -> None:
        route, ring = Route(CONSISTENT, [A, B, C]), Ring("abc")
        for _ in range(2):  # the second time it remembers
            for key in KEYS:
                owner = route.owner(key)
                self.assertEqual(owner and owner.name, ring.owner(key))
                self.assertIs(route.choose(key), owner)

    def test_a_dead_owner_is_the_owner_still(self) -> None:
        route = Route(CONSISTENT, [A, B, C])
        for key in KEYS:
            self.assertIs(route.choose(key, lambda _: False), route.owner(key))

    def test_host_port_and_start_do_not_decide_who_owns(self) -> None:
        old = Route(CONSISTENT, [A, B])
        new = Route(CONSISTENT, [Target("a", "elsewhere", 1, 99), Target("b", "h", 2, 98)])
        for key in KEYS:
            self.assertEqual(*((r.owner(key) or A).name for r in (old, new)))

    def test_without_targets_nobody_owns(self) -> None:
        self.assertEqual({Route(CONSISTENT).owner(key) for key in (*KEYS, *KEYS)}, {None})

    def test_it_remembers_no_more_than_it_should_and_stays_right(self) -> None:
        remembered = routes._REMEMBERED_OWNERS
        self.addCleanup(setattr, routes, "_REMEMBERED_OWNERS", remembered)
        routes._REMEMBERED_OWNERS = 10
        route, ring = Route(CONSISTENT, [A, B, C]), Ring("abc")
        for key in KEYS:
            self.assertEqual((route.owner(key) or A).name, ring.owner(key))
            self.assertLessEqual(len(route._owners), 10)


class TableTest(unittest.TestCase):
    def test_an_update_says_whether_anything_changed(self) -> None:
        table = RouteTable()
        for policy, targets, changed in (
            (ORDERED, [], True),  # "nobody serves it" is news, too
            (ORDERED, [], False),
            (ORDERED, [A, B], True),
            (ORDERED, [B, A], False),
            (CONSISTENT, [A, B], True),
            (CONSISTENT, [A], True),
            (CONSISTENT, [A._replace(port=1)], True),
            (CONSISTENT, [A._replace(port=1, since=9)], True),
        ):
            self.assertIs(table.update("s", policy, targets), changed, (policy, targets))

    def test_a_route_is_the_same_object_until_it_changes(self) -> None:
        table = RouteTable()
        table.update("s", ORDERED, [A])
        route = table.route("s")
        table.update("s", ORDERED, [A])
        table.update("other", ORDERED, [B])
        self.assertIs(table.route("s"), route)
        table.update("s", ORDERED, [B])
        self.assertEqual((table.route("s").targets, route.targets), ((B,), (A,)))

    def test_what_nobody_told_of_leads_nowhere(self) -> None:
        table = RouteTable()
        self.assertEqual(table.route("s").targets, ())
        self.assertIsNone(table.choose("s/ark3"))
        self.assertIsNone(table.choose("s"))

    def test_an_address_is_chosen_for_by_its_service_and_key(self) -> None:
        table = RouteTable()
        table.update("inbox", CONSISTENT, [A, B, C])
        table.update("bizlogic", ORDERED, [A, B, C])
        for key in KEYS:
            self.assertIs(table.choose(f"inbox/{key}"), table.route("inbox").owner(key))
        self.assertIs(table.choose("bizlogic"), B)
        self.assertIs(table.choose("bizlogic", lambda t: t is not B), A)

    def test_two_tables_told_in_any_order_agree(self) -> None:
        dice = random.Random(1)
        targets = [target(f"t{i}", dice.randrange(3)) for i in range(8)]
        for policy in (CONSISTENT, ORDERED):
            one, other = RouteTable(), RouteTable()
            one.update("s", policy, targets)
            other.update("s", policy, dice.sample(targets, len(targets)))
            for key in KEYS:
                self.assertEqual(one.choose(f"s/{key}"), other.choose(f"s/{key}"))

    def test_promise_5_services_that_came_and_went_are_forgotten(self) -> None:
        table = RouteTable()
        for i in range(3 * routes.MAX_ROUTES):
            table.update(f"s{i}", ORDERED, [A])
            table.update(f"s{i}", ORDERED, [A] if i < 10 else [])
            self.assertLessEqual(len(table.services), routes.MAX_ROUTES)
        self.assertEqual(table.served, [f"s{i}" for i in range(10)])
