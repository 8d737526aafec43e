"""The window: in order, at most so many at once, everything again after a break, nothing twice.

A batch is written as a text here, with a letter for each entry.
"""

import itertools
import random
import unittest
from collections.abc import Collection, Iterable
from typing import Any

from barker.delivery.batches import Batch
from barker.delivery.window import Window
from barker.wire.ops import Put
from tests.tools.fakes import stamped
from tests.tools.fleet import SLOW

Row = tuple[int, tuple[str, ...]]  # an entry: its counter, and its addresses


def batch_of(numbers: Iterable[int], to: Iterable[str] = ("r",)) -> Batch[int]:
    """Entries with these counters, by which their owner knows them."""
    jobs = [*numbers]
    items = [stamped("0" * 16, n) for n in jobs]
    return Batch.of(Put.of(0, [*itertools.islice(itertools.cycle(to), len(jobs))], items), jobs)


def rows(batches: Iterable[Batch[int]]) -> list[Row]:
    """Their entries; and all that a batch says of itself is true."""
    found = []
    for batch in batches:
        to = batch.to if len(batch.to) == batch.size else [*batch.to] * batch.size
        some = [(n, (*each.split(" "),)) for n, each in zip(batch.all_jobs, to, strict=True)]
        assert b',"n":%b,' % str([*batch.all_jobs]).replace(" ", "").encode() in batch.tail
        assert (batch.size, batch.reach) == (len(some), sum(len(each) for _, each in some))
        found += some
    return found


def texts(batches: Iterable[Batch[int]]) -> list[str]:
    return ["".join(chr(n) for n, _ in rows([batch])) for batch in batches]


def window(limit: int, *batches: str, sent: bool = False) -> Window[int]:
    result: Window[int] = Window(limit)
    for batch in batches:
        result.add(batch_of(map(ord, batch)))
    if sent:
        result.send(99)
    return result


def sent_by(of: Window[int], most: int = 99) -> list[tuple[int, str]]:
    """What it sends now."""
    return [(seq, *texts([batch])) for seq, batch in of.send(most)]  # type: ignore[misc]


class WindowCase(unittest.TestCase):
    def assertHolds(self, of: Window[int], *batches: str) -> None:
        """All that no receiver has taken over, as a new connection would be sent it."""
        self.assertEqual((len(of), texts(of.head(99))), (len("".join(batches)), [*batches]))
        of.rewind()
        self.assertEqual((len(of), of.unacked), (len("".join(batches)), 0))
        self.assertEqual((texts(of.take_waiting()), len(of)), ([*batches], 0))

    def assertAcks(self, of: Window[int], seq: int, *batches: str) -> None:
        self.assertEqual(texts(of.ack(seq)), [*batches])

    def assertTakesPutOff(self, of: Window[int], *batches: str) -> None:
        self.assertEqual(texts(of.take_put_off()), [*batches])

    def refuse(self, of: Window[int], seq: int) -> str | None:
        one = of.refuse(seq, ["r"])
        return one and texts([one])[0]

    def put_off(self, of: Window[int], *numbers: int) -> None:
        for seq in numbers:
            self.assertTrue(of.put_off(seq, ["r"]))


