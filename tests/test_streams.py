"""Streams: serials, cursors and gaps, and the rules by which a manifold knows a duplicate."""

import random
import time
import unittest
from unittest import mock

from barker import streams
from barker.streams import Cursor, Duplicates, Keys, Stream
from barker.wire import UNACKED_WINDOW


def stream(count: int, keep: int) -> Stream[int]:
    """Entries 1 to `count`, each as large as its serial; the last `keep` are retained."""
    result: Stream[int] = Stream(keep)
    for i in range(count):
        result.append(i + 1)
    return result


class StreamTest(unittest.TestCase):
    def test_serials_start_at_one_and_rise_by_one(self) -> None:
        one: Stream[str] = Stream(2)
        self.assertEqual((one.last, one.lost), (0, 0))
        self.assertEqual([one.append(x) for x in "abc"], [1, 2, 3])
        self.assertEqual((one.last, one.lost), (3, 1))

    def test_read_is_what_a_list_says_at_every_place(self) -> None:
        for keep in (0, 1, 2, 5, 8):
            for total in range(12):
                one = stream(total, keep)
                retained = [e for e in range(1, total + 1) if e > total - keep]
                self.assertEqual(one.lost, total - len(retained))
                for after in range(total + 3):
                    for count in range(total + 3):
                        first, entries = one.read(after, count)
                        expected = [e for e in retained if e > after][:count]
                        self.assertEqual(entries, expected, (keep, total, after, count))
                        self.assertEqual(first, max(after, one.lost) + 1)

    def test_a_restored_stream_goes_on_where_it_was(self) -> None:
        for keep, entries in ((9, [5, 6, 7]), (3, [5, 6, 7]), (1, [6, 7])):
            again: Stream[int] = Stream(keep)
            again.restore(7, [5, 6, 7])
            self.assertEqual([*again.entries], entries)
            self.assertEqual((again.last, again.lost), (7, 7 - len(entries)))
            self.assertEqual(again.append(8), 8)
            self.assertEqual(again.read(7, 9), (8, [8]))

    def test_what_is_old_takes_no_place_of_what_is_new_until_it_is_as_much_again(self) -> None:
        stream: Stream[str] = Stream(3)
        for new in "ABC":
            stream.append(new)
        for old in "abc":
            stream.append(old, is_old=True)
        self.assertEqual([*stream.entries], list("ABCabc"))
        stream.append("d", is_old=True)
        self.assertEqual([*stream.entries], list("BCabcd"))
        sizes = []
        for new in "DEFGHI":
            stream.append(new)
            sizes.append(len(stream.entries))
        self.assertEqual(sizes, [4, 3, 3, 3, 3, 3])
        self.assertEqual((stream.last, [*stream.entries]), (13, list("GHI")))


