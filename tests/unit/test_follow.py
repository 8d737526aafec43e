"""Follow, unfollow, join: what an outbox makes of these events, and what their commands refuse."""

import contextlib
import io
import json
import time
import unittest
from typing import Any
from unittest import mock

from barker import follow, join, outbox
from barker.client import following
from barker.graph.feed import FOLLOWERS, GRAPH
from barker.outbox import Outbox
from barker.process import peers
from barker.routing.routes import ORDERED, Target
from barker.wire import bodies, protocol, strictjson
from barker.wire.bodies import FOLLOW, JOIN, UNFOLLOW, Event
from barker.wire.ops import Ack, Unreadable
from tests.tools.fakes import FakeDialer, FakeLink, FakeNode
from tests.tools.inside import events_of, journal_of, people_of
from tests.tools.wireclient import Message, bark, put
from tests.unit.test_recovery import RecoveryTest


def event(kind: str, id_: str, whom: str = "", user: str = "ark3", at: int = 1) -> Message:
    body = strictjson.loads(bodies.encode_event(Event(kind, id_, user, at, whom)))
    return put(0, [f"outbox/{user}"], body)


class EventsInAnOutbox(RecoveryTest):
    """On files, without sockets."""

    def told(self, *argv: str) -> Outbox:
        manifold = self.outbox(*argv)
        people_of(manifold).complete = True
        return manifold

    def followers(self, manifold: Outbox) -> FakeLink:
        self.served(manifold, FOLLOWERS, ORDERED, "f")
        link = FakeLink("f")
        events_of(manifold).sender.link_up(link)  # type: ignore[arg-type]
        return link

    def assertRefused(self, said: list[Message], code: str, reason: str) -> None:
        self.assertEqual([m["op"] for m in said], ["refuse", "ack"])
        self.assertEqual(said[0]["code"], code)
        self.assertIn(reason, said[0]["reason"])

    def test_events_and_barks_go_their_own_ways_each_with_its_own_count(self) -> None:
        manifold = self.told()
        self.assertAcked(
            self.say(
                manifold,
                event(FOLLOW, "a", "rdl"),
                put(0, ["outbox/ark3"], bark("ark3", "b")),
                event(UNFOLLOW, "c", "rdl", at=2),
            )
        )
        self.assertEqual(self.pushed(self.bizlogic(manifold)), [(1, "b")])
        self.assertEqual(self.pushed(self.followers(manifold)), [(1, "a"), (2, "c")])

    def test_dead_followers_hold_up_no_bark_and_no_dead_bizlogic_an_event(self) -> None:
        manifold = self.told()
        self.say(manifold, event(FOLLOW, "a", "rdl"), *self.barks("b", "c"))
        biz = self.bizlogic(manifold)
        self.settle(manifold, biz, 2)
        root = self.copy(manifold)
        after = self.begin(Outbox, root)
        self.assertEqual(self.pushed(self.bizlogic(after)), [])
        link = self.followers(after)
        self.assertEqual(self.pushed(link), [(1, "a")])
        self.say(after, *self.barks("d"))
        events_of(after).sender.on_ack(link, Ack(1))  # type: ignore[arg-type]
        self.fire()
        last = self.begin(Outbox, self.copy_of(after, root))
        self.assertEqual(self.pushed(self.followers(last)), [])
        self.assertEqual(self.pushed(self.bizlogic(last)), [(3, "d")])

    def test_a_segment_is_kept_until_both_queues_are_past_it(self) -> None:
        self.small_journals(segment_bytes=2000, kept_bytes=4000)
        manifold = self.told()
        self.say(manifold, event(FOLLOW, "first", "rdl"))
        biz = self.bizlogic(manifold)
        for i in range(1, 201):
            self.say(manifold, *self.barks(f"b{i}"))
            self.settle(manifold, biz, i)
        after = self.again(manifold)
        link = self.followers(after)
        self.assertEqual(self.pushed(link), [(1, "first")])
        events_of(after).sender.on_ack(link, Ack(1))  # type: ignore[arg-type]
        self.fire()
        self.assertLess(journal_of(after).size, 12_000)

    def test_who_joins_may_speak_at_once_also_after_a_kill(self) -> None:
        manifold = self.told()
        said = [
            event(JOIN, "a", user="newcomer"),
            put(0, ["outbox/newcomer"], bark("newcomer", "b")),
            event(FOLLOW, "c", "rdl", user="newcomer"),
        ]
        self.assertAcked(self.say(manifold, *said))
        after = self.again(manifold)
        self.assertAcked(self.say(after, put(0, ["outbox/newcomer"], bark("newcomer", "d"))))

    def test_a_name_is_given_once(self) -> None:
        manifold = self.told()
        self.assertRefused(
            self.say(manifold, event(JOIN, "a", user="rdl")),
            protocol.NAME_TAKEN,
            "a user rdl already",
        )
        self.assertAcked(self.say(manifold, event(JOIN, "a", user="newcomer")))
        self.assertAcked(self.say(manifold, event(JOIN, "a", user="newcomer")))  # said again
        self.assertRefused(
            self.say(manifold, event(JOIN, "b", user="newcomer")), protocol.NAME_TAKEN, "already"
        )

    def test_what_an_outbox_refuses(self) -> None:
        manifold = self.told()
        for message, code, reason in (
            (event(FOLLOW, "a", "nobody"), protocol.UNKNOWN_USER, "no user nobody"),
            (event(FOLLOW, "a", "rdl", user="nobody"), protocol.UNKNOWN_USER, "no user nobody"),
            (
                {**event(FOLLOW, "a", "rdl"), "to": ["outbox/rhs"]},
                protocol.BAD_MESSAGE,
                "nothing of",
            ),
            (event(JOIN, "a", user="suggestions"), protocol.BAD_MESSAGE, "a service"),
        ):
            with self.subTest(reason):
                self.assertRefused(self.say(manifold, message), code, reason)
        self.patch(outbox, "MAX_EVENTS_WAITING", 1)
        self.assertAcked(self.say(manifold, event(FOLLOW, "b", "rdl")))
        self.assertRefused(self.say(manifold, event(FOLLOW, "c", "rhs")), protocol.FULL, "1 events")

    def test_a_clock_that_is_far_ahead_is_replaced_by_ours_and_one_behind_may_be_right(
        self,
    ) -> None:
        manifold = self.told()
        now = int(1000 * time.time())
        ats = {"old": 5, "near": now + 50_000, "far": now + 3_600_000, "last": 2**53 - 1}
        barks = [put(0, ["outbox/ark3"], bark("ark3", id_, at=at)) for id_, at in ats.items()]
        self.assertAcked(self.say(manifold, *barks, event(FOLLOW, "f", "rdl", at=2**53 - 1)))
        pushed = [*self.bizlogic(manifold).take_puts(), *self.followers(manifold).take_puts()]
        items = {sent.item.id: sent.item for sent in pushed}
        for id_, at in ats.items():
            if id_ in ("old", "near"):
                self.assertEqual(items[id_].at, at)
        for id_ in ("far", "last", "f"):
            self.assertLess(abs(items[id_].at - now), 30_000, id_)
        for item in items.values():
            self.assertEqual(json.loads(item.body)["at"], item.at)

    def test_as_long_as_nobody_has_said_who_exists_nobody_is_unknown(self) -> None:
        manifold = self.outbox()
        for message in (
            event(FOLLOW, "a", "somebody"),
            event(JOIN, "a", user="somebody"),
            put(0, ["outbox/somebody"], bark("somebody", "b")),
        ):
            self.assertRefused(self.say(manifold, message), protocol.FULL, "not known here yet")
        self.assertAcked(self.say(manifold, event(FOLLOW, "a", "rdl")))


