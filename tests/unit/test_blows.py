"""What is done to whom follows from the seed, and from what is asked for first."""

import random
import unittest
from itertools import pairwise

from barker.laboratory.blows import TIMES, Blow, plan

VICTIMS = {"outbox": (2, ["kill", "stop"]), "inbox": (2, ["freeze"])}


def planned(seed: int, first: tuple[str, str] | None = None) -> list[Blow]:
    return plan(random.Random(seed), 30, ["outbox", "inbox"], VICTIMS, first=first)


class PlanTest(unittest.TestCase):
    def test_the_same_seed_plans_the_same(self) -> None:
        self.assertEqual(planned(7), planned(7))
        self.assertNotEqual(planned(7), planned(8))

    def test_the_first_blow_is_the_one_that_is_asked_for_with_any_seed(self) -> None:
        for seed in range(50):
            first, *others = planned(seed, ("outbox", "kill"))
            self.assertEqual((first.kind, first.action), ("outbox", "kill"))
            self.assertIn(first.number, (0, 1))
            self.assertGreater(len({(blow.kind, blow.action) for blow in others}), 1)

    def test_nobody_is_hurt_who_still_is(self) -> None:
        for seed in range(50):
            for kind, number in [("outbox", 0), ("outbox", 1), ("inbox", 0), ("inbox", 1)]:
                mine = [b for b in planned(seed) if (b.kind, b.number) == (kind, number)]
                for one, next_one in pairwise(mine):
                    end = one.at_s + one.hold_s + TIMES[one.action].more_s
                    self.assertGreaterEqual(next_one.at_s, end - 0.1)
