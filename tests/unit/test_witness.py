"""The witness and its parts: what is put, what is remembered, and what the verdict makes of it."""

import unittest
from typing import Any

from barker.disk.users import World
from barker.laboratory.audience import Audience
from barker.laboratory.producer import Producer, SaidBark
from barker.laboratory.verdict import Disorder, Key, Shown, Verdict, judge
from barker.laboratory.witness import Witness
from barker.wire.bodies import Bark
from tests.tools.fakes import FakeNode

GOOD = Verdict([], [], [], [])
READERS = ("ark3", "rdl")
DUE = {(reader, id_) for reader in READERS for id_ in ("a1", "a2")}


def shown(*ids: str, late: str = "") -> list[Shown]:
    """What one reader was shown; ``a1`` is the first bark of ace."""
    return [Shown("ace", id_, "", id_ == late, 0.0) for id_ in ids]


class VerdictTest(unittest.TestCase):
    """Two barks of ace, which are due to two readers."""

    def judge(self, *barks: list[Shown], due: set[Key] = DUE) -> Verdict:
        return judge({"a1": 1, "a2": 2}, dict(zip(READERS, barks, strict=True)), due)

    def test_nothing_is_wrong_with_what_is_shown_once_and_in_order(self) -> None:
        self.assertEqual(self.judge(shown("a1", "a2"), shown("a1", "a2")), GOOD)

    def test_lost_is_what_is_due_to_a_reader_that_was_not_shown_it(self) -> None:
        found = self.judge(shown("a1", "a2"), shown("a2"))
        self.assertEqual(found, GOOD._replace(lost=[("rdl", "a1")]))
        self.assertEqual(self.judge(shown(), shown(), due=set()), GOOD)

    def test_twice_is_what_one_reader_was_shown_again(self) -> None:
        found = self.judge(shown("a1", "a2"), shown("a1", "a2", "a2"))
        self.assertEqual(found, GOOD._replace(twice=[("rdl", "a2")]))

    def test_out_of_order_is_what_comes_after_a_later_one_unless_it_is_late(self) -> None:
        found = self.judge(shown("a2", "a1"), shown("a2", "a1", late="a1"))
        self.assertEqual(found, GOOD._replace(out_of_order=[Disorder("ark3", "ace", "a1", 1, 2)]))

    def test_numbers_of_two_authors_have_no_order(self) -> None:
        barks = [*shown("a2"), Shown("bea", "b1", "", False, 0.0)]
        self.assertEqual(judge({"a2": 2, "b1": 1}, {"ark3": barks}, set()), GOOD)

    def test_unexpected_is_what_was_not_said(self) -> None:
        found = self.judge(shown("a1", "a2", "x"), shown("a1", "a2"))
        self.assertEqual(found, GOOD._replace(unexpected=[("ark3", "x")]))


class PartsTest(unittest.TestCase):
    """A producer and an audience, on a node that has no links."""

    def setUp(self) -> None:
        self.node: Any = FakeNode()

    def test_barks_are_numbered_by_author_and_are_told_before_they_are_put(self) -> None:
        told: list[SaidBark] = []
        producer = Producer(self.node, told.append)
        said = [*producer.say(["ace", "bea"]), *producer.say(["ace"], "woof")]
        self.assertEqual([s.bark.content for s in said], ["1", "1", "2 woof"])
        self.assertEqual([s.number for s in said], [1, 1, 2])
        self.assertEqual((told, producer.said), (said, said))
        self.assertEqual((producer.unanswered, producer.acked), (3, 0))

    def test_an_audience_without_an_answer_is_not_ready(self) -> None:
        audience = Audience(self.node)
        self.assertTrue(audience.is_ready)
        audience.read(["ark3"])
        self.assertFalse(audience.is_ready)
        self.assertEqual(audience.shown, {"ark3": []})


class WitnessTest(unittest.TestCase):
    """What it makes of what it was shown; nobody else is there."""

    def setUp(self) -> None:
        node: Any = FakeNode()
        self.witness = Witness(node, World({"ace": [], "ark3": ["ace"], "rdl": []}))
        self.readers = ["ace", "ark3"]

    def said(self, number: int) -> SaidBark:
        said = SaidBark(Bark(f"id{number}", "ace", f"{number}", 0), number, 0.0)
        said.acked_at = 0.0
        self.witness.producer.said.append(said)
        return said

    def show(self, number: int, readers: list[str], late: bool = False) -> None:
        barks = self.witness.audience.shown
        for reader in readers:
            barks[reader].append(Shown("ace", f"id{number}", f"{number}", late, 0.0))

    def assertVerdict(self, **counts: int) -> None:
        counts = {name.replace("_", " "): count for name, count in counts.items()}
        wrong = {name: count for name, count in self.witness.verdict().items() if count}
        self.assertEqual(wrong, counts)

    def test_a_bark_is_due_to_its_author_and_to_followers(self) -> None:
        self.said(1), self.said(2)
        self.show(1, self.readers)
        self.show(2, self.readers)
        self.assertVerdict()

    def test_barks_are_counted_and_not_their_readers(self) -> None:
        self.said(1), self.said(2), self.said(3)
        self.show(2, self.readers * 2)
        self.show(1, self.readers)
        self.assertVerdict(lost=1, twice=1, out_of_order=1)

    def test_what_was_not_acknowledged_is_nobodys_loss(self) -> None:
        self.said(1).acked_at = None
        self.assertVerdict()

    def test_astray_is_what_a_reader_was_shown_that_does_not_follow_its_author(self) -> None:
        self.said(1)
        self.show(1, [*self.readers, "rdl"])
        self.assertVerdict(astray=1)

    def test_barks_of_other_producers_count_if_they_come_twice(self) -> None:
        self.show(7, ["rdl"])
        self.assertVerdict()
        self.show(7, ["rdl"])
        self.assertVerdict(twice=1)