class WindowTest(WindowCase):
    def test_numbers_start_at_one_and_count_entries(self) -> None:
        four = window(9, "a", "bc")
        self.assertEqual(sent_by(four), [(1, "a"), (2, "bc")])
        four.add(batch_of(map(ord, "d")))
        self.assertEqual([sent_by(four), sent_by(four)], [[(4, "d")], []])
        self.assertHolds(four, "a", "bc", "d")

    def test_no_more_than_the_limit_is_unacked_and_a_batch_goes_whole(self) -> None:
        four = window(3, "ab", "cd", sent=True)
        self.assertEqual((four.unacked, len(four), sent_by(four)), (2, 4, []))
        four.ack(1)
        self.assertEqual((sent_by(four), four.unacked), ([(3, "cd")], 3))

    def test_no_more_is_sent_than_was_asked_for_and_what_was_not_was_not_sent(self) -> None:
        four = window(9, "ab", "c", "d")
        self.assertEqual((sent_by(four, 1), four.unacked), ([(1, "ab")], 2))
        self.assertRaises(ValueError, four.ack, 3)
        self.assertEqual(sent_by(four, 2), [(3, "c"), (4, "d")])

    def test_what_is_put_first_goes_before_all_that_waits_and_behind_what_was_sent(self) -> None:
        three = window(2, "ab", "c", sent=True)
        three.add_first(batch_of(map(ord, "de")))
        self.assertEqual(len(three), 5)
        three.ack(2)
        self.assertEqual(sent_by(three), [(3, "de")])
        three.add_first(batch_of(map(ord, "f")))
        self.assertHolds(three, "de", "f", "c")

    def test_an_ack_settles_everything_up_to_its_number_once(self) -> None:
        five = window(9, "abc", "de", sent=True)
        for seq, *settled in ((0,), (2, "ab"), (2,), (1,), (3, "c"), (3,), (5, "de")):
            self.assertAcks(five, seq, *settled)
        self.assertHolds(five)

    def test_an_ack_or_a_refusal_of_what_was_never_sent_changes_nothing(self) -> None:
        for seq in (3, 4, 2**53):
            for some, held in (
                (window(2, "ab", "c", sent=True), ("ab", "c")),
                (window(9, "abc"), ("abc",)),
            ):
                self.assertRaises(ValueError, some.ack, seq)
                self.assertRaises(ValueError, some.refuse, seq, ["r"])
                self.assertRaises(ValueError, some.put_off, seq, ["r"])
                self.assertHolds(some, *held)

    def test_a_refused_entry_is_settled_once_and_its_number_still_passes(self) -> None:
        four = window(3, "abc", "d", sent=True)
        self.assertEqual([self.refuse(four, 2), self.refuse(four, 2)], ["b", None])
        self.assertEqual((sent_by(four), len(four), texts(four.head(1))), ([], 3, ["ac"]))
        self.assertAcks(four, 3, "ac")
        self.assertIsNone(self.refuse(four, 1))
        self.assertEqual(sent_by(four), [(4, "d")])
        self.assertEqual(self.refuse(four, 4), "d")
        self.assertHolds(four)

    def test_what_is_refused_for_some_addresses_stays_for_the_others(self) -> None:
        for to, refused, left in (
            ("r s t", ["s"], ("r", "t")),
            ("r s t", ["t", "u", "r"], ("s",)),
            ("r s", ["r", "s"], ()),
            ("r s", ["u"], ()),  # of none that it was for: the whole of it
        ):
            two: Window[int] = Window(9)
            two.add(batch_of((1, 2), (to,)))
            two.send(9)
            self.assertEqual(two.put_off(2, refused), not left)
            one = two.refuse(2, refused)
            gone = tuple(a for a in to.split(" ") if a not in left)
            self.assertEqual(one and rows([one]), [(2, gone)])
            held = [(1, (*to.split(" "),)), *([(2, left)] if left else [])]
            self.assertEqual((rows(two.head(9)), len(two)), (held, len(held)))
            self.assertEqual(rows(two.ack(2)), held)

    def test_the_first_are_the_oldest_that_are_not_settled(self) -> None:
        four = window(2, "ab", "c", "d")
        self.assertEqual([texts(four.head(1)), texts(window(2).head(1))], [["ab"], []])
        four.send(99)
        self.refuse(four, 1)
        self.assertEqual([texts(four.head(n)) for n in (1, 2)], [["b"], ["b", "c"]])
        four.ack(2)
        self.assertEqual(texts(four.head(1)), ["c"])

    def test_a_new_connection_gets_all_that_is_unacked_again_before_anything_new(self) -> None:
        five = window(4, "abcd", "e", sent=True)
        five.ack(1)
        self.refuse(five, 2)
        self.assertEqual(five.rewind(), 2)  # "e" was never sent, "b" is settled
        five.add(batch_of(map(ord, "f")))
        for _ in range(2):
            self.assertEqual(sent_by(five), [(1, "cd"), (3, "e"), (4, "f")])
            self.assertEqual([five.rewind(), five.rewind()], [4, 0])

    def test_numbers_of_an_old_connection_are_never_sent_on_a_new_one(self) -> None:
        two = window(9, "ab", sent=True)
        two.rewind()
        self.assertRaises(ValueError, two.ack, 1)
        self.assertEqual(two.ack(0), [])

    def test_discarding_and_taking_concern_only_what_was_not_sent(self) -> None:
        some = window(3, "ax", "x", "xx", "bx", "x", sent=True)
        some.discard_waiting(lambda batch: {*batch.jobs} == {ord("x")})
        self.assertEqual(texts(some.take_waiting()), ["bx"])
        self.assertEqual((some.unacked, some.take_waiting()), (3, []))
        self.assertHolds(some, "ax", "x")


