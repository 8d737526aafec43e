"""Handing over: what waits for its turn, however often the ring changes."""

import unittest
from typing import Any
from unittest import mock

from barker.manifold import handover
from barker.manifold.handover import HandOver
from barker.manifold.timelines import Entry, Timeline
from tests.tools.fakes import FakeNode


class QueueTest(unittest.TestCase):
    def setUp(self) -> None:
        node: Any = FakeNode()
        self.hand_over = HandOver(node, "inbox", mock.Mock(), mock.Mock())
        self.timelines = [Timeline(f"inbox/u{i}", 5) for i in range(10)]
        for timeline in self.timelines:
            timeline.append(Entry(b"{}", "ab" * 8, 1, late=False, old=False))

    def test_promise_5_a_ring_that_changes_all_the_time_leaves_nothing_in_the_queue(self) -> None:
        self.enterContext(mock.patch.object(handover, "HANDED_OVER_AT_ONCE", 0))
        for _ in range(20):
            for ours in (False, True):
                self.hand_over.look_at(self.timelines, lambda address, ours=ours: ours)  # type: ignore[misc]
                self.assertLessEqual(len(self.hand_over._queue), len(self.timelines))
