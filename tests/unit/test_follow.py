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
from barker.manifold import joining
from barker.outbox import Outbox
from barker.process import peers
from barker.routing.routes import ORDERED, Target
from barker.wire import bodies, protocol, strictjson
from barker.wire.bodies import FOLLOW, JOIN, UNFOLLOW, Event
from barker.wire.ops import Ack, Refuse, Unreadable
from tests.tools.fakes import FakeDialer, FakeLink, FakeNode
from tests.tools.inside import deciders_of, events_of, joining_of, journal_of, people_of
from tests.tools.wireclient import Message, bark, put
from tests.unit.test_recovery import RecoveryTest


def event(kind: str, id_: str, whom: str = "", user: str = "ark3", at: int = 1) -> Message:
    body = strictjson.loads(bodies.encode_event(Event(kind, id_, user, at, whom)))
    return put(0, [f"outbox/{user}"], body)


class OutboxTest(RecoveryTest):
    """An outbox on files, without sockets, which knows who exists."""

    def told(self, *argv: str) -> Outbox:
        manifold = self.outbox(*argv)
        people_of(manifold).complete = True
        return manifold

    def followers(self, manifold: Outbox) -> FakeLink:
        self.served(manifold, FOLLOWERS, ORDERED, "f")
        link = FakeLink("f")
        events_of(manifold).sender.link_up(link)  # type: ignore[arg-type]
        return link


class EventsInAnOutbox(OutboxTest):
    def deciders(self, manifold: Outbox) -> FakeLink:
        """As `followers`, for joins that are not kept yet."""
        self.served(manifold, FOLLOWERS, ORDERED, "f")
        link = FakeLink("f")
        deciders_of(joining_of(manifold)).link_up(link)  # type: ignore[arg-type]
        return link

    def assertUndecided(self, manifold: Outbox, *said: Message) -> None:
        self.assertRefused(self.say(manifold, *said), protocol.UNDECIDED, "waiting for followers")

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

    def test_promise_9_why_an_event_waits_is_told(self) -> None:
        manifold = self.told()
        link = self.followers(manifold)
        self.assertAcked(self.say(manifold, event(FOLLOW, "a", "rdl")))
        refusal = Refuse(1, protocol.FULL, "f2 does not replicate us yet", ["followers"])
        events_of(manifold).sender.on_refuse(link, refusal)  # type: ignore[arg-type]
        why = "its queue for followers waits: f2 does not replicate us yet"
        self.assertEqual(manifold.lacks(), why)
        events_of(manifold).sender.on_ack(link, Ack(1))  # type: ignore[arg-type]
        self.fire()
        events_of(manifold).sender.on_ack(link, Ack(2))  # type: ignore[arg-type]
        self.assertEqual(manifold.lacks(), "")

    def test_who_joins_may_speak_at_once_also_after_a_kill(self) -> None:
        manifold = self.told()
        said = [
            event(JOIN, "a", user="newcomer"),
            put(0, ["outbox/newcomer"], bark("newcomer", "b")),
            event(FOLLOW, "c", "rdl", user="newcomer"),
        ]
        link = self.deciders(manifold)
        self.assertUndecided(manifold, said[0])
        deciders_of(joining_of(manifold)).on_ack(link, Ack(1))  # type: ignore[arg-type]
        self.assertAcked(self.say(manifold, *said))
        after = self.again(manifold)
        self.assertAcked(self.say(after, put(0, ["outbox/newcomer"], bark("newcomer", "d"))))

    def test_followers_alone_gives_names_away(self) -> None:
        manifold = self.told()
        first, second = (event(JOIN, id_, user="newcomer") for id_ in ("a", "b"))
        for join_ in (first, first, second):
            self.assertUndecided(manifold, join_)
        self.assertIn("joins are waiting for followers", manifold.lacks())
        link, sender = self.deciders(manifold), deciders_of(joining_of(manifold))
        self.assertEqual([sent.item.origin for sent in link.take_puts()], [None, None])
        self.assertUndecided(manifold, first)
        self.assertEqual(link.take_puts(), [], "it is asked once")
        self.assertEqual(self.pushed(self.followers(manifold)), [], "nothing is kept yet")
        sender.on_refuse(link, Refuse(2, protocol.NAME_TAKEN, "it is", []))  # type: ignore[arg-type]
        sender.on_ack(link, Ack(2))  # type: ignore[arg-type]
        for _ in range(2):
            self.assertRefused(self.say(manifold, second), protocol.NAME_TAKEN, "it is")
            self.assertAcked(self.say(manifold, first))
        self.assertEqual(self.pushed(self.followers(manifold)), [(1, "a")])
        after = self.again(manifold)
        self.assertAcked(self.say(after, first))
        self.assertUndecided(after, second)

    def test_a_join_that_waits_holds_up_no_bark(self) -> None:
        manifold = self.told()
        said = self.say(manifold, event(JOIN, "a", user="newcomer"), *self.barks("b", "c"))
        self.assertEqual([m["op"] for m in said], ["refuse", "ack"])
        self.assertEqual(self.pushed(self.bizlogic(manifold)), [(1, "b"), (2, "c")])

    def test_a_join_whose_client_has_gone_takes_no_name(self) -> None:
        manifold = self.told()
        gone, there = (event(JOIN, id_, user="newcomer") for id_ in ("a", "b"))
        self.assertUndecided(manifold, gone)
        for _ in range(10):
            self.assertUndecided(manifold, there)
            self.clock += joining.GIVEN_UP_S / 5
        self.assertEqual(len(joining_of(manifold)), 1)
        link = self.deciders(manifold)
        self.assertEqual([json.loads(sent.item.body)["id"] for sent in link.take_puts()], ["b"])
        self.assertUndecided(manifold, gone)  # it is there again
        self.assertEqual([json.loads(sent.item.body)["id"] for sent in link.take_puts()], ["a"])

    def test_joins_that_wait_have_a_limit(self) -> None:
        self.patch(joining, "MAX_ASKED", 2)
        manifold = self.told()
        for user in ("ann", "bob", "cid"):
            self.assertUndecided(manifold, event(JOIN, "a", user=user))
        self.assertEqual(len(joining_of(manifold)), 2)
        link = self.deciders(manifold)
        for last in (2, 3, 4):
            deciders_of(joining_of(manifold)).on_ack(link, Ack(last))  # type: ignore[arg-type]
            self.assertUndecided(manifold, event(JOIN, "a", user=f"user{last}"))
        # The oldest answers are forgotten, and asked for again.
        self.assertUndecided(manifold, event(JOIN, "a", user="ann"))
        self.assertAcked(self.say(manifold, event(JOIN, "a", user="user3")))

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