class CursorTest(unittest.TestCase):
    def start(self, of: Stream[int], **kind: object) -> int:
        """After which serial such a reader begins."""
        ask = {"same_epoch": False, "new_reader": False, "after": 0, "history": 3, "window": 9}
        cursor = Cursor.start(of, **{**ask, **kind})  # type: ignore[arg-type]
        self.assertEqual((cursor.acked, cursor.window), (cursor.sent, 9))
        return cursor.sent

    def test_a_new_reader_gets_the_last_of_the_history(self) -> None:
        for history, after in ((0, 10), (3, 7), (5, 5), (6, 5), (10**9, 5)):
            self.assertEqual(self.start(stream(10, 5), new_reader=True, history=history), after)
        self.assertEqual(self.start(stream(0, 5), new_reader=True), 0)
        self.assertEqual(self.start(stream(2, 5), new_reader=True), 0)

    def test_who_knows_this_epoch_goes_on_behind_what_he_had(self) -> None:
        for after in (0, 4, 7, 10):
            self.assertEqual(self.start(stream(10, 5), same_epoch=True, after=after), after)

    def test_a_place_that_this_stream_has_not_reached_is_none_of_this_stream(self) -> None:
        self.assertEqual(self.start(stream(10, 5), same_epoch=True, after=11), 5)

    def test_who_comes_from_another_epoch_gets_everything_retained(self) -> None:
        self.assertEqual(self.start(stream(10, 5), after=9, history=1), 5)
        self.assertEqual(self.start(stream(3, 5), after=9), 0)

    def test_no_more_than_the_window_is_on_its_way(self) -> None:
        of, cursor = stream(10, 10), Cursor(0, 3)
        self.assertEqual(cursor.take(of), (0, 1, [1, 2, 3]))
        self.assertEqual(cursor.take(of), (0, 4, []))
        cursor.ack(2)
        self.assertEqual(cursor.take(of), (0, 4, [4, 5]))
        cursor.ack(1)  # late, and says nothing new
        self.assertEqual(cursor.take(of), (0, 6, []))

    def test_it_takes_no_more_at_a_time_than_it_is_told_to(self) -> None:
        of, cursor = stream(10, 10), Cursor(0, 5)
        self.assertEqual(cursor.take(of, 2), (0, 1, [1, 2]))
        self.assertEqual(cursor.take(of, 9), (0, 3, [3, 4, 5]))
        self.assertEqual(cursor.take(of, 9), (0, 6, []))

    def test_one_that_keeps_up_takes_each_new_entry_as_it_comes(self) -> None:
        one, cursor = stream(5, 9), Cursor(5, 2)
        for serial, taken in ((6, True), (7, True), (8, False)):
            one.append(serial)
            self.assertEqual(cursor.next(serial), taken)
        self.assertEqual((cursor.sent, cursor.take(one)), (7, (0, 8, [])))
        cursor.ack(6)
        self.assertFalse(cursor.next(9))  # 8 comes first, and `take` has it
        self.assertEqual(cursor.take(one), (0, 8, [8]))
        self.assertFalse(cursor.next(9))
        cursor.ack(8)
        self.assertTrue(cursor.next(9))
        self.assertEqual((cursor.sent, cursor.acked), (9, 8))

    def test_it_takes_one_entry_where_take_would_take_that_one_and_no_other(self) -> None:
        for sent in range(5):
            for acked in range(sent + 1):
                for window in range(1, 5):
                    for last in range(1, 6):
                        one = stream(last, 9)
                        quick, slow = Cursor(acked, window), Cursor(acked, window)
                        quick.sent = slow.sent = sent
                        expected = slow.take(one) == (0, last, [last])
                        self.assertEqual(quick.next(last), expected, (sent, acked, window, last))
                        if expected:
                            self.assertEqual((quick.sent, quick.acked), (slow.sent, slow.acked))

    def test_an_ack_of_what_was_never_sent_opens_nothing(self) -> None:
        of, cursor = stream(10, 10), Cursor(0, 3)
        cursor.ack(2**53)
        self.assertEqual(cursor.take(of)[2], [1, 2, 3])
        cursor.ack(2**53)
        self.assertEqual(cursor.take(of)[2], [4, 5, 6])

    def test_a_gap_is_told_once_with_its_size_and_costs_no_credit(self) -> None:
        of, cursor = stream(10, 4), Cursor(0, 3)
        self.assertEqual(cursor.take(of), (6, 7, [7, 8, 9]))
        self.assertEqual(cursor.take(of), (0, 10, []))
        of, cursor = stream(10, 4), Cursor(0, 6)
        self.assertEqual(cursor.take(of), (6, 7, [7, 8, 9, 10]))
        of.append(11)
        self.assertEqual(cursor.take(of), (0, 11, [11]))

    def test_a_slow_reader_goes_on_behind_a_gap_once_it_has_acked_what_it_had(self) -> None:
        # The worst case: the whole window is on its way when the history moves past it.
        of, cursor = stream(3, 4), Cursor(0, 3)
        self.assertEqual(cursor.take(of)[2], [1, 2, 3])
        told = 0
        for entry in range(4, 101):
            of.append(entry)
            told += cursor.take(of)[0]
        cursor.ack(3)
        missed, first, entries = cursor.take(of)
        self.assertEqual((told + missed, first, entries), (93, 97, [97, 98, 99]))

    def test_a_reader_that_has_no_credit_is_sent_nothing_not_even_gaps(self) -> None:
        # Else one that never reads is sent a gap for every batch, and somebody has to hold them.
        of, cursor = stream(3, 4), Cursor(0, 3)
        cursor.take(of)
        for entry in range(4, 101):
            of.append(entry)
            self.assertEqual(cursor.take(of)[::2], (0, []), entry)

    def test_whatever_happens_a_reader_that_acks_gets_all_or_is_told_of_the_gap(self) -> None:
        for seed in range(200):
            self.follow(random.Random(seed))

    def follow(self, dice: random.Random) -> None:
        of: Stream[int] = Stream(dice.randint(1, 8))
        window = dice.randint(1, 8)
        cursor = Cursor(0, window)
        sent: list[int] = []  # not read yet
        have = missing = 0
        for step in range(300):
            match dice.randrange(4) if step < 250 else 3:
                case 0 | 1:
                    for _ in range(dice.randint(1, 4)):
                        of.append(of.last + 1)
                case 2:
                    missed, first, entries = cursor.take(of)
                    self.assertEqual(entries, list(range(first, first + len(entries))))
                    missing += missed
                    sent += entries
                    self.assertLessEqual(len(sent), 2 * window)
                case _:
                    if sent:
                        count = dice.randint(1, len(sent))
                        have += count
                        cursor.ack(sent[count - 1])
                        del sent[:count]
                    missed, _, entries = cursor.take(of)
                    missing += missed
                    sent += entries
        self.assertEqual((sent, have + missing), ([], of.last))


