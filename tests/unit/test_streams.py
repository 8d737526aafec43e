"""Streams: serials, cursors and gaps."""

import random
import sys
import unittest

from barker.streams.cursor import Cursor
from barker.streams.stream import FEW, Stream


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

    def test_promise_5_a_quiet_stream_is_small_and_grows_into_a_large_one(self) -> None:
        self.assertLess(sys.getsizeof(stream(1, 800).entries), 100)
        for total in (FEW - 1, FEW, FEW + 1, FEW + 2, 3 * FEW):
            for keep in (FEW - 1, FEW, FEW + 1, 2 * FEW):
                one = stream(total, keep)
                self.assertEqual([*one.entries], [*range(max(0, total - keep) + 1, total + 1)])
                old: Stream[int] = Stream(keep)
                for i in range(total):
                    old.append(i + 1, is_old=True)
                self.assertEqual([*old.entries], [*range(max(0, total - 2 * keep) + 1, total + 1)])
                one.restore(one.last, ())
                self.assertLess(sys.getsizeof(one.entries), 100)

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

    def test_what_was_sent_otherwise_is_not_taken_again(self) -> None:
        of, cursor = stream(8, 9), Cursor(0, 6)
        self.assertEqual(cursor.limit, 6)
        cursor.sent_up_to(4)
        self.assertEqual(cursor.take(of), (0, 5, [5, 6]))
        cursor.ack(4)
        self.assertEqual((cursor.limit, cursor.take(of)), (10, (0, 7, [7, 8])))

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
