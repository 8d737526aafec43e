"""Share: which addresses are ours, and how many of them are remembered."""

import unittest
from typing import Any
from unittest import mock

from barker.manifold import share
from barker.manifold.share import Share
from barker.wire.ops import Put
from tests.tools.fakes import FakeNode


class ShareTest(unittest.TestCase):
    def test_promise_5_names_that_are_put_to_are_not_remembered_without_end(self) -> None:
        node: Any = FakeNode()
        ours = Share(node, "outbox", lambda: None)
        with mock.patch.object(share, "REMEMBERED_ADDRESSES", 100):
            for i in range(50):
                put = Put(1, [" ".join(f"outbox/nobody{i}x{j}" for j in range(7))], [b"{}"])
                self.assertEqual(ours.of(put).put, put)
                self.assertLessEqual(len(ours._ours), 100)
