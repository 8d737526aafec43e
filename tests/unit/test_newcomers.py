"""Newcomers: subscriptions to users who are unknown here wait for the news, and not for ever."""

import unittest
from typing import Any
from unittest import mock

from barker.graph.people import People
from barker.manifold import newcomers
from barker.manifold.newcomers import AT_ONCE, MAX_WAITING, Newcomers
from barker.routing.routes import Target
from barker.wire import protocol
from barker.wire.ops import Subscribe
from barker.wire.protocol import BadMessage
from tests.tools.fakes import FakeLink, FakeNode


class NewcomersTest(unittest.TestCase):
    def setUp(self) -> None:
        node: Any = FakeNode()
        self.node = node
        self.begun: list[tuple[Any, str]] = []
        self.people = People(
            self.node,
            ["ark3"],
            lambda users: self.newcomers.known(users),
            lambda: self.newcomers.all_known(),
        )
        self.people.complete = True
        self.newcomers = Newcomers(self.node, self.people, self.begin)
        self.link: Any = FakeLink()

    def begin(self, link: Any, wish: Subscribe) -> None:
        self.begun.append((link, wish.address))

    def wait(self, *users: str, link: Any = None) -> None:
        for user in users:
            self.newcomers.wait(link or self.link, user, Subscribe(f"inbox/{user}"))

    def join(self, user: str) -> None:
        """The feed brings an event."""
        body = {"kind": "join", "user": user}
        self.people.changed(self.people.held.apply(body))

    def look(self, seconds: float) -> None:
        for _ in range(round(seconds / newcomers.LOOK_EVERY_S)):
            self.node.pass_time(newcomers.LOOK_EVERY_S)

    def refused(self, link: Any = None) -> list[str]:
        return [m["address"] for m in (link or self.link).take() if m["op"] == "unreadable"]

    def test_the_news_of_a_join_begins_the_subscription_at_once(self) -> None:
        other: Any = FakeLink("other")
        self.wait("eve", "mal")
        self.wait("eve", link=other)
        self.join("eve")
        self.assertEqual(self.begun, [(self.link, "inbox/eve"), (other, "inbox/eve")])
        self.assertEqual(len(self.newcomers), 1)

    def test_promise_5_a_thousand_wait_with_one_timer(self) -> None:
        self.wait(*(f"u{i}" for i in range(1000)))
        self.assertEqual(len(self.node.timers), 1)
        self.look(2.5)
        self.assertEqual((len(self.newcomers), self.node.timers), (0, []))
        self.assertEqual(len(self.refused()), 1000)

    def test_without_news_it_is_refused_after_the_time_that_news_takes(self) -> None:
        self.wait("eve")
        self.look(newcomers.NEWS_WITHIN_S - newcomers.LOOK_EVERY_S)
        self.assertEqual(self.refused(), [])
        self.look(3 * newcomers.LOOK_EVERY_S)
        self.assertEqual(self.refused(), ["inbox/eve"])
        self.join("eve")
        self.assertEqual(self.begun, [])

    def test_nobody_is_refused_without_a_stream_from_a_followers_service_that_is_there(
        self,
    ) -> None:
        self.node.routes.update("graph", "ordered", [Target("followers-1", "127.0.0.1", 1, 1)])
        self.wait("eve")
        self.look(20)
        self.assertEqual(self.refused(), [])
        self.node.routes.update("graph", "ordered", [])
        self.look(newcomers.NEWS_WITHIN_S + 2 * newcomers.LOOK_EVERY_S)
        self.assertEqual(self.refused(), ["inbox/eve"])

    def test_nobody_is_refused_before_the_graph_is_known(self) -> None:
        self.people.complete = False
        self.wait("eve", "mal")
        self.look(20)
        self.assertEqual(self.refused(), [])
        self.people.held.apply({"kind": "join", "user": "eve"})
        self.people.complete = True
        self.people.replaced()
        self.look(newcomers.LOOK_EVERY_S)
        self.assertEqual(self.begun, [(self.link, "inbox/eve")])
        self.look(newcomers.NEWS_WITHIN_S + newcomers.LOOK_EVERY_S)
        self.assertEqual(self.refused(), ["inbox/mal"])

    def test_promise_5_a_link_has_its_limit_and_so_have_all_of_them(self) -> None:
        self.wait(*(f"u{i}" for i in range(MAX_WAITING)))
        self.wait("u1")  # the same one again is no more
        other: Any = FakeLink("other")
        self.wait("eve", link=other)
        for link, limit in ((self.link, MAX_WAITING), (other, MAX_WAITING + 1)):
            with (
                mock.patch.object(newcomers, "MAX_WAITING_IN_ALL", limit),
                self.assertRaises(BadMessage) as refused,
            ):
                self.wait("mal", link=link)
            self.assertEqual(refused.exception.code, protocol.TOO_MANY)
        self.assertEqual(len(self.newcomers), MAX_WAITING + 1)

    def test_promise_5_a_link_that_has_gone_leaves_nothing_to_wait(self) -> None:
        self.wait("eve", "mal")
        self.newcomers.link_down(self.link)
        self.assertEqual((len(self.newcomers), self.newcomers._waiting), (0, {}))
        self.join("eve")
        self.look(2)
        self.assertEqual((self.begun, self.link.sent, self.node.timers), ([], [], []))

    def test_one_look_has_an_end(self) -> None:
        links: list[Any] = [FakeLink(str(i)) for i in range(3)]
        for link in links:
            self.wait(*(f"u{i}" for i in range(MAX_WAITING)), link=link)
        self.look(newcomers.NEWS_WITHIN_S + newcomers.LOOK_EVERY_S)
        self.assertLessEqual(sum(len(self.refused(link)) for link in links), 2 * AT_ONCE)
        self.look(3 * newcomers.LOOK_EVERY_S)
        self.assertEqual(len(self.newcomers), 0)

    def begin_with(self, fault: Exception) -> Any:
        """News comes, and what it begins raises that."""
        link = mock.Mock(closed=False)
        self.newcomers = Newcomers(self.node, self.people, mock.Mock(side_effect=fault))
        self.wait("eve", link=link)
        self.join("eve")
        return link

    def test_a_bug_in_it_ends_the_link_that_has_asked(self) -> None:
        with self.assertLogs("barker.process.faults", "ERROR"):
            link = self.begin_with(ZeroDivisionError())
        link.abort.assert_called_once_with()

    def test_an_error_of_the_peer_is_told_to_it_as_usual(self) -> None:
        fault = protocol.ProtocolError(protocol.PROTOCOL, "no")
        with self.assertNoLogs("barker.process.faults"):
            link = self.begin_with(fault)
        link.close.assert_called_once_with(fault)