class PutOffTest(WindowCase):
    def test_what_is_put_off_holds_back_all_that_waits(self) -> None:
        four = window(9, "abc", sent=True)
        self.put_off(four, 2)
        four.add(batch_of(map(ord, "d")))
        self.assertTrue(four.holds_back)
        self.assertEqual((sent_by(four), len(four)), ([], 4))
        self.assertAcks(four, 3, "ac")
        self.assertEqual((sent_by(four), len(four), four.unacked), ([], 2, 0))
        self.assertTakesPutOff(four, "b")
        self.assertFalse(four.holds_back)
        self.assertTakesPutOff(four)
        self.assertEqual(sent_by(four), [(4, "d")])

    def test_it_is_given_up_when_all_on_the_way_is_answered_and_not_before(self) -> None:
        three = window(9, "abc", sent=True)
        self.put_off(three, 1)
        for seq, acked, held in ((0, (), ["abc"]), (2, ("b",), ["a", "c"]), (3, (), ["a"])):
            self.assertTakesPutOff(three)
            if seq == 3:
                self.refuse(three, 3)
            self.assertAcks(three, seq, *acked)
            self.assertEqual(texts(three.head(9)), held)
        self.assertTakesPutOff(three, "a")
        self.assertEqual(len(three), 0)

    def test_on_a_new_connection_it_waits_too_but_had_its_answer(self) -> None:
        three = window(9, "abc", sent=True)
        self.put_off(three, 2, 2)
        self.assertEqual(three.rewind(), 2)
        self.assertEqual(sent_by(three), [(1, "abc")])

    def test_it_stays_in_order_however_it_was_refused(self) -> None:
        for batches in (["abcd"], ["ab", "cd"], ["a", "bcd"], [*"abcd"]):
            for sequence in ((1, 2, 4), (4, 1, 2), (2, 4, 1)):
                for first in (0, 1, 3, 4):
                    four = window(9, *batches, sent=True)
                    self.put_off(four, *sequence)
                    self.assertEqual(texts(four.ack(first) + four.ack(4)), ["c"])
                    self.assertEqual("".join(texts(four.take_put_off())), "abd")

    def test_a_new_connection_gets_it_in_its_place(self) -> None:
        for batches in (["abcd", "e"], ["ab", "cd", "e"], [*"abcde"]):
            for acked in (0, 1, 2, 4):
                five = window(4, *batches, sent=True)
                self.put_off(five, 4, 2)
                five.ack(acked)
                five.rewind()
                self.assertFalse(five.holds_back)
                self.assertTakesPutOff(five)
                expected = [e for i, e in enumerate("abcde", 1) if i > acked or e in "bd"]
                self.assertEqual("".join(texts(five.take_waiting())), "".join(expected))

    def test_what_nobody_wants_any_more_is_dropped(self) -> None:
        three = window(9, "x", "xa", sent=True)
        self.put_off(three, 1, 3)
        three.ack(3)
        three.discard_waiting(lambda batch: {*batch.jobs} == {ord("x")})
        self.assertEqual(len(three), 1)
        self.assertTakesPutOff(three, "a")

    def test_what_was_refused_for_good_afterwards_does_not_go_again(self) -> None:
        two = window(9, "ab", sent=True)
        self.put_off(two, 1)
        self.assertEqual(self.refuse(two, 1), "a")
        self.assertFalse(two.put_off(1, ["r"]))
        self.assertAcks(two, 2, "b")
        self.assertFalse(two.put_off(1, ["r"]))
        self.assertTakesPutOff(two)
        self.assertEqual(len(two), 0)


class Entry:
    """One entry as the naive window has it; those of one batch that are side by side stay so."""

    def __init__(self, n: int, batch: object, to: tuple[str, ...]) -> None:
        self.n = n
        self.batch = batch
        self.to = to
        self.is_refused = self.is_off = False


