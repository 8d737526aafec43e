"""The way of a traced bark: which hops there are, and what their bars show."""

import unittest

from barker.client.way import BAR_COLUMNS, NAME_COLUMNS, Hop, hops, lines

KINDS = {"o": "outbox", "b": "bizlogic", "i": "inbox", "j": "inbox", "f": "followers"}


class WayTest(unittest.TestCase):
    def test_hops_are_in_the_order_of_the_way_whatever_clocks_say(self) -> None:
        way = hops({"i": 5.0, "j": 4.0, "b": 9.0, "o": 7.0, "f": 1.0, "unknown": 2.0}, KINDS)
        self.assertEqual([hop.service for hop in way], ["o", "b", "j", "i"])

    def test_each_bar_begins_where_the_one_before_ends(self) -> None:
        way = hops({"o": 101.0, "b": 102.0, "i": 104.0}, KINDS)
        whole, *bars = lines(100.0, way)
        self.assertIn("4.00 ms", whole)
        times = [float(line[NAME_COLUMNS:].split(" ms")[0]) for line in bars]
        self.assertEqual(times, [1.0, 1.0, 2.0])
        begins = [line.index("=") for line in bars]
        ends = [len(line) for line in bars]
        self.assertEqual(begins[1:], ends[:-1])
        self.assertEqual(ends[-1] - begins[0], BAR_COLUMNS)

    def test_inboxes_share_their_beginning(self) -> None:
        bars = lines(100.0, hops({"o": 101.0, "b": 102.0, "i": 103.0, "j": 104.0}, KINDS))[1:]
        self.assertEqual(bars[2].index("="), bars[3].index("="))
        self.assertLess(len(bars[2]), len(bars[3]))

    def test_without_hops_there_is_no_line(self) -> None:
        self.assertEqual(lines(100.0, []), [])

    def test_lines_fit_a_terminal_whatever_names_and_clocks(self) -> None:
        for at_ms in (99.0, 100.0, 100.001, 130_000.0):
            way = [Hop("o" * 64, "outbox", at_ms), Hop("i" * 64, "inbox", 101.0)]
            for line in lines(100.0, way):
                self.assertLessEqual(len(line), 80)
            self.assertTrue(all("=" in line for line in lines(100.0, way)[1:]))


if __name__ == "__main__":
    unittest.main()
