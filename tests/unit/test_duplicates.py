"""Duplicates: the rules by which a manifold knows a put that it has seen."""

import pickle
import random
import time
import unittest
from collections.abc import Sequence
from unittest import mock

from barker.delivery import duplicates
from barker.delivery.duplicates import Duplicates, Keys
from barker.wire.protocol import UNACKED_WINDOW


def size(table: object) -> int:
    """How many entries its tables have, those inside them too, whatever they are called."""
    if isinstance(table, dict):
        return len(table) + sum(map(size, table.values()))
    if isinstance(table, list | tuple):
        return sum(map(size, table))
    if isinstance(table, set):
        return len(table)
    return sum(size(getattr(table, name)) for name in getattr(table, "__slots__", ()))


def admit(
    by: Duplicates, key: tuple[str, str], origin: str | None, n: int, to: Sequence[str]
) -> tuple[list[str], bool]:
    """Ask about one, and add what is fresh of it, as inboxes do."""
    fresh, late = by.fresh(key, origin, n, to)
    if fresh:
        by.add(key, origin, n, fresh)
    return [*fresh], late


class Memory:
    """Duplicates with short names: one author, small windows."""

    def __init__(self, window: int = 4, keys: int = 1) -> None:
        self.real = Duplicates(window, keys)

    def put(self, n: int, *to: str, origin: str | None = "o", bark: str = "") -> tuple[str, bool]:
        """The bark of that id (or its number) stamped `n`: (addresses that get it, late?)."""
        key = ("ark3", bark or f"{origin}{n}")
        fresh, late = admit(self.real, key, origin, n, to or ["a"])
        return "".join(fresh), late