class Naive:
    """The same as lists of entries, each with its state."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sent: list[Entry] = []  # of this connection, from number 1 on
        self.again: list[Entry] = []  # put off, and an ack has passed them
        self.acked = 0
        self.waiting: list[Entry] = []

    @property
    def unacked(self) -> list[Entry]:
        return [e for e in self.sent[self.acked :] if not e.is_refused]

    @property
    def held(self) -> list[Row]:
        return [(e.n, e.to) for e in (*self.again, *self.unacked, *self.waiting)]

    def send(self, most: int) -> list[Row]:
        first = len(self.sent)
        if self.again or any(e.is_off for e in self.sent[self.acked :]):
            return []
        while self.waiting:
            [batch, *_] = [[*g] for _, g in itertools.groupby(self.waiting, lambda e: e.batch)]
            now = len(self.sent) + len(batch)
            if now - self.acked > self.limit or (first < len(self.sent) and now > first + most):
                break
            self.sent += batch
            self.waiting = self.waiting[len(batch) :]
        return [(e.n, e.to) for e in self.sent[first:]]

    def ack(self, seq: int) -> list[Row]:
        passed = [e for e in self.sent[self.acked : max(seq, self.acked)] if not e.is_refused]
        off = [e for e in passed if e.is_off]
        fresh = {id(e.batch): object() for e in off}  # cut off from those behind them
        for e in off:
            e.batch, e.is_off = fresh[id(e.batch)], False
        self.again += off
        self.acked = max(seq, self.acked)
        return [(e.n, e.to) for e in passed if e not in off]

    def refuse(self, seq: int, addresses: Collection[str]) -> list[Row]:
        entry = self.sent[seq - 1]
        if seq <= self.acked or entry.is_refused:
            return []
        entry.is_off = False
        gone = tuple(a for a in entry.to if a in addresses) or entry.to
        left = tuple(a for a in entry.to if a not in gone)
        entry.is_refused = not left
        entry.to = left or entry.to
        return [(entry.n, gone)]

    def put_off(self, seq: int, addresses: Collection[str]) -> bool:
        entry = self.sent[seq - 1]
        mine = [a for a in entry.to if a in addresses]
        if seq <= self.acked or entry.is_refused or 0 < len(mine) < len(entry.to):
            return False
        entry.is_off = True
        return True

    def take_put_off(self) -> list[Row]:
        if len(self.sent) > self.acked:
            return []
        again, self.again = self.again, []
        return [(e.n, e.to) for e in again]

    def rewind(self) -> int:
        count = sum(not e.is_off for e in self.unacked)
        self.waiting = self.again + self.unacked + self.waiting
        for e in self.waiting:
            e.is_off = False
        self.again, self.sent, self.acked = [], [], 0
        return count

    def discard_waiting(self, rest: int) -> None:
        for some in (self.again, self.waiting):
            batches = [[*g] for _, g in itertools.groupby(some, lambda e: e.batch)]
            some[:] = [e for b in batches if not all(e.n % 3 == rest for e in b) for e in b]

    def take_waiting(self) -> list[Row]:
        waiting, self.waiting = self.waiting, []
        return [(e.n, e.to) for e in waiting]


class ModelTest(unittest.TestCase):
    def test_it_does_what_naive_lists_do(self) -> None:
        for seed in range(400 if SLOW else 60):
            with self.subTest(seed=seed):
                self.compare(random.Random(seed))

    def compare(self, dice: random.Random) -> None:
        limit = dice.randint(1, 8)
        real: Window[int] = Window(limit)
        naive = Naive(limit)
        count = 0
        for _ in range(200):
            seq = dice.randint(0, len(naive.sent) + 1)
            some = dice.sample("rstu", dice.randint(1, 3))
            match dice.randrange(9):
                case 0 | 1 | 2:
                    size = dice.randint(1, min(limit, 4))
                    to = [" ".join(dice.sample("rst", dice.randint(1, 3))) for _ in range(size)]
                    to = to if dice.random() < 0.7 else to[:1] * size
                    batch = batch_of(range(count, count := count + size), to)
                    entries = [Entry(n, batch, addresses) for n, addresses in rows([batch])]
                    if dice.random() < 0.8:
                        real.add(batch)
                        naive.waiting += entries
                    else:
                        real.add_first(batch)
                        naive.waiting[:0] = entries
                case 3 | 4:
                    most = dice.choice((1, 2, 3, 99))
                    first = len(naive.sent) + 1
                    batches = real.send(most)
                    self.assertEqual(rows(b for _, b in batches), naive.send(most))
                    for at, batch in batches:
                        self.assertEqual(at, first)
                        first += batch.size
                case 5:
                    self.both("ack", real, naive, seq)
                case 6 if dice.random() < 0.5:
                    self.both("refuse", real, naive, seq, some)
                case 6:
                    self.both("put_off", real, naive, seq, some)
                case 7 if dice.random() < 0.5:
                    self.assertEqual(rows(real.take_put_off()), naive.take_put_off())
                case 7 if dice.random() < 0.3:
                    self.assertEqual(real.rewind(), naive.rewind())
                case 8 if dice.random() < 0.3:
                    rest = dice.randrange(3)
                    real.discard_waiting(lambda b: all(j % 3 == rest for j in b.all_jobs))  # noqa: B023
                    naive.discard_waiting(rest)
                case 8 if dice.random() < 0.1:
                    self.assertEqual(rows(real.take_waiting()), naive.take_waiting())
            self.assertEqual(real.unacked, len(naive.sent) - naive.acked)
            self.assertEqual((len(real), rows(real.head(10**6))), (len(naive.held), naive.held))
            self.assertEqual(rows(real.head(1)), naive.held[: len(rows(real.head(1)))])
        real.rewind()
        naive.rewind()
        self.assertEqual(rows(real.take_waiting()), naive.take_waiting())

    def both(self, verb: str, real: Window[int], naive: Naive, seq: int, *more: Any) -> None:
        if seq > len(naive.sent):
            self.assertRaises(ValueError, getattr(real, verb), seq, *more)
        elif seq or verb == "ack":
            got = getattr(real, verb)(seq, *more)
            if verb == "refuse":
                got = [got] if got else []
            expected = getattr(naive, verb)(seq, *more)
            self.assertEqual(got if verb == "put_off" else rows(got), expected)
