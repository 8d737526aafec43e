"""Faults: a bug that one link or one moment brings to light is logged, and the rest goes on."""

import asyncio
import contextlib
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from barker.delivery.acks import APART_S, Acks
from barker.directory import Directory
from barker.links import accepting, connecting, greeting, stranger
from barker.links.connection import Connection
from barker.links.link import Link
from barker.process import dialing, node
from barker.process.agent import Agent
from barker.process.faults import Ticker, contained
from barker.process.service import Service
from barker.suggestions import Suggestions
from barker.wire import messages
from barker.wire.ops import Routes, Subscribe
from barker.wire.rights import CLIENT
from monitoring.monitor import Monitor
from tests.tools.fakes import FakeLink, FakeNode
from tests.tools.fleet import DEADLINE_S, until
from tests.tools.wireclient import NONCE, WRONG_SECRET, Wire, WireTest, serving
from tests.unit.test_agent import FakeService

HEARTBEAT_S = 0.4


class ContainedTest(unittest.TestCase):
    def test_a_fault_is_logged_whole_and_what_follows_is_done(self) -> None:
        ended = mock.Mock()
        with self.assertLogs("barker.process.faults", "ERROR") as logs, contained("link 7", ended):
            raise ZeroDivisionError
        ended.assert_called_once_with()
        self.assertRegex(logs.output[0], "(?s)link 7.*Traceback.*ZeroDivisionError")

    def test_a_fault_of_the_end_itself_is_logged_as_well(self) -> None:
        with (
            self.assertLogs("barker.process.faults", "ERROR") as logs,
            contained("link 7", mock.Mock(side_effect=KeyError)),
        ):
            raise ZeroDivisionError
        self.assertEqual(len(logs.output), 2)

    def test_an_order_to_stop_is_no_fault(self) -> None:
        for order in (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            with self.assertRaises(order), contained("link 7"):
                raise order

    def test_without_a_fault_nothing_is_logged_or_ended(self) -> None:
        ended = mock.Mock()
        with self.assertNoLogs("barker.process.faults"), contained("link 7", ended):
            pass
        ended.assert_not_called()


class TickerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.delay_s: float | None = 3.0
        self.work = mock.Mock()
        self.ticker = Ticker(
            lambda delay_s, work: self.timers.append((delay_s, work)),
            lambda: self.delay_s,
            self.work,
        )

    def fire(self) -> None:
        (timer,) = self.timers
        self.timers.clear()
        timer[1]()

    def test_it_goes_on_after_a_fault(self) -> None:
        self.ticker.start()
        self.work.side_effect = [None, ZeroDivisionError, None]
        self.fire()
        with self.assertLogs("barker.process.faults", "ERROR") as logs:
            self.fire()
        self.fire()
        self.assertIn("ZeroDivisionError", logs.output[0])
        self.assertEqual((self.work.call_count, [t[0] for t in self.timers]), (3, [3.0]))

    def test_it_runs_once_however_often_it_is_started(self) -> None:
        self.ticker.start()
        self.ticker.start()
        self.assertEqual(len(self.timers), 1)
        self.fire()
        self.ticker.start()
        self.assertEqual(len(self.timers), 1)

    def test_a_pause_lasts_until_the_next_start(self) -> None:
        self.ticker.start()
        self.delay_s = None
        self.fire()
        self.assertEqual(self.timers, [])
        self.delay_s = 1.0
        self.ticker.start()
        self.assertEqual([t[0] for t in self.timers], [1.0])

    def test_work_may_start_it_itself(self) -> None:
        self.work.side_effect = self.ticker.start
        self.ticker.start()
        self.fire()
        self.assertEqual(len(self.timers), 1)

    def test_what_is_stopped_does_nothing_more(self) -> None:
        self.ticker.start()
        self.ticker.stop()
        self.fire()
        self.ticker.start()
        self.assertEqual((self.work.call_count, self.timers), (0, []))


class AgentTest(unittest.TestCase):
    def setUp(self) -> None:
        self.service = FakeService()
        self.agent = Agent(self.service)
        self.link = FakeLink()
        self.subscribe(self.link)

    def subscribe(self, link: FakeLink) -> None:
        self.agent.subscribe(link, Subscribe("agent/outbox-1"))  # type: ignore[arg-type]

    def test_samples_go_on_after_one_that_could_not_be_taken(self) -> None:
        with (
            mock.patch.object(self.service, "gauges", side_effect=ZeroDivisionError),
            self.assertLogs("barker.process.faults", "ERROR"),
        ):
            self.service.fire()
        self.assertEqual(len(self.link.sent), 1)
        self.service.fire()
        self.assertEqual(len(self.link.sent), 2)

    def test_a_fault_of_one_watcher_ends_that_one_alone(self) -> None:
        links = [FakeLink() for _ in range(3)]
        for link in links:
            self.subscribe(link)
        with (
            mock.patch.object(links[1], "send", side_effect=ZeroDivisionError),
            self.assertLogs("barker.process.faults", "ERROR"),
        ):
            self.service.fire()
        self.assertEqual([len(link.sent) for link in links], [2, 1, 2])
        self.assertEqual([link.closed for link in links], [False, True, False])


class AcksTest(unittest.TestCase):
    def test_a_late_ack_that_fails_ends_its_link(self) -> None:
        timed, link, other = FakeNode(), FakeLink(), FakeLink()
        acks = Acks(timed)  # type: ignore[arg-type]
        for each in (link, other, link, other):
            each.committed += 1
            acks.owe(each)  # type: ignore[arg-type]
        with (
            mock.patch.object(link, "send", side_effect=ZeroDivisionError),
            self.assertLogs("barker.process.faults", "ERROR"),
        ):
            timed.pass_time(APART_S)
        self.assertEqual(
            (link.closed, other.closed, [m["seq"] for m in other.sent]), (True, False, [1, 2])
        )


class NodeTest(WireTest):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.directory = await self.serve(Directory, "--heartbeat", str(HEARTBEAT_S))
        self.port = self.directory.port

    async def pinged(self, link: Wire) -> None:
        """The next thing that it hears is a ping, and it answers."""
        async with asyncio.timeout(DEADLINE_S):
            self.assertEqual((await link._receive())[:-1], messages.PING)
        link.send({"op": "pong"})

    async def test_a_fault_with_one_link_keeps_no_other_from_its_heartbeat(self) -> None:
        links = [await self.open(self.port, name) for name in ("a", "b", "c")]
        await until(lambda: len(self.directory.links) == 3, "three links")
        ping = Link.ping

        def faulty(link: Link) -> None:
            if link.name == "b":
                raise ZeroDivisionError
            ping(link)

        with (
            mock.patch.object(Link, "ping", faulty),
            self.assertLogs("barker.process.faults", "ERROR") as logs,
        ):
            for _ in range(2):  # again and again
                for link in (links[0], links[2]):
                    await self.pinged(link)
            with contextlib.suppress(OSError):
                await links[1].rest()
        self.assertIn("link with b", logs.output[0])
        self.assertIn("ZeroDivisionError", logs.output[0])
        self.assertEqual({link.name for link in self.directory.links}, {"a", "c"})

    async def test_heartbeats_go_on_after_a_fault_of_the_ticker_itself(self) -> None:
        link = await self.open(self.port)
        faults = iter([ZeroDivisionError])
        look = self.directory._look_at_clock

        def faulty(now: float) -> None:
            for fault in faults:
                raise fault
            look(now)

        with (
            mock.patch.object(self.directory, "_look_at_clock", faulty),
            self.assertLogs("barker.process.faults", "ERROR"),
        ):
            await self.pinged(link)

    async def test_links_are_dropped_after_a_stall_even_if_a_part_of_it_fails(self) -> None:
        await self.open(self.port)
        await until(lambda: self.directory.links, "a link")
        with (
            mock.patch.object(self.directory, "thawed", side_effect=ZeroDivisionError),
            self.assertLogs("barker", "WARNING"),
        ):
            self.directory._last_tick -= 3 * HEARTBEAT_S
            self.directory._tick()
        await until(lambda: not self.directory.links, "it is dropped")
        await self.open(self.port)

    async def test_what_is_done_later_logs_its_fault(self) -> None:
        done = asyncio.Event()
        with self.assertLogs("barker.process.faults", "ERROR") as logs:
            self.directory.later(0, mock.Mock(side_effect=ZeroDivisionError))
            self.directory.later(0.001, done.set)
            await asyncio.wait_for(done.wait(), DEADLINE_S)
        self.assertIn("ZeroDivisionError", logs.output[0])

    async def test_a_fault_of_one_who_watches_routes_is_not_the_others(self) -> None:
        told = mock.Mock()
        talk = node.DirectoryTalk(
            self.directory, {"inbox": [mock.Mock(side_effect=ZeroDivisionError), told]}
        )
        routes = Routes("inbox", "consistent", [])
        with self.assertLogs("barker.process.faults", "ERROR"):
            talk.on_routes(mock.Mock(), routes)
        told.assert_called_once_with()


class GreetingTest(WireTest):
    """A bug that a stranger hits ends his connection, and nothing else."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.service = await self.serve(Directory)
        self.port = self.service.port

    async def assertStrangerAlone(self) -> None:
        async with await Wire.open(self.port, self.secret, "member") as member:
            async with await Wire.connect(self.port) as visitor:
                with contextlib.suppress(OSError):
                    await until(lambda: self.service.links, "the member is up")
                    visitor.say_hello(role=CLIENT)
                    visitor.prove(WRONG_SECRET, NONCE, NONCE, role=CLIENT)
                    await visitor.rest()
            await member.before_pong()
        self.assertFalse(self.service._stop.is_set(), "the service goes on")
        self.assertEqual((self.service.acceptor.greeting, self.service.exit_status), (0, 0))

    async def test_a_bug_in_the_greeting(self) -> None:
        await self.assertBugIsContained(greeting, "clients_key")

    async def test_a_bug_in_the_choice_of_the_framing_or_before(self) -> None:
        await self.assertBugIsContained(stranger, "framing_of")
        await self.assertBugIsContained(accepting, "Stranger")

    async def assertBugIsContained(self, module: Any, name: str) -> None:
        """Once the member is there, the function of that name raises what no check foresaw."""
        real = getattr(module, name)

        def faulty(*args: Any) -> Any:
            if self.service.links:
                raise ZeroDivisionError
            return real(*args)

        with (
            mock.patch.object(module, name, faulty),
            self.assertLogs("barker.links.porch", "ERROR") as logs,
        ):
            await self.assertStrangerAlone()
        self.assertRegex(logs.output[0], "(?s)stranger.*Traceback.*ZeroDivisionError")
        await until(lambda: not self.service.links, "the member has gone")

    async def test_a_bug_when_the_link_goes_down_ends_the_process(self) -> None:
        """What the link was part of may wait for it for ever: a restart knows better."""
        with self.assertRaisesRegex(AssertionError, "stopped by itself"):
            async with serving(Directory, self.folder) as service:
                member = await self.open(service.port)
                await until(lambda: service.links, "it is up")
                with (
                    mock.patch.object(service, "link_down", side_effect=ZeroDivisionError),
                    self.assertLogs("barker.process.node", "CRITICAL"),
                ):
                    member.send({"op": "nonsense"})
                    with contextlib.suppress(OSError):
                        await member.rest()
                    await until(service._stop.is_set, "it stops")
                self.assertEqual(service.exit_status, 1)


class DialerTest(WireTest):
    async def test_a_bug_in_connecting_is_logged_and_tried_again(self) -> None:
        directory = await self.serve(Directory)
        connect, calls = connecting.connect, iter(range(100))

        async def faulty(*args: Any, **more: Any) -> Connection:
            if next(calls) < 3:
                raise ZeroDivisionError
            return await connect(*args, **more)

        with (
            mock.patch.object(dialing, "connect", faulty),
            self.assertLogs("barker.process.faults", "ERROR") as logs,
        ):
            service = await self.serve(Suggestions, directory=directory.port)
            await until(lambda: service.has_directory, "it has found the directory")
        self.assertEqual(len(logs.output), 3)
        self.assertRegex(logs.output[0], "(?s)link to the directory.*ZeroDivisionError")
        self.assertFalse(service._stop.is_set())

    async def test_a_bug_in_what_a_node_does_about_a_failure(self) -> None:
        with (
            mock.patch.object(Suggestions, "dial_failed", side_effect=ZeroDivisionError),
            self.assertLogs("barker.process.faults", "ERROR") as logs,
        ):
            service = await self.serve(Suggestions, directory=1)
            await until(lambda: len(logs.output) > 1, "it has tried again")
        self.assertFalse(service._stop.is_set())


class ResetTest(WireTest):
    async def test_nothing_is_written_to_a_connection_that_has_been_reset(self) -> None:
        """asyncio says so, at every write after the fifth."""
        accepted: list[Link] = []

        class Accepting(Service):
            def link_up(self, link: Link) -> None:
                accepted.append(link)

        server = await self.serve(Accepting)
        await self.open(server.port)
        await until(lambda: accepted, "it is up")
        (link,) = accepted
        with self.assertNoLogs("asyncio", "WARNING"):
            connection = link._connection
            connection._transport.abort()
            self.assertFalse(link.closed)
            for _ in range(20):
                link.send(messages.PING)
                link.flush()
                with mock.patch.object(link._framing, "take_output", lambda: b"\x8a\x00"):
                    connection.answer()
        self.assertEqual(link._out, [])


class WorkTest(WireTest):
    """What two services do by the clock."""

    async def test_the_monitor_makes_frames_after_one_that_failed(self) -> None:
        monitor = await self.serve(Monitor)
        with (
            mock.patch.object(
                monitor._agents.picture, "frame", side_effect=ZeroDivisionError
            ) as frame,
            self.assertLogs("barker.process.faults", "ERROR"),
        ):
            await until(lambda: frame.called, "a frame has failed")
        made = monitor._frames.last
        await until(lambda: monitor._frames.last > made, "a frame is made")

    async def test_one_page_that_fails_keeps_no_frame_from_another(self) -> None:
        monitor = await self.serve(Monitor)
        pages = [await self.open(monitor.port, name) for name in ("a", "b")]
        for page in pages:
            page.send({"op": "subscribe", "address": "monitor"})
            await page.expect("subscribed")
        first = next(iter(monitor._frames.readers))
        show = monitor._frames._send

        def faulty(link: Link, *args: Any) -> None:
            if link is first:
                raise ZeroDivisionError
            show(link, *args)

        with (
            mock.patch.object(monitor._frames, "_send", faulty),
            self.assertLogs("barker.process.faults", "ERROR"),
        ):
            await pages[1].expect("message")
            await until(lambda: first not in monitor.links, "the first one is closed")

    async def test_suggestions_go_on_with_the_next_user(self) -> None:
        suggestions = await self.serve(Suggestions)
        looked: list[str] = []

        def suggest(user: str) -> list[Any]:
            looked.append(user)
            if user == "b":
                raise ZeroDivisionError
            return []

        self.patch(suggestions._suggester, "suggest", suggest)
        with (
            mock.patch("barker.suggestions.GATHER_S", 0.0),
            mock.patch.object(suggestions._inboxes, "pump") as pump,
            self.assertLogs("barker.process.faults", "ERROR"),
        ):
            suggestions._await(["a", "b", "c"])
            await until(lambda: len(looked) == 3, "all were looked at")
        self.assertEqual(looked, ["a", "b", "c"])
        self.assertGreaterEqual(pump.call_count, 2)