def size(table: object) -> int:
    """How many entries its tables have, those inside them too, whatever they are called."""
    if isinstance(table, dict):
        return len(table) + sum(map(size, table.values()))
    if isinstance(table, list | tuple):
        return sum(map(size, table))
    return 0


class Memory:
    """Duplicates with short names: one author, small windows."""

    def __init__(self, window: int = 4, keys: int = 1) -> None:
        self.real = Duplicates(window, keys)

    def put(self, n: int, *to: str, origin: str | None = "o", bark: str = "") -> tuple[str, bool]:
        """The bark of that id (or its number) stamped `n`: (addresses that get it, late?)."""
        key = ("ark3", bark or f"{origin}{n}")
        fresh, late = self.real.admit(key, origin, n, list(to or "a"))
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
            self.assertEqual(seen.admit(key, None, 0, ["a"])[0], ["a"])
            self.assertEqual(seen.admit(key, None, 0, ["a"])[0], [])

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
        self.assertEqual(seen.put(1, origin="quiet"), ("", True))

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

    def test_what_was_not_kept_after_all_is_accepted_when_it_comes_again(self) -> None:
        seen = Memory()
        self.assertEqual(seen.put(1, "a", "b")[0], "ab")
        self.assertEqual(seen.put(1, "b", "c", "d")[0], "cd")
        seen.real.withdraw(("ark3", "o1"), ["c", "d"])
        self.assertEqual(seen.put(1, "a", "b", "c")[0], "c")
        seen.real.withdraw(("ark3", "o2"), ["a"])  # never heard of
        self.assertEqual(seen.put(2)[0], "a")

    def test_rule_4_a_batch_that_is_rejected_is_as_if_it_had_never_come(self) -> None:
        for limit in (0, 1, 2, 50):
            with mock.patch.object(streams, "MAX_LISTED", limit):
                for seed in range(30):
                    dice = random.Random(seed)
                    seen, model = Memory(keys=100), Memory(keys=100)
                    for _ in range(20):
                        kept = dice.random() < 0.5
                        for _ in range(dice.randint(1, 5)):
                            n, origin = dice.randint(1, 9), dice.choice(["o", "p", None])
                            to = dice.sample("abcd", dice.randint(1, 4))
                            bark = f"x{(n + (origin == 'p')) % 4}"  # others brought it as well
                            got = seen.put(n, *to, origin=origin, bark=bark)
                            if kept:
                                due = model.put(n, *to, origin=origin, bark=bark)
                                self.assertEqual(got[0], due[0], seed)
                        seen.real.confirm() if kept else seen.real.reject()
                        model.real.confirm()
                        self.assertEqual(
                            {o: n for o, n in seen.real.highest.items() if n >= 0},
                            {o: n for o, n in model.real.highest.items() if n >= 0},
                        )

    def test_what_is_withdrawn_leaves_alone_what_an_earlier_put_brought(self) -> None:
        seen = Memory(keys=4)
        for n in range(5):  # 0 is of the old generation now
            seen.put(n, "a", origin=None)
        self.assertEqual(seen.put(0, "a", "b", origin=None)[0], "b")
        seen.real.withdraw(("ark3", "None0"), ["b"])
        self.assertEqual(seen.put(0, "a", "b", origin=None)[0], "b")

    def test_a_bark_of_many_addresses_is_known_for_all_of_them_and_no_other(self) -> None:
        with mock.patch.object(streams, "MAX_LISTED", 3):
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
                    seen.real.withdraw(("ark3", f"{origin}1"), ["b", "z"])
                    self.assertEqual(seen.put(1, *had, origin=origin)[0], "bz")

    def test_all_counters_of_a_bark_know_whatever_one_of_them_has_brought(self) -> None:
        with mock.patch.object(streams, "MAX_LISTED", 2):
            seen = Memory()
            self.assertEqual(seen.put(1, "a", origin="o", bark="x")[0], "a")
            self.assertEqual(seen.put(9, "b", origin="p", bark="x")[0], "b")
            self.assertEqual(seen.put(1, "a", "c", "d", origin="o", bark="x")[0], "cd")
            for n in range(20, 30):  # the key by itself is forgotten
                seen.put(n, origin="q")
            for origin, n in (("p", 9), ("o", 1)):
                fresh, _ = seen.put(n, "a", "b", "c", "d", origin=origin, bark="x")
                self.assertEqual(fresh, "", origin)

    def test_what_was_withdrawn_altogether_is_as_if_it_had_never_come(self) -> None:
        with mock.patch.object(streams, "MAX_LISTED", 2):
            for to in ("a", "ab", "abc", "abcdef"):
                for origin in ("o", None):
                    seen = Memory()
                    self.assertEqual(seen.put(1, *to, origin=origin)[0], to)
                    seen.real.withdraw(("ark3", f"{origin}1"), list(to))
                    self.assertEqual(seen.put(1, *to, origin=origin)[0], to)
                    self.assertEqual(seen.put(1, *to, origin=origin)[0], "")

    def test_a_celebrity_s_bark_takes_time_in_proportion_however_it_comes(self) -> None:
        def seconds(count: int, first: int) -> float:
            seen = Duplicates()
            addresses = [f"inbox/{i}" for i in range(count)]
            pieces = [addresses[:first]]
            pieces += [addresses[i : i + 500] for i in range(first, count, 500)]
            begun = time.process_time()
            for piece in pieces:
                self.assertEqual(seen.admit(("ark3", "x"), "o", 1, [*piece])[0], piece)
            for piece in pieces:
                self.assertEqual(seen.admit(("ark3", "x"), "o", 1, [*piece])[0], [])
            return time.process_time() - begun

        for first in (1, streams.MAX_LISTED, 500):
            small, large = (min(seconds(n, first) for _ in range(3)) for n in (1500, 12_000))
            self.assertLess(large, 8 * 4 * small + 0.01, f"{first} first")  # and not 64 times
        self.assertLess(seconds(200_000, 500), 10)

    def test_the_highest_counters_survive_the_process(self) -> None:
        seen, again = Memory(window=4), Memory(window=4)
        seen.put(100)
        seen.put(7, origin="p")
        again.put(8, origin="p")
        seen.real.confirm()
        again.real.remember(seen.real.highest)
        self.assertEqual(again.real.highest, {"o": 100, "p": 8})
        self.assertEqual(again.put(96, bark="old"), ("a", True))
        self.assertEqual(again.put(101, bark="new"), ("a", False))

    def test_memory_is_bounded_in_keys(self) -> None:
        seen = Memory(window=4, keys=10)
        for n in range(1, 1000):
            seen.real.confirm()
            seen.put(n, origin=None)
            seen.put(n - 5, "b", origin=None)
            self.assertLessEqual(size(vars(seen.real)), 50)

    def test_memory_is_bounded_in_origins_and_keeps_those_that_live(self) -> None:
        with mock.patch.object(streams, "MAX_ORIGINS", 5):
            seen = Memory(window=4)
            for n in range(1, 200):
                seen.put(n, origin="living")
                seen.put(1, origin=f"gone{n}")
                seen.real.confirm()
                self.assertLessEqual(size(vars(seen.real)), 100)
                if n > 4:  # only of an origin that is known can something be late
                    long_ago = seen.put(n - 4, origin="living", bark=f"new{n}")
                    self.assertEqual(long_ago, ("a", True), n)

    def test_only_those_heard_of_last_have_a_table_and_the_rest_their_keys(self) -> None:
        with mock.patch.object(streams, "MAX_TABLES", 3):
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
        self.assertGreaterEqual(streams.COUNTER_WINDOW, 2 * UNACKED_WINDOW)
        self.assertGreaterEqual(streams.MIN_REMEMBERED_KEYS, streams.COUNTER_WINDOW)


