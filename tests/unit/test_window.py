"""The window: in order, at most so many at once, everything again after a break, nothing twice."""

import random
import unittest
from typing import Any

from barker.delivery.window import Window
from tests.tools.fleet import SLOW


def window(limit: int, *entries: str, sent: bool = False) -> Window[str]:
    result: Window[str] = Window(limit)
    for entry in entries:
        result.add(entry)
    if sent:
        result.send(99)
    return result


class WindowTest(unittest.TestCase):
    def assertHolds(self, of: Window[str], *entries: str) -> None:
        """All that nobody has taken over, as a new connection would be sent it."""
        self.assertEqual(len(of), len(entries))
        of.rewind()
        self.assertEqual((len(of), of.unacked), (len(entries), 0))
        self.assertEqual(of.take_waiting(), list(entries))

    def test_numbers_start_at_one_and_rise_by_one(self) -> None:
        three = window(9, "a", "b")
        self.assertEqual(three.send(99), (1, ["a", "b"]))
        three.add("c")
        self.assertEqual(three.send(99), (3, ["c"]))
        self.assertEqual(three.send(99), (4, []))
        self.assertHolds(three, "a", "b", "c")

    def test_no_more_than_the_limit_is_unacked(self) -> None:
        two = window(2, "a", "b", "c", sent=True)
        self.assertEqual((two.unacked, len(two), two.send(99)), (2, 3, (3, [])))
        two.ack(1)
        self.assertEqual(two.send(99), (3, ["c"]))

    def test_no_more_is_sent_than_was_asked_for_and_what_was_not_was_not_sent(self) -> None:
        two = window(9, "a", "b")
        self.assertEqual(two.send(0), (1, []))
        self.assertEqual(two.send(1), (1, ["a"]))
        self.assertEqual(two.unacked, 1)
        self.assertRaises(ValueError, two.ack, 2)
        self.assertEqual(two.send(1), (2, ["b"]))

    def test_what_is_put_first_goes_before_all_that_waits_and_behind_what_was_sent(self) -> None:
        three = window(1, "a", "b", sent=True)
        three.add_first("c")
        self.assertEqual(len(three), 3)
        three.ack(1)
        self.assertEqual(three.send(99), (2, ["c"]))
        three.add_first("d")
        self.assertHolds(three, "c", "d", "b")

    def test_an_ack_settles_everything_up_to_its_number_once(self) -> None:
        three = window(9, "a", "b", "c", sent=True)
        for seq, settled in ((0, []), (2, ["a", "b"]), (2, []), (1, []), (3, ["c"]), (3, [])):
            self.assertEqual(three.ack(seq), settled)
        self.assertHolds(three)

    def test_an_ack_of_what_was_never_sent_changes_nothing(self) -> None:
        for seq in (3, 4, 2**53):
            one = window(2, "a", "b", "c", sent=True)
            self.assertRaises(ValueError, one.ack, seq)
            self.assertRaises(ValueError, one.refuse, seq)
            self.assertHolds(one, "a", "b", "c")
        self.assertRaises(ValueError, window(9, "a").ack, 1)
        self.assertRaises(ValueError, window(9, "a").refuse, 1)

    def test_a_refused_entry_is_settled_once_and_its_number_still_passes(self) -> None:
        three = window(3, "a", "b", "c", "d", sent=True)
        self.assertEqual([three.refuse(2), three.refuse(2)], ["b", None])
        self.assertEqual(three.send(99), (4, []))
        self.assertEqual(three.ack(3), ["a", "c"])
        self.assertIsNone(three.refuse(1))
        self.assertEqual(three.send(99), (4, ["d"]))
        self.assertHolds(three, "d")

    def test_its_length_is_what_nobody_has_taken_over_and_so_not_what_was_refused(self) -> None:
        three = window(9, "a", "b", "c", sent=True)
        three.refuse(2)
        self.assertHolds(three, "a", "c")

    def test_the_first_is_the_oldest_that_is_not_settled(self) -> None:
        three = window(2, "a", "b", "c")
        self.assertEqual([[*three.head(1)], [*window(2).head(1)]], [["a"], []])
        three.send(99)
        three.refuse(1)
        self.assertEqual([*three.head(1)], ["b"])
        three.ack(2)
        self.assertEqual([*three.head(1)], ["c"])

    def test_a_new_connection_gets_all_that_is_unacked_again_before_anything_new(self) -> None:
        four = window(3, "a", "b", "c", "d", sent=True)
        four.ack(1)
        four.refuse(2)
        self.assertEqual(four.rewind(), 1)  # "c": "d" was never sent, "b" is settled
        four.add("e")
        self.assertEqual(four.send(99), (1, ["c", "d", "e"]))
        self.assertEqual([four.rewind(), four.rewind()], [3, 0])
        self.assertEqual(four.send(99), (1, ["c", "d", "e"]))

    def test_numbers_of_an_old_connection_are_never_sent_on_a_new_one(self) -> None:
        two = window(9, "a", "b", sent=True)
        two.rewind()
        self.assertRaises(ValueError, two.ack, 1)
        self.assertEqual(two.ack(0), [])

    def test_discarding_and_taking_concern_only_what_was_not_sent(self) -> None:
        four = window(2, "a", "x1", "x2", "b", "x3", sent=True)
        four.discard_waiting(lambda e: e.startswith("x"))
        self.assertEqual(four.take_waiting(), ["b"])
        self.assertEqual((four.unacked, four.take_waiting()), (2, []))
        self.assertHolds(four, "a", "x1")