class DuplicatesTest(unittest.TestCase):
    def test_rule_1_a_bark_is_accepted_once_for_each_address(self) -> None:
        seen = Memory()
        self.assertEqual(seen.put(1, "a", "b"), ("ab", False))
        self.assertEqual(seen.put(1, "a", "b")[0], "")
        self.assertEqual(seen.put(1, "c", "b", "d")[0], "cd")
        self.assertEqual(seen.put(1, "d", "c", "b", "a")[0], "")

    def test_rule_1_the_key_is_user_and_id_and_neither_alone(self) -> None:
        seen = Duplicates()
        for key in (("ark3", "x"), ("rdl", "x"), ("ark3", "y")):
            for fresh in (["a"], []):
                self.assertEqual(admit(seen, key, None, 0, ["a"])[0], fresh)

    def test_rule_1_a_client_s_repetition_through_another_outbox_is_known_by_its_id(self) -> None:
        seen = Memory()
        self.assertEqual(seen.put(1, origin="o", bark="x"), ("a", False))
        self.assertEqual(seen.put(7, origin="p", bark="x"), ("", False))

    def test_rule_3_out_of_the_window_the_key_decides_and_the_counter_nothing(self) -> None:
        seen = Memory(window=4, keys=20)
        seen.put(90, bark="old")
        seen.put(100)
        for n in (97, 96, 95, 0):
            self.assertEqual(seen.put(n, bark=f"new{n}"), ("a", True), n)
            self.assertEqual(seen.put(n, bark=f"new{n}"), ("", True), n)
        self.assertEqual(seen.put(90, bark="old"), ("", True))
        self.assertEqual(seen.put(90, "a", "b", bark="old"), ("b", True))

    def test_rule_2_each_origin_has_a_counter_of_its_own(self) -> None:
        seen = Memory(window=4)
        seen.put(100)
        self.assertEqual(seen.put(1, origin="p"), ("a", False))

    def test_rule_2_does_not_concern_what_has_no_stamp(self) -> None:
        seen = Memory(window=4)
        seen.put(100)
        self.assertEqual(seen.put(0, origin=None), ("a", False))

    def test_late_is_what_comes_after_something_stamped_later(self) -> None:
        seen = Memory()
        for origin, n, late in (("o", 1, 0), ("o", 3, 0), ("o", 2, 1), ("p", 1, 0), ("o", 4, 0)):
            self.assertEqual(seen.put(n, origin=origin), ("a", bool(late)))

    def test_rule_2_a_counter_is_known_for_the_window_of_its_origin(self) -> None:
        seen = Memory(window=4)
        for n in range(1, 200):
            self.assertEqual(seen.put(n)[0], "a")
            for back in range(max(1, n - 3), n + 1):
                self.assertEqual(seen.put(back)[0], "", (n, back))

    def test_rule_2_a_quiet_origin_s_key_outlives_any_number_of_a_busy_one_s(self) -> None:
        # An outbox that says little, whose bizlogic was frozen for a while and sends again now.
        seen = Memory(window=4)
        seen.put(1, origin="quiet")
        for n in range(1, 100):
            seen.put(n, origin="busy")
        self.assertEqual(seen.put(1, origin="quiet"), ("", False))

    def test_rule_3_at_least_so_many_keys_of_unstamped_barks_are_known(self) -> None:
        seen = Memory(keys=10)
        for n in range(100):
            seen.put(n, origin=None)
            for back in range(max(0, n - 9), n + 1):
                self.assertEqual(seen.put(back, origin=None)[0], "", (n, back))

    def test_addresses_added_to_an_old_key_are_known_like_those_of_a_new_one(self) -> None:
        seen = Memory(keys=4)
        for n in range(5):  # 0 is of the old generation now
            seen.put(n, "a", origin=None)
        self.assertEqual(seen.put(0, "b", origin=None)[0], "b")
        for n in range(5, 8):
            seen.put(n, "a", origin=None)
            self.assertEqual(seen.put(0, "a", "b", origin=None)[0], "", n)

    def test_rule_4_to_ask_changes_nothing(self) -> None:
        for seed in range(50):
            dice = random.Random(seed)
            with mock.patch.object(duplicates, "MAX_LISTED", dice.choice((0, 1, 2, 50))):
                seen = Memory(keys=dice.choice((1, 100)))
                for _ in range(20):
                    n, origin = dice.randint(1, 9), dice.choice(["o", "p", None])
                    to = dice.sample("abcd", dice.randint(1, 4))
                    key = ("ark3", f"x{(n + (origin == 'p')) % 4}")  # others brought it as well
                    before = pickle.dumps(seen.real)
                    seen.real.are_new([key], origin, [n])
                    asked = seen.real.fresh(key, origin, n, to)
                    self.assertEqual(pickle.dumps(seen.real), before)
                    if dice.random() < 0.5:
                        put = seen.put(n, *to, origin=origin, bark=key[1])
                        self.assertEqual(put, ("".join(asked[0]), asked[1]))

    def test_a_bark_of_many_addresses_is_known_for_all_of_them_and_no_other(self) -> None:
        with mock.patch.object(duplicates, "MAX_LISTED", 3):
            for first in ("a", "abc", "abcd", "abcdefg"):
                for origin in ("o", None):
                    seen = Memory()
                    had = list(first)
                    self.assertEqual(seen.put(1, *first, origin=origin)[0], first)
                    for more in ("bcx", "yz", "cdefgh", "ijkl", "ax"):
                        fresh = [a for a in more if a not in had]
                        self.assertEqual(seen.put(1, *more, origin=origin)[0], "".join(fresh))
                        had += fresh
                    self.assertEqual(seen.put(1, *had, origin=origin)[0], "")

    def test_all_counters_of_a_bark_know_whatever_one_of_them_has_brought(self) -> None:
        with mock.patch.object(duplicates, "MAX_LISTED", 2):
            seen = Memory()
            self.assertEqual(seen.put(1, "a", origin="o", bark="x")[0], "a")
            self.assertEqual(seen.put(9, "b", origin="p", bark="x")[0], "b")
            self.assertEqual(seen.put(1, "a", "c", "d", origin="o", bark="x")[0], "cd")
            for n in range(20, 30):  # the key by itself is forgotten
                seen.put(n, origin="q")
            for origin, n in (("p", 9), ("o", 1)):
                fresh, _ = seen.put(n, "a", "b", "c", "d", origin=origin, bark="x")
                self.assertEqual(fresh, "", origin)

    def test_a_celebrity_s_bark_takes_time_in_proportion_however_it_comes(self) -> None:
        def seconds(count: int, first: int) -> float:
            seen = Duplicates()
            addresses = [f"inbox/{i}" for i in range(count)]
            pieces = [addresses[:first]]
            pieces += [addresses[i : i + 500] for i in range(first, count, 500)]
            begun = time.process_time()
            for piece in pieces:
                self.assertEqual(admit(seen, ("ark3", "x"), "o", 1, piece)[0], piece)
            for piece in pieces:
                self.assertEqual(admit(seen, ("ark3", "x"), "o", 1, piece)[0], [])
            return time.process_time() - begun

        for first in (1, duplicates.MAX_LISTED, 500):
            small, large = (min(seconds(n, first) for _ in range(3)) for n in (1500, 12_000))
            self.assertLess(large, 8 * 4 * small + 0.01, f"{first} first")  # and not 64 times
        self.assertLess(seconds(200_000, 500), 10)

    def test_the_highest_counters_survive_the_process(self) -> None:
        seen, again = Memory(window=4), Memory(window=4)
        seen.put(100)
        seen.put(7, origin="p")
        again.put(8, origin="p")
        again.real.remember(seen.real.highest)
        self.assertEqual(again.real.highest, {"o": 100, "p": 8})
        self.assertEqual(again.put(96, bark="old"), ("a", True))
        self.assertEqual(again.put(101, bark="new"), ("a", False))

    def test_memory_is_bounded_in_keys(self) -> None:
        seen = Memory(window=4, keys=10)
        for n in range(1, 1000):
            seen.put(n, origin=None)
            seen.put(n - 5, "b", origin=None)
            self.assertLessEqual(size(vars(seen.real)), 50)

    def test_promise_5_memory_is_bounded_in_addresses_and_keeps_the_newest(self) -> None:
        for many in (False, True):  # by way of `add` or of `add_all`
            with mock.patch.object(duplicates, "MAX_REMEMBERED_ADDRESSES", 1000):
                seen = Duplicates(window=50, min_keys=100)
                for n in range(400):
                    to = [f"inbox/u{i}" for i in range(100 if n < 200 else 300)]
                    key, origin = ("ark3", str(n)), "ab"[n % 2] * 16
                    if many:
                        seen.add_all([key], origin, [n], [to])
                    else:  # in parts, as the puts of a celebrity's bark come
                        for first in range(0, len(to), 50):
                            seen.add(key, origin, n, to[first : first + 50])
                    self.assertEqual(seen.fresh(key, origin, n, to)[0], [])
                    records = {
                        id(r): len(r) for of in seen._origins.values() for r in of.stamped.values()
                    }
                    records |= {
                        id(r): len(r) for keys in (seen._young, seen._old) for r in keys.values()
                    }
                    self.assertLessEqual(sum(records.values()), 3 * 1000 + 3 * 300)

    def test_memory_is_bounded_in_origins_and_keeps_those_that_live(self) -> None:
        with mock.patch.object(duplicates, "MAX_ORIGINS", 5):
            seen = Memory(window=4)
            for n in range(1, 200):
                seen.put(n, origin="living")
                seen.put(1, origin=f"gone{n}")
                self.assertLessEqual(size(vars(seen.real)), 100)
                if n > 4:  # only of an origin that is known can something be late
                    long_ago = seen.put(n - 4, origin="living", bark=f"new{n}")
                    self.assertEqual(long_ago, ("a", True), n)

    def test_only_those_heard_of_last_have_a_table_and_the_rest_their_keys(self) -> None:
        with mock.patch.object(duplicates, "MAX_TABLES", 3):
            seen = Memory(window=4, keys=100)
            for i in range(20):
                for n in (1, 2):
                    seen.put(n, origin=f"o{i}", bark=f"{i}-{n}")
                tables = [o for o in seen.real._origins.values() if o.stamped]
                self.assertLessEqual(len(tables), 3)
            for i in range(20):  # all of it comes again
                for n in (1, 2):
                    again = seen.put(n, origin=f"o{i}", bark=f"{i}-{n}")
                    self.assertEqual(again[0], "", (i, n))

    def test_the_windows_fit_each_other(self) -> None:
        # A sender has at most its window unacked; refused ones make holes that widen it.
        self.assertGreaterEqual(duplicates.COUNTER_WINDOW, 2 * UNACKED_WINDOW)
        self.assertGreaterEqual(duplicates.MIN_REMEMBERED_KEYS, duplicates.COUNTER_WINDOW)


