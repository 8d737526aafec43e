"""Readers: what a client shows of what inboxes send."""

import unittest
from collections.abc import Iterable
from typing import Any
from unittest import mock

from barker.client import reader
from barker.client.reader import REMEMBERED_OWNERS, Reader
from barker.process import peers
from barker.routing.routes import CONSISTENT, Target
from tests.tools.fakes import FakeDialer, FakeLink, FakeNode


class ReaderTest(unittest.TestCase):
    """What a reader makes of what inboxes send, without a system."""

    def setUp(self) -> None:
        self.enterContext(mock.patch.object(peers, "Dialer", FakeDialer))
        self.node = FakeNode()
        self.shown: list[tuple[str, bool]] = []
        self.caught_up = 0
        self.reader = Reader(
            self.node,  # type: ignore[arg-type]
            ["ark3"],
            self.show,
            self.fail,  # type: ignore[arg-type]
            caught_up=self.on_caught_up,
        )

    def show(self, reader: str, fields: dict[str, Any], late: bool) -> None:
        self.shown.append((fields["id"], late))

    def on_caught_up(self) -> None:
        self.caught_up += 1

    def owner(self, name: str) -> FakeLink:
        """The inbox is that one's now; the link to it."""
        self.node.told("inbox", CONSISTENT, [Target(name, "127.0.0.1", 1, 1)])
        link = FakeLink(name)
        self.reader.link_up(link)  # type: ignore[arg-type]
        return link

    def sends(
        self, link: FakeLink, epoch: str, ids: Iterable[str], first: int = 1, **more: int
    ) -> None:
        """That owner's timeline is `ids`, each said at its place in the alphabet."""
        address, ids = "inbox/ark3", list(ids)
        last = first - 1 + len(ids)
        answer = {"address": address, "epoch": epoch * 16, "serial": first - 1, "last": last}
        answer |= {"history": 10_000, **more}
        self.reader.on_subscribed(link, answer)  # type: ignore[arg-type]
        for serial, id_ in enumerate(ids, start=first):
            body = {"id": id_, "user": "rdl", "at": ord(id_[0])}
            message = {"address": address, "epoch": epoch * 16, "serial": serial, "parsed": body}
            self.reader.on_message(link, message)  # type: ignore[arg-type]

    def test_it_says_once_that_it_has_shown_what_was_there(self) -> None:
        one, address = self.owner("one"), "inbox/ark3"
        answer = {"address": address, "epoch": "1" * 16, "serial": 0, "last": 2, "history": 9}
        self.reader.on_subscribed(one, answer)  # type: ignore[arg-type]
        for serial, id_ in enumerate("ab", start=1):
            self.assertEqual((self.shown, self.caught_up), ([], 0))
            body = {"id": id_, "user": "rdl", "at": serial}
            message = {"address": address, "epoch": "1" * 16, "serial": serial, "parsed": body}
            self.reader.on_message(one, message)  # type: ignore[arg-type]
        self.assertEqual((self.shown, self.caught_up), ([("a", False), ("b", False)], 1))
        self.sends(self.owner("two"), "2", "abc")
        self.assertEqual((len(self.shown), self.caught_up), (3, 1))

    def test_it_is_ready_when_the_past_is_shown_and_knows_which_owner_has_answered(self) -> None:
        def state() -> tuple[bool, str]:
            return self.reader.is_ready, self.reader.served_by("ark3")

        one = self.owner("one")
        self.assertEqual(state(), (False, ""))
        answer = {"address": "inbox/ark3", "epoch": "1" * 16, "serial": 0, "last": 1}
        self.reader.on_subscribed(one, {**answer, "history": 9})  # type: ignore[arg-type]
        self.assertEqual(state(), (False, "one"))
        self.sends(one, "1", "a")
        self.assertEqual(state(), (True, "one"))
        two = self.owner("two")
        self.assertEqual(state(), (True, ""))
        self.sends(two, "2", "a")
        self.assertEqual(state(), (True, "two"))

    def test_an_owner_that_dies_amid_the_past_is_no_end_of_it(self) -> None:
        one = self.owner("one")
        answer = {"address": "inbox/ark3", "epoch": "1" * 16, "serial": 0, "last": 2}
        self.reader.on_subscribed(one, {**answer, "history": 9})  # type: ignore[arg-type]
        self.assertEqual(self.caught_up, 0)
        self.sends(self.owner("two"), "2", "")
        self.assertEqual((self.shown, self.caught_up), ([], 1))

    def test_promise_3_what_a_dead_owner_still_held_is_late_when_it_is_back(self) -> None:
        self.sends(self.owner("one"), "1", "ab")
        # One has died with c, which it never sent; what follows comes by another.
        self.sends(self.owner("two"), "2", "def")
        self.sends(self.owner("one"), "3", "abc")
        self.sends(self.owner("two"), "2", "g", first=4)
        due = [("a", False), ("b", False), ("d", False), ("e", False), ("f", False)]
        self.assertEqual(self.shown, [*due, ("c", True), ("g", False)])

    def assertShownOnce(self, count: int) -> None:
        shown = [id_ for id_, _ in self.shown]
        self.assertEqual((len(shown), len(set(shown))), (count, count))

    def test_promise_2_it_remembers_as_much_as_an_inbox_says_that_it_retains(self) -> None:
        self.enterContext(mock.patch.object(reader, "REMEMBERED_IDS", 10))
        some = [f"x{n}" for n in range(1000)]
        for epoch in "123":  # killed and started anew, again and again
            self.sends(self.owner("one"), epoch, some, retained=1000)
        self.assertShownOnce(1000)

    def test_promise_2_it_remembers_what_an_owner_sent_that_has_been_dead_for_long(self) -> None:
        self.enterContext(mock.patch.object(reader, "REMEMBERED_IDS", 10))
        theirs = [f"x{n}" for n in range(10)]
        self.sends(self.owner("one"), "1", theirs)
        self.sends(self.owner("two"), "2", [f"y{n}" for n in range(1000)])
        self.sends(self.owner("one"), "3", theirs)
        self.assertShownOnce(1010)
        # Two is handed what it had not sent, and then both may send it again.
        self.sends(self.owner("two"), "2", theirs, first=1001)
        self.sends(self.owner("three"), "4", [f"z{n}" for n in range(1000)])
        for name, epoch in (("one", "5"), ("two", "6")):
            self.sends(self.owner(name), epoch, theirs)
        self.assertShownOnce(2010)

    def test_promise_5_its_memory_is_bounded_whatever_inboxes_say(self) -> None:
        self.enterContext(mock.patch.object(reader, "REMEMBERED_IDS", 10))
        self.enterContext(mock.patch.object(reader, "MAX_REMEMBERED_IDS", 20))
        (place,) = self.reader._places.values()
        for i in range(20):
            some = [f"{i} {n}" for n in range(100)]
            self.sends(self.owner(f"owner{i}"), f"{i % 10}", some, retained=10**9)
            owners = place.seen._owners.values()
            remembered = [len(sent.young) + len(sent.old) for sent in owners]
            self.assertLessEqual(len(remembered), REMEMBERED_OWNERS)
            self.assertLessEqual(max(remembered), 2 * 20)
        self.assertShownOnce(2000)