class PutOffTest(unittest.TestCase):
    def test_what_is_put_off_holds_back_all_that_waits(self) -> None:
        four = window(9, "a", "b", "c", sent=True)
        put_off(four, 2)
        four.add("d")
        self.assertTrue(four.holds_back)
        self.assertEqual((four.send(99), len(four)), ((4, []), 4))
        self.assertEqual(four.ack(3), ["a", "c"])
        self.assertEqual((four.send(99), len(four), four.unacked), ((4, []), 2, 0))
        self.assertEqual(four.take_put_off(), ["b"])
        self.assertFalse(four.holds_back)
        self.assertEqual((four.take_put_off(), four.send(99)), ([], (4, ["d"])))

    def test_it_is_given_up_when_all_on_the_way_is_answered_and_not_before(self) -> None:
        three = window(9, "a", "b", "c", sent=True)
        put_off(three, 1)
        self.assertEqual(three.take_put_off(), [])
        self.assertEqual(three.ack(2), ["b"])
        self.assertEqual(three.take_put_off(), [])
        self.assertEqual([*three.head(9)], ["a", "c"])
        three.refuse(3)
        self.assertEqual(three.take_put_off(), [])
        self.assertEqual(three.ack(3), [])
        self.assertEqual([*three.head(9)], ["a"])
        self.assertEqual(three.take_put_off(), ["a"])
        self.assertEqual(len(three), 0)

    def test_on_a_new_connection_it_waits_too_but_had_its_answer(self) -> None:
        three = window(9, "a", "b", "c", sent=True)
        put_off(three, 2)
        self.assertEqual(three.rewind(), 2)
        self.assertEqual(three.send(99), (1, ["a", "b", "c"]))

    def test_it_stays_in_order_however_it_was_refused(self) -> None:
        for sequence in ((1, 2, 4), (4, 1, 2), (2, 4, 1)):
            for first in (0, 1, 3, 4):
                four = window(9, "a", "b", "c", "d", sent=True)
                for seq in sequence:
                    put_off(four, seq)
                self.assertEqual(four.ack(first) + four.ack(4), ["c"])
                self.assertEqual(four.take_put_off(), ["a", "b", "d"])

    def test_what_is_left_of_it_takes_its_place(self) -> None:
        two = window(9, "ab", "c", sent=True)
        self.assertEqual(two.refuse(1), "ab")
        two.put_off(1, "b")
        self.assertEqual([*two.head(9)], ["b", "c"])
        two.ack(2)
        self.assertEqual(two.take_put_off(), ["b"])

    def test_a_new_connection_gets_it_in_its_place(self) -> None:
        for acked in (0, 1, 2, 4):
            five = window(4, "a", "b", "c", "d", "e", sent=True)
            put_off(five, 4)
            put_off(five, 2)
            five.ack(acked)
            five.rewind()
            self.assertFalse(five.holds_back)
            expected = [e for i, e in enumerate("abcde", 1) if i > acked or e in "bd"]
            self.assertEqual(five.send(1), (1, expected[:1]))
            five.rewind()
            self.assertEqual(five.take_put_off(), [])
            self.assertEqual(five.take_waiting(), expected)

    def test_what_nobody_wants_any_more_is_dropped(self) -> None:
        four = window(9, "x1", "x2", "a", sent=True)
        put_off(four, 1)
        put_off(four, 3)
        four.ack(3)
        four.discard_waiting(lambda e: e.startswith("x"))
        self.assertEqual((len(four), four.take_put_off()), (1, ["a"]))

    def test_what_was_refused_for_good_afterwards_does_not_go_again(self) -> None:
        two = window(9, "a", "b", sent=True)
        put_off(two, 1)
        self.assertEqual(two.refuse(1), "a")
        self.assertEqual((two.ack(2), two.take_put_off(), len(two)), (["b"], [], 0))