class KeysTest(unittest.TestCase):
    def test_a_key_is_new_until_it_is_added(self) -> None:
        keys, some = Keys(), [("ark3", "x"), ("rdl", "x"), ("ark3", "y")]
        for i, key in enumerate(some):
            self.assertEqual([keys.are_new({key}) for key in some], [j >= i for j in range(3)])
            self.assertIsNone(keys.said(key))
            keys.add({key: i})
            self.assertEqual(keys.said(key), i)
        self.assertFalse(any(keys.are_new({key}) for key in some))
        self.assertFalse(keys.are_new({("rdl", "y"), some[0]}))

    def test_at_least_so_many_are_remembered_and_at_most_twice_as_many(self) -> None:
        keys = Keys(10)
        for n in range(100):
            self.assertTrue(keys.are_new({("ark3", str(n))}))
            keys.add({("ark3", str(n)): n})
            for back in range(max(0, n - 9), n + 1):
                self.assertFalse(keys.are_new({("ark3", str(back))}), (n, back))
            self.assertLessEqual(size([*vars(keys).values()]), 20)


class DuplicatesModelTest(unittest.TestCase):
    """Senders that stamp in order and send again whatever they like, against an exact memory."""

    def test_nothing_is_dropped_that_is_new_and_nothing_accepted_twice_within_the_window(
        self,
    ) -> None:
        for seed in range(30):
            with mock.patch.object(duplicates, "MAX_LISTED", (0, 1, 2, 50)[seed % 4]):
                self.compare(random.Random(seed))

    def compare(self, dice: random.Random) -> None:
        window = dice.randint(2, 9)
        real = Duplicates(window, dice.choice((1, 20, 100)))
        had: dict[tuple[str, int], set[str]] = {}
        highest = dict.fromkeys("opq", 0)
        stamped = dict.fromkeys("opq", 0)
        held: list[tuple[str, int]] = []  # stamped, and late on their way to us
        for _ in range(600):
            origin = dice.choice("opppppqqqqqqqqqqqqqqq")  # one says much, one says little
            again = dice.random() < 0.5 and stamped[origin]
            if again:
                n = dice.randint(1, stamped[origin])
            else:
                n = stamped[origin] = stamped[origin] + 1
                if dice.random() < 0.1:
                    held.append((origin, n))
                    continue
            if held and dice.random() < 0.3:
                origin, n = held.pop(0)
            to = dice.sample("abcd", dice.randint(1, 4))
            fresh, late = admit(real, (origin, str(n)), origin, n, to)
            known = had.setdefault((origin, n), set())
            if n > highest[origin] - window:
                self.assertEqual(known & {*fresh}, set(), (origin, n, to))
            if n > highest[origin] - window or not known:
                self.assertEqual([*fresh], [a for a in to if a not in known], (origin, n, to))
            self.assertIs(late, n < highest[origin])
            highest[origin] = max(highest[origin], n)
            known.update(fresh)


