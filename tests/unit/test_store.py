"""The store: how many timelines there are, and what is remembered beside them."""

import unittest
from unittest import mock

from barker.manifold import store
from barker.manifold.store import TimelineStore
from barker.wire.ops import Put
from barker.wire.protocol import FULL, BadMessage

EPOCH = "ab" * 8


class StoreTest(unittest.TestCase):
    def setUp(self) -> None:
        self.store = TimelineStore(5)
        self.n = 0

    def append(self, author: str, *readers: str) -> None:
        self.n += 1
        to = " ".join(f"inbox/{reader}" for reader in readers)
        one = ([self.n], [author], [f"{self.n}"], [self.n])
        put = Put(1, [to], [b"{}"], EPOCH, False, *one)
        groups = self.store.groups([to])
        self.store.append(put, groups, None, 1, lambda entry, group, full: None)

    def test_promise_5_timelines_have_an_end_and_what_is_over_it_leaves_none(self) -> None:
        with mock.patch.object(store, "MAX_STREAMS", 3):
            self.append("ann", "a", "b")
            for full in (["inbox/a inbox/c inbox/d"], ["inbox/c", "inbox/d"]):
                with self.assertRaises(BadMessage) as caught:
                    self.store.groups(full)
                self.assertEqual(caught.exception.code, FULL)
            self.append("ann", "a", "c")
            with self.assertRaises(BadMessage):
                self.store.timeline("inbox/d")
        self.assertEqual(self.store.timelines.keys(), {"inbox/a", "inbox/b", "inbox/c"})

    def test_one_timeline_that_is_new_in_several_entries_is_one(self) -> None:
        first, second, third = self.store.groups(["inbox/a inbox/b", "inbox/b", "inbox/a inbox/b"])
        self.assertIs(first, third)
        self.assertIs(first.timelines[1], second.timelines[0])

    def test_promise_5_the_memory_of_entries_has_an_end(self) -> None:
        with mock.patch.object(store, "REMEMBERED_ADDRESSES", 20):
            for i in range(100):
                self.append("ann", f"u{i % 30}", f"u{i % 7}x")
                addresses = [a for g in self.store._groups.values() for a in g.marks]
                self.assertLessEqual(len(addresses), 20)

    def test_promise_5_the_memory_of_authors_has_an_end(self) -> None:
        with mock.patch.object(store, "REMEMBERED_AUTHORS", 10):
            for i in range(100):
                self.append(f"author{i}", "a")
                self.assertLessEqual(len(self.store._latest), 10)