def put_off(of: Window[str], seq: int) -> None:
    entry = of.refuse(seq)
    assert entry is not None
    of.put_off(seq, entry)


class Naive:
    """The same as a list of everything ever added, each entry with its state."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sent: list[int | None] = []  # of this connection, from number 1; None: refused
        self.off: set[int] = set()  # numbers that are to go again
        self.again: list[int] = []  # what they were, once they are acked
        self.acked = 0
        self.waiting: list[int] = []

    def send(self, most: int) -> tuple[int, list[int]]:
        if self.off or self.again:
            return len(self.sent) + 1, []
        room = min(most, self.limit - (len(self.sent) - self.acked))
        now, self.waiting = self.waiting[:room], self.waiting[room:]
        first = len(self.sent) + 1
        self.sent += now
        return first, now

    def ack(self, seq: int) -> list[int]:
        if seq > len(self.sent):
            raise ValueError
        passed = [(n, self.sent[n - 1]) for n in range(self.acked + 1, seq + 1)]
        self.again += [e for n, e in passed if e is not None and n in self.off]
        settled = [e for n, e in passed if e is not None and n not in self.off]
        self.off = {n for n in self.off if n > seq}
        self.acked = max(self.acked, seq)
        return settled

    def refuse(self, seq: int) -> int | None:
        if seq > len(self.sent):
            raise ValueError
        if seq <= self.acked:
            return None
        entry, self.sent[seq - 1] = self.sent[seq - 1], None
        self.off.discard(seq)
        return entry

    def put_off(self, seq: int, entry: int) -> None:
        self.sent[seq - 1] = entry
        self.off.add(seq)

    def take_put_off(self) -> list[int]:
        if len(self.sent) > self.acked:
            return []
        again, self.again = self.again, []
        return again

    def unacked(self) -> list[int]:
        return self.again + [e for e in self.sent[self.acked :] if e is not None]

    def rewind(self) -> int:
        on_their_way = [n for n in range(self.acked + 1, len(self.sent) + 1) if n not in self.off]
        count = sum(self.sent[n - 1] is not None for n in on_their_way)
        self.waiting = self.unacked() + self.waiting
        self.again, self.off = [], set()
        self.sent, self.acked = [], 0
        return count

    def discard(self) -> None:
        self.again = [e for e in self.again if e % 3]
        self.waiting = [e for e in self.waiting if e % 3]


class ModelTest(unittest.TestCase):
    def test_it_does_what_a_naive_list_does(self) -> None:
        for seed in range(400 if SLOW else 120):
            self.compare(random.Random(seed))

    def compare(self, dice: random.Random) -> None:
        limit = dice.randint(1, 6)
        real: Window[int] = Window(limit)
        naive = Naive(limit)
        for step in range(250):
            seq = dice.randint(0, len(naive.sent) + 1)
            match dice.randrange(9):
                case 0 | 1 | 2 if dice.random() < 0.8:
                    real.add(step)
                    naive.waiting.append(step)
                case 0 | 1 | 2:
                    real.add_first(step)
                    naive.waiting.insert(0, step)
                case 3 | 4:
                    most = dice.choice((1, 2, 99))
                    self.assertEqual(real.send(most), naive.send(most))
                case 5 if dice.random() < 0.8:
                    self.both("ack", real, naive, seq)
                case 6:
                    entry = self.both("refuse", real, naive, seq)
                    if entry is not None and dice.random() < 0.5:
                        real.put_off(seq, entry)
                        naive.put_off(seq, entry)
                case 5 | 7 if dice.random() < 0.5:
                    self.assertEqual(real.take_put_off(), naive.take_put_off())
                case 7 if dice.random() < 0.3:
                    self.assertEqual(real.rewind(), naive.rewind())
                case 8 if dice.random() < 0.3:
                    if dice.random() < 0.8:
                        real.discard_waiting(lambda e: e % 3 == 0)
                        naive.discard()
                    else:
                        self.assertEqual(real.take_waiting(), naive.waiting)
                        naive.waiting = []
            self.assertEqual(real.unacked, len(naive.sent) - naive.acked)
            held = naive.unacked() + naive.waiting
            self.assertEqual((len(real), [*real.head(3)]), (len(held), held[:3]))
        real.rewind()
        naive.rewind()
        self.assertEqual(real.take_waiting(), naive.waiting)

    def both(self, verb: str, real: Window[int], naive: Naive, seq: int) -> Any:
        try:
            expected = getattr(naive, verb)(seq)
        except ValueError:
            self.assertRaises(ValueError, getattr(real, verb), seq)
            return None
        self.assertEqual(getattr(real, verb)(seq), expected)
        return expected
