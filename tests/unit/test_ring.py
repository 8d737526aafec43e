"""The ring: fair shares, no needless moves, and the same answer in every process."""

import json
import math
import os
import subprocess
import sys
import unittest
from statistics import mean
from unittest import mock

from barker.disk.files import ROOT
from barker.routing import ring
from barker.routing.ring import Ring
from tests.tools.fleet import SLOW

RINGS = 120
KEYS = [f"user{i}" for i in range(500)]
# Who owns what in a ring of these three, worked out once. It may never change: a manifold that
# disagreed with its peers about an owner would refuse what they send it.
NODES = ("outbox-5800", "outbox-5801", "outbox-5802")
OWNERS = {
    "ark3": "outbox-5802",
    "rdl": "outbox-5800",
    "rhs": "outbox-5800",
    "ace": "outbox-5802",
    "bella": "outbox-5801",
    "fido": "outbox-5802",
    "lassie": "outbox-5800",
    "rex": "outbox-5800",
    "snoopy": "outbox-5801",
    "toby": "outbox-5800",
    "zorro": "outbox-5801",
    "": "outbox-5801",
    "é": "outbox-5800",
}


def nodes(number: int, count: int) -> list[str]:
    """The names of ring `number`: other hosts, the usual ports."""
    return [f"outbox-{number}.example-{5800 + i}" for i in range(count)]


def owners(of: Ring) -> dict[str, str | None]:
    return {key: of.owner(key) for key in KEYS}


class ShareTest(unittest.TestCase):
    def test_the_largest_of_five_shares_is_near_a_fair_one(self) -> None:
        unfair = sorted(5 * max(Ring(nodes(i, 5)).shares().values()) for i in range(RINGS))
        self.assertLessEqual(mean(unfair), 1.12)
        self.assertLessEqual(unfair[math.ceil(0.95 * RINGS) - 1], 1.20)

    def test_shares_sum_to_one_and_are_what_keys_see(self) -> None:
        few = Ring(nodes(1, 3))
        shares = few.shares()
        self.assertAlmostEqual(sum(shares.values()), 1.0)
        count = 20_000
        owned = [few.owner(f"key {i}") for i in range(count)]
        for node, share in shares.items():
            error = math.sqrt(share * (1 - share) / count)
            self.assertAlmostEqual(owned.count(node) / count, share, delta=4 * error)

    def test_one_node_owns_everything(self) -> None:
        alone = Ring(["a"])
        self.assertEqual({alone.owner(key) for key in KEYS}, {"a"})
        self.assertAlmostEqual(alone.shares()["a"], 1.0)

    def test_nobody_owns_anything_in_an_empty_ring(self) -> None:
        self.assertEqual((Ring([]).owner("ark3"), Ring([]).shares()), (None, {}))

    def test_order_and_repetition_of_the_names_do_not_matter(self) -> None:
        names = nodes(1, 4)
        self.assertEqual(owners(Ring(names)), owners(Ring([*reversed(names), *names])))


class ChangeTest(unittest.TestCase):
    def test_a_change_moves_only_the_share_of_who_comes_or_goes(self) -> None:
        for count in range(1, 9):
            taken, given_up = [], []
            for number in range(RINGS // 8 if SLOW else 5):
                first, *middle, last = names = nodes(number, count + 1)
                full = Ring(names)
                after = owners(full)
                # One more: it takes its share from the others, who exchange nothing.
                before = owners(Ring([first, *middle]))
                moved = {key for key in KEYS if before[key] != after[key]}
                self.assertEqual(moved, {key for key in KEYS if after[key] == last})
                taken.append(full.shares()[last])  # exactly what moved, of all keys
                # One less, and not the one that came last: the others keep what they have.
                rest = owners(Ring([*middle, last]))
                moved = {key for key in KEYS if rest[key] != after[key]}
                self.assertEqual(moved, {key for key in KEYS if after[key] == first})
                given_up.append(full.shares()[first])
            self.assertLessEqual(mean(taken), 1.1 / (count + 1), count)
            self.assertLessEqual(mean(given_up), 1.1 / (count + 1), count)


class SamenessTest(unittest.TestCase):
    def test_positions_are_pinned(self) -> None:
        # The first one is the beginning of NIST's own example: SHAKE-128 of no message at all.
        self.assertEqual(ring.places("", 2), (0x7F9C2BA4E88F827D, 0x616045507605853E))
        self.assertEqual(ring.position("ark3"), 0x6E932D81407578FD)
        self.assertEqual(ring.position("é"), 0xBF5FDCA7A41D690E)

    def test_owners_are_pinned(self) -> None:
        three = Ring(NODES)
        self.assertEqual({key: three.owner(key) for key in OWNERS}, OWNERS)

    def test_another_process_with_another_hash_seed_says_the_same(self) -> None:
        program = (
            "import json; from barker.routing.ring import Ring; "
            f"r = Ring({set(NODES)!r}); print(json.dumps([r.owner(k) for k in {KEYS!r}]))"
        )
        here = [Ring(NODES).owner(key) for key in KEYS]
        for seed in ("1", "4711") if SLOW else ("1",):
            there = subprocess.run(
                [sys.executable, "-S", "-c", program],
                env={**os.environ, "PYTHONHASHSEED": seed},
                cwd=ROOT,
                check=True,
                capture_output=True,
            )
            self.assertEqual(json.loads(there.stdout), here)


class CountingInt(int):
    """A place that counts how often it is compared."""

    compared = 0

    def __gt__(self, other: int) -> bool:
        CountingInt.compared += 1
        return int.__gt__(self, other)

    def __lt__(self, other: int) -> bool:
        CountingInt.compared += 1
        return int.__lt__(self, other)


class LookupTest(unittest.TestCase):
    def owner_at(self, of: Ring, place: int) -> str | None:
        with mock.patch.object(ring, "position", lambda _: CountingInt(place)):
            return of.owner("any key")

    def test_a_lookup_compares_as_often_as_the_logarithm_of_the_points(self) -> None:
        for count in (1, 5, 50):
            of = Ring(nodes(0, count))
            points = count * ring.POINTS_PER_NODE
            for place in range(0, 2**64, 2**59):
                CountingInt.compared = 0
                self.owner_at(of, place)
                self.assertGreater(CountingInt.compared, 0)
                self.assertLessEqual(CountingInt.compared, math.ceil(math.log2(points)) + 1)

    def test_a_key_exactly_on_a_point_belongs_to_that_point(self) -> None:
        of = Ring(["a", "b", "c"])
        for node in of.nodes:
            for place in ring.places(node, ring.POINTS_PER_NODE):
                self.assertEqual(self.owner_at(of, place), node)
            self.assertEqual(of.owner(node), node)  # its first point is where its own name lies

    def test_the_next_point_owns_and_past_the_last_one_it_goes_round(self) -> None:
        of = Ring(["a", "b"], points_per_node=1)
        (low, first), (high, second) = sorted((ring.position(n), n) for n in "ab")
        for place, owner in (
            (0, first), (low - 1, first), (low, first), (low + 1, second), (high - 1, second),
            (high, second), (high + 1, first), (2**64 - 1, first),
        ):  # fmt: skip
            self.assertEqual(self.owner_at(of, place), owner, place)
        self.assertAlmostEqual(of.shares()[second], (high - low) / 2**64)
