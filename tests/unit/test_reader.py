"""Readers: what a client shows of what inboxes send."""

import contextlib
import io
import unittest
from collections.abc import Iterable
from typing import Any
from unittest import mock

from barker.client import reader
from barker.client.reader import REMEMBERED_OWNERS, Reader
from barker.process import peers
from barker.routing.routes import CONSISTENT, Target
from barker.wire import protocol, strictjson
from barker.wire.ops import Gap, Message, Subscribed, Unreadable
from tests.tools.fakes import FakeDialer, FakeLink, FakeNode


class ReaderTest(unittest.TestCase):
    """What a reader makes of what inboxes send, without a system."""

    def setUp(self) -> None:
        self.enterContext(mock.patch.object(peers, "Dialer", FakeDialer))
        self.node = FakeNode()
        self.shown: list[tuple[str, bool]] = []
        self.ended: list[tuple[str, str]] = []
        self.caught_up = 0
        self.reader = Reader(
            self.node,  # type: ignore[arg-type]
            ["ark3"],
            self.show,
            lambda user, reason: self.ended.append((user, reason)),
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
        answer = Subscribed(address, epoch * 16, first - 1, last, 10_000, **more)
        self.reader.on_subscribed(link, answer)  # type: ignore[arg-type]
        for id_ in ids:
            self.message(link, id_, ord(id_[0]))

    def message(self, link: FakeLink, id_: str, at: int) -> None:
        body = strictjson.dumps({"id": id_, "user": "rdl", "at": at})
        self.reader.on_message(link, Message(["inbox/ark3"], [body]))  # type: ignore[arg-type]

    def test_it_says_once_that_it_has_shown_what_was_there(self) -> None:
        one = self.owner("one")
        answer = Subscribed("inbox/ark3", "1" * 16, 0, 2, 9)
        self.reader.on_subscribed(one, answer)  # type: ignore[arg-type]
        for serial, id_ in enumerate("ab", start=1):
            self.assertEqual((self.shown, self.caught_up), ([], 0))
            self.message(one, id_, serial)
        self.assertEqual((self.shown, self.caught_up), ([("a", False), ("b", False)], 1))
        self.sends(self.owner("two"), "2", "abc")
        self.assertEqual((len(self.shown), self.caught_up), (3, 1))

    def test_it_is_ready_when_the_past_is_shown_and_knows_which_owner_has_answered(self) -> None:
        def state() -> tuple[bool, str]:
            return self.reader.is_ready, self.reader.served_by("ark3")

        one = self.owner("one")
        self.assertEqual(state(), (False, ""))
        answer = Subscribed("inbox/ark3", "1" * 16, 0, 1, 9)
        self.reader.on_subscribed(one, answer)  # type: ignore[arg-type]
        self.assertEqual(state(), (False, "one"))
        self.sends(one, "1", "a")
        self.assertEqual(state(), (True, "one"))
        two = self.owner("two")
        self.assertEqual(state(), (True, ""))
        self.sends(two, "2", "a")
        self.assertEqual(state(), (True, "two"))

    def test_an_owner_that_dies_amid_the_past_is_no_end_of_it(self) -> None:
        one = self.owner("one")
        answer = Subscribed("inbox/ark3", "1" * 16, 0, 2, 9)
        self.reader.on_subscribed(one, answer)  # type: ignore[arg-type]
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

    def test_a_history_is_in_the_order_of_the_stream_whatever_its_clocks_say(self) -> None:
        """A bark of the far future would hide all that is newer."""
        one = self.owner("one")
        answer = Subscribed("inbox/ark3", "1" * 16, 0, 40, 30)
        self.reader.on_subscribed(one, answer)  # type: ignore[arg-type]
        for n in range(40):
            self.message(one, f"b{n}", 2**53 - 1 if n == 5 else n)
        self.assertEqual([id_ for id_, _ in self.shown], [f"b{n}" for n in range(10, 40)])

    def test_each_entry_is_one_serial_more_and_a_gap_is_so_many(self) -> None:
        self.sends(self.owner("one"), "1", "ab", first=7)
        (place,) = self.reader._places.values()
        assert place.asked
        self.reader.on_gap(place.asked, Gap("inbox/ark3", 5))
        self.message(place.asked, "c", 3)  # type: ignore[arg-type]
        self.assertEqual(place.serial, 14)

    def test_a_body_that_can_t_be_read_is_passed_over(self) -> None:
        self.sends(self.owner("one"), "1", "a")
        (place,) = self.reader._places.values()
        assert place.asked
        bad = [
            b'{"a":}',
            b"1",
            b'{"id":"x"}',
            b'{"id":"b","user":"rdl","at":2}',
            b'{"a":1},{"b":2}',
        ]
        self.reader.on_message(place.asked, Message(["inbox/ark3"], bad))
        self.assertEqual([id_ for id_, _ in self.shown], ["a", "b"])
        self.assertEqual(place.serial, 6)

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

    def test_promise_5_of_the_past_no_more_is_held_than_is_to_be_shown(self) -> None:
        link = self.owner("one")
        answer = Subscribed("inbox/ark3", "a" * 16, 0, protocol.MAX_COUNT, 3)
        self.reader.on_subscribed(link, answer)  # type: ignore[arg-type]
        (place,) = self.reader._places.values()
        for i in range(1000):
            self.message(link, f"{i}", i)
            self.assertLessEqual(len(place.past or ()), 3)

    def refused(self, link: FakeLink, code: str) -> None:
        answer = Unreadable("inbox/ark3", code, "it is so")
        self.reader.on_unreadable(link, answer)  # type: ignore[arg-type]

    def test_what_has_no_room_now_is_asked_again_and_does_not_end_it(self) -> None:
        for code in (protocol.FULL, protocol.TOO_MANY):
            link = self.owner(code)
            link.take()
            with contextlib.redirect_stderr(io.StringIO()) as said:
                for _ in range(3):
                    self.refused(link, code)
                    self.assertEqual(self.reader.why_waiting, "it is so")
                    self.node.pass_time(peers.READ_AGAIN_S)
                    self.assertEqual([m["op"] for m in link.take()], ["subscribe"])
            self.assertEqual(said.getvalue().count("no room"), 1, "one line, however often")
            self.sends(link, code[0].replace("t", "b").replace("f", "a"), [code])
            self.assertEqual(self.reader.why_waiting, "")
            self.assertEqual((self.shown[-1], self.ended), ((code, False), []))

    def test_what_can_never_be_read_ends_it(self) -> None:
        for code in (protocol.UNKNOWN_USER, protocol.BAD_MESSAGE):
            self.ended.clear()
            self.refused(self.owner(code), code)
            self.assertEqual(self.ended, [("ark3", "it is so")])
