"""The witness of the tour: what it makes of what it was shown."""

import unittest
from typing import Any

from barker.laboratory.lab import Lab
from barker.laboratory.witness import Said, Witness
from barker.wire.bodies import Bark


class WitnessTest(unittest.IsolatedAsyncioTestCase):
    """What it makes of what it was shown; nobody else is there."""

    async def asyncSetUp(self) -> None:
        lab = self.lab = Lab()
        self.enterContext(lab._folder)
        self.witness = Witness(lab.args())
        self.readers = sorted(self.witness.due("ace"))

    def said(self, number: int) -> Said:
        bark = Bark(f"id{number}", "ace", f"Bark {number}", 0)
        said = self.witness.said[bark.id] = Said(bark, 0.0)
        said.acked_at = 0.0
        return said

    def show(self, number: int, readers: list[str], late: bool = False) -> None:
        fields: dict[str, Any] = {"id": f"id{number}", "user": "ace", "content": ""}
        for reader in readers:
            self.witness._show(reader, fields, late)

    def verdict(self) -> tuple[int, ...]:
        return tuple(self.witness.verdict().values())

    async def test_all_is_well(self) -> None:
        self.said(1), self.said(2)
        self.show(1, self.readers)
        self.show(2, self.readers)
        self.assertEqual(self.verdict(), (0, 0, 0))

    async def test_a_bark_that_one_reader_missed_is_lost(self) -> None:
        self.said(1)
        self.show(1, self.readers[1:])
        self.assertEqual(self.verdict(), (1, 0, 0))

    async def test_what_was_not_acknowledged_is_nobodys_loss(self) -> None:
        self.said(1).acked_at = None
        self.assertEqual(self.verdict(), (0, 0, 0))

    async def test_twice(self) -> None:
        self.said(1)
        self.show(1, [*self.readers, self.readers[0]])
        self.assertEqual(self.verdict(), (0, 1, 0))

    async def test_out_of_order_unless_it_says_that_it_is_late(self) -> None:
        self.said(1), self.said(2)
        self.show(2, self.readers)
        self.show(1, self.readers[:1])
        self.show(1, self.readers[1:], late=True)
        self.assertEqual(self.verdict(), (0, 0, 1))