class ManyTest(unittest.TestCase):
    """Many at once are what they would be one by one."""

    def test_what_is_plainly_new_is_added_at_once_and_anything_else_one_by_one(self) -> None:
        at_once = 0
        for seed in range(300):
            dice = random.Random(seed)
            one, many = (Duplicates(window=20) for _ in range(2))
            for _ in range(12):
                count = dice.randint(1, 5)
                origin = dice.choice(["a", "b", None])
                first = dice.randint(0, 30)
                numbers = [first + i * dice.choice((1, 1, 1, 2)) for i in range(count)]
                if dice.random() < 0.1:
                    dice.shuffle(numbers)
                keys = [("u", str(dice.randint(0, 60))) for _ in range(count)]
                addresses = [dice.sample(["a", "b", "c"], dice.randint(1, 3)) for _ in range(count)]
                rows = [*zip(keys, numbers, addresses, strict=True)]
                alone = [admit(one, key, origin, n, some) for key, n, some in rows]
                if many.are_new(keys, origin, numbers):
                    at_once += 1
                    many.add_all(keys, origin, numbers, addresses)
                    self.assertEqual(alone, [(some, False) for some in addresses])
                else:
                    again = [admit(many, key, origin, n, some) for key, n, some in rows]
                    self.assertEqual(alone, again)
            self.assertEqual(one.highest, many.highest)
        self.assertGreater(at_once, 300)

    def test_promise_5_of_many_at_once_no_more_is_remembered_than_of_one_by_one(self) -> None:
        seen = Duplicates(window=20, min_keys=8)
        for i in range(0, 400, 4):
            keys, numbers = [("u", str(i + k)) for k in range(4)], range(i, i + 4)
            self.assertTrue(seen.are_new(keys, "a" * 16, numbers))
            seen.add_all(keys, "a" * 16, numbers, [["a"] for _ in keys])
            self.assertLess(len(seen._young) + len(seen._old), 2 * (8 + 4))
            self.assertLessEqual(len(seen._origins["a" * 16].stamped), 30)