class KeysTest(unittest.TestCase):
    def test_a_key_is_new_once_until_it_is_forgotten(self) -> None:
        keys = Keys()
        for key in (("ark3", "x"), ("rdl", "x"), ("ark3", "y")):
            self.assertEqual([keys.is_new(key), keys.is_new(key)], [True, False])
            keys.forget(key)
            keys.forget(key)
            self.assertEqual([keys.is_new(key), keys.is_new(key)], [True, False])

    def test_a_batch_that_is_rejected_is_new_again_and_nothing_else_is(self) -> None:
        keys = Keys()
        kept, lost = ("ark3", "kept"), ("ark3", "lost")
        keys.is_new(kept)
        keys.confirm()
        keys.is_new(lost)
        keys.is_new(kept)
        keys.reject()
        self.assertEqual([keys.is_new(kept), keys.is_new(lost)], [False, True])

    def test_at_least_so_many_are_remembered_and_at_most_twice_as_many(self) -> None:
        keys = Keys(10)
        for n in range(100):
            self.assertTrue(keys.is_new(("ark3", str(n))))
            keys.confirm()
            for back in range(max(0, n - 9), n + 1):
                self.assertFalse(keys.is_new(("ark3", str(back))), (n, back))
            self.assertLessEqual(size(vars(keys)), 21)


class DuplicatesModelTest(unittest.TestCase):
    """Senders that stamp in order and send again whatever they like, against an exact memory."""

    def test_nothing_is_dropped_that_is_new_and_nothing_accepted_twice_within_the_window(
        self,
    ) -> None:
        for seed in range(30):
            with mock.patch.object(streams, "MAX_LISTED", (0, 1, 2, 50)[seed % 4]):
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
            fresh, late = real.admit((origin, str(n)), origin, n, to)
            known = had.setdefault((origin, n), set())
            if n > highest[origin] - window:
                self.assertEqual(known & {*fresh}, set(), (origin, n, to))
            if n > highest[origin] - window or not known:
                self.assertEqual([*fresh], [a for a in to if a not in known], (origin, n, to))
            self.assertIs(late, n <= highest[origin])
            highest[origin] = max(highest[origin], n)
            known.update(fresh)


if __name__ == "__main__":
    unittest.main()
