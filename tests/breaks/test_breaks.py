"""The simulation finds how the code was once wrong; under BARKER_SLOW=1, for it takes minutes."""

import unittest

from tests import breaks
from tests.tools.fleet import SLOW


class BreaksTest(unittest.TestCase):
    def test_what_each_break_replaces_is_in_the_code(self) -> None:
        for name in breaks.names():
            with self.subTest(name):
                some = breaks.load(name)
                self.assertTrue(some.about)
                for change in some.changes:
                    text = (breaks.ROOT / change.path).read_text(encoding="utf-8")
                    self.assertNotEqual(breaks.broken(text, change), text)

    def test_a_text_that_is_not_there_is_an_error(self) -> None:
        with self.assertRaises(ValueError):
            breaks.broken("a b", breaks.Change("x", "c", "d"))

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: many simulations of broken code")
    def test_the_simulation_finds_each_break(self) -> None:
        for name in breaks.names():
            with self.subTest(name):
                some = breaks.load(name)
                found = breaks.hunt(some)
                self.assertIn(found.kind, some.kinds, found.story)
