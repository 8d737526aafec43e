"""Admission: what an outbox remembers of those who say something has an end."""

import unittest
from typing import Any
from unittest import mock

from barker.manifold import admission
from barker.manifold.admission import Admission
from barker.wire.bodies import Bark, encode_bark
from barker.wire.ops import Put


class AdmissionTest(unittest.TestCase):
    def test_promise_5_the_memory_of_authors_has_an_end_and_forgets_no_bark(self) -> None:
        people: Any = mock.MagicMock(complete=True)
        people.__contains__.return_value = True
        checks = Admission("outbox", people, lambda more: "", lambda more: "")
        with mock.patch.object(admission, "REMEMBERED_AUTHORS", 10):
            for i in [*range(100), *range(100)]:
                body = encode_bark(Bark(f"id{i}", f"author{i}", "wuff", 1))
                admitted, faults = checks.check(Put(1, [f"outbox/author{i}"], [body]))
                self.assertEqual(faults, [])
                if admitted:
                    checks.accept(admitted)
                self.assertLessEqual(checks.authors, 10)
        self.assertFalse(checks._known.are_new({("author7", "id7")}))