class ParserTest(unittest.TestCase):
    def assertComplains(self, *argv: str, status: int) -> None:
        command = join.main if argv[0] == "join" else follow.main
        with self.assertRaises(SystemExit) as caught:
            raise SystemExit(command(list(argv[1:])))
        self.assertEqual(caught.exception.code, status)

    def test_what_can_t_be_meant(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertComplains("follow", "ark3", status=2)
            self.assertComplains("follow", "ark3", "rdl", "--list", status=2)
            self.assertComplains("follow", "ark3", "--list", "--unfollow", status=2)
            self.assertComplains("follow", "Ark3", "--list", status=2)
            self.assertComplains("follow", "ark3", "ark3", status=1)
            self.assertComplains("follow", "ark3", "R", status=1)
            self.assertComplains("join", "R2D2", status=1)
            self.assertComplains("join", "suggestions", status=1)
        self.assertIn("join: a name is 1 to 20 of a-z, 0-9 and _", said.getvalue())


class ListTest(unittest.TestCase):
    def test_a_list_for_which_there_is_no_room_now_is_asked_for_again(self) -> None:
        self.enterContext(mock.patch.object(peers, "Dialer", FakeDialer))
        node: Any = FakeNode()
        shown: list[dict[str, Any]] = []
        one = following.List(node, "ark3", shown.append)
        node.told(GRAPH, ORDERED, [Target("f", "127.0.0.1", 1, 1)])
        link: Any = FakeLink("f")
        one.link_up(link)
        one.on_unreadable(link, Unreadable("graph/ark3", protocol.TOO_MANY, "it is so"))
        self.assertEqual(one.why_waiting, "it is so")
        node.pass_time(peers.READ_AGAIN_S)
        self.assertEqual([m["op"] for m in link.take()], ["subscribe"] * 2)
        with self.assertRaises(protocol.ProtocolError):
            one.on_unreadable(link, Unreadable("graph/ark3", protocol.BAD_MESSAGE, "no"))
