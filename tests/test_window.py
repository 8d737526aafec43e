"""The window: in order, at most so many at once, everything again after a break, nothing twice."""

import random
import unittest

from barker.window import Window


def window(limit: int, *entries: str, sent: bool = False) -> Window[str]:
    result: Window[str] = Window(limit)
    for entry in entries:
        result.add(entry)
    if sent:
        list(result.send())
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
        self.assertEqual(list(three.send()), [(1, "a"), (2, "b")])
        three.add("c")
        self.assertEqual(list(three.send()), [(3, "c")])
        self.assertEqual(list(three.send()), [])
        self.assertHolds(three, "a", "b", "c")

    def test_no_more_than_the_limit_is_unacked(self) -> None:
        two = window(2, "a", "b", "c", sent=True)
        self.assertEqual((two.unacked, len(two), list(two.send())), (2, 3, []))
        two.ack(1)
        self.assertEqual(list(two.send()), [(3, "c")])

    def test_what_was_not_taken_out_of_send_was_not_sent(self) -> None:
        two = window(9, "a", "b")
        self.assertEqual(next(two.send()), (1, "a"))
        self.assertEqual(two.unacked, 1)
        self.assertRaises(ValueError, two.ack, 2)
        self.assertEqual(list(two.send()), [(2, "b")])

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
        self.assertEqual(list(three.send()), [])
        self.assertEqual(three.ack(3), ["a", "c"])
        self.assertIsNone(three.refuse(1))
        self.assertEqual(list(three.send()), [(4, "d")])
        self.assertHolds(three, "d")

    def test_its_length_is_what_nobody_has_taken_over_and_so_not_what_was_refused(self) -> None:
        three = window(9, "a", "b", "c", sent=True)
        three.refuse(2)
        self.assertHolds(three, "a", "c")

    def test_the_first_is_the_oldest_that_is_not_settled(self) -> None:
        three = window(2, "a", "b", "c")
        self.assertEqual([[*three.head(1)], [*window(2).head(1)]], [["a"], []])
        list(three.send())
        three.refuse(1)
        self.assertEqual([*three.head(1)], ["b"])
        three.ack(2)
        self.assertEqual([*three.head(1)], ["c"])

    def test_a_new_connection_gets_all_that_is_unacked_again_before_anything_new(self) -> None:
        four = window(3, "a", "b", "c", "d", sent=True)
        four.ack(1)
        four.refuse(2)
        four.rewind()
        four.add("e")
        self.assertEqual(list(four.send()), [(1, "c"), (2, "d"), (3, "e")])
        four.rewind()
        four.rewind()
        self.assertEqual(list(four.send()), [(1, "c"), (2, "d"), (3, "e")])

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


class Naive:
    """The same as a list of everything ever added, each entry with its state."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sent: list[int | None] = []  # of this connection, from number 1; None: refused
        self.acked = 0
        self.waiting: list[int] = []

    def send(self) -> list[tuple[int, int]]:
        room = self.limit - (len(self.sent) - self.acked)
        now, self.waiting = self.waiting[:room], self.waiting[room:]
        first = len(self.sent) + 1
        self.sent += now
        return list(enumerate(now, first))

    def ack(self, seq: int) -> list[int]:
        if seq > len(self.sent):
            raise ValueError
        settled = [e for e in self.sent[self.acked : seq] if e is not None]
        self.acked = max(self.acked, seq)
        return settled

    def refuse(self, seq: int) -> int | None:
        if seq > len(self.sent):
            raise ValueError
        if seq <= self.acked:
            return None
        entry, self.sent[seq - 1] = self.sent[seq - 1], None
        return entry

    def unacked(self) -> list[int]:
        return [e for e in self.sent[self.acked :] if e is not None]

    def rewind(self) -> None:
        self.waiting = self.unacked() + self.waiting
        self.sent, self.acked = [], 0


class ModelTest(unittest.TestCase):
    def test_it_does_what_a_naive_list_does(self) -> None:
        for seed in range(40):
            self.compare(random.Random(seed))

    def compare(self, dice: random.Random) -> None:
        limit = dice.randint(1, 6)
        real: Window[int] = Window(limit)
        naive = Naive(limit)
        for step in range(250):
            seq = dice.randint(0, len(naive.sent) + 1)
            match dice.randrange(9):
                case 0 | 1 | 2:
                    real.add(step)
                    naive.waiting.append(step)
                case 3 | 4:
                    self.assertEqual(list(real.send()), naive.send())
                case 5:
                    self.both("ack", real, naive, seq)
                case 6:
                    self.both("refuse", real, naive, seq)
                case 7 if dice.random() < 0.3:
                    real.rewind()
                    naive.rewind()
                case 8 if dice.random() < 0.3:
                    if dice.random() < 0.8:
                        real.discard_waiting(lambda e: e % 3 == 0)
                        naive.waiting = [e for e in naive.waiting if e % 3]
                    else:
                        self.assertEqual(real.take_waiting(), naive.waiting)
                        naive.waiting = []
            self.assertEqual(real.unacked, len(naive.sent) - naive.acked)
            held = naive.unacked() + naive.waiting
            self.assertEqual((len(real), [*real.head(3)]), (len(held), held[:3]))
        real.rewind()
        naive.rewind()
        self.assertEqual(real.take_waiting(), naive.waiting)

    def both(self, verb: str, real: Window[int], naive: Naive, seq: int) -> None:
        try:
            expected = getattr(naive, verb)(seq)
        except ValueError:
            self.assertRaises(ValueError, getattr(real, verb), seq)
        else:
            self.assertEqual(getattr(real, verb)(seq), expected)


if __name__ == "__main__":
    unittest.main()
