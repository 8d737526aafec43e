"""A process that was not scheduled for a while: it looks before it acts, and cuts no link."""

import asyncio
from unittest import mock

from barker.links import connection
from barker.links.link import Link
from barker.process import stalls
from barker.wire.ops import Put
from tests.tools.fleet import until
from tests.tools.wireclient import Wire, put, thaw
from tests.unit.test_link import LinkTest


class StallTest(LinkTest):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.enterContext(self.assertLogs("barker.process.node", "WARNING"))
        self.a, self.b = [await self.said_one() for _ in range(2)]
        self.sink.taken.clear()

    async def said_one(self) -> Wire:
        peer = await self.open(self.port)
        peer.send(put(1, ["sink/x"], {}))
        await peer.expect("ack")
        return peer

    async def test_what_a_peer_has_said_before_it_gave_us_up_is_dropped(self) -> None:
        self.a.send(put(2, ["sink/x"], {}))
        self.a.end()
        self.b.send(put(3, ["sink/x"], {}))
        thaw(self.sink, given_up=False)
        await self.b.expect("ack", seq=3)
        self.assertEqual([link.received for link in self.sink.downs], [1])
        self.assertEqual(self.sink.taken, [3])

    async def test_nothing_is_handled_before_it_is_known_who_has_gone(self) -> None:
        self.b.send(put(2, ["sink/x"], {}))
        self.a.end()
        downs: list[int] = []

        def take(link: Link, put: Put) -> None:
            downs.append(len(self.sink.downs))
            self.sink.on_put(link, put)

        self.sink.handlers[Put] = take
        thaw(self.sink, given_up=False)
        await self.b.expect("ack", seq=2)
        self.assertEqual(downs, [1])

    async def test_links_that_live_go_on(self) -> None:
        thaw(self.sink, given_up=False)
        for peer in (self.a, self.b):
            peer.send(put(2, ["sink/x"], {}))
            await peer.expect("ack", seq=2)
        self.assertEqual(self.sink.downs, [])

    async def test_what_came_in_many_reads_is_handled_once_and_in_order(self) -> None:
        self.patch(connection, "READ_BYTES", 4096)
        peer = await self.said_one()
        self.sink.taken.clear()
        for seq in range(2, 402):
            peer.send(put(seq, ["sink/x"], {"text": "x" * 100}))
        thaw(self.sink, given_up=False)
        await peer.up_to_ack(401)
        self.assertEqual(self.sink.taken, list(range(2, 402)))

    async def test_what_waited_for_its_turn_comes_first(self) -> None:
        with mock.patch("barker.links.turns.TURN_S", 0.0):  # each message has a turn of its own
            for seq in range(2, 22):
                self.a.send(put(seq, ["sink/x"], {}))
                self.a.send({"op": "ping"})  # so that puts are not joined
            await until(lambda: any(link.is_behind for link in self.sink.links), "some wait")
            for seq in range(22, 42):
                self.a.send(put(seq, ["sink/x"], {}))
                self.a.send({"op": "ping"})
            self.assertTrue(any(link.is_behind for link in self.sink.links))
            thaw(self.sink, given_up=False)
            await self.a.up_to_ack(41)
        self.assertEqual(self.sink.taken, list(range(2, 42)))

    async def test_links_that_come_up_meanwhile_wait(self) -> None:
        self.patch(stalls, "MAX_LOOKS", 10**9)
        readable = True
        with mock.patch.object(stalls, "_is_any_readable", lambda _: readable):
            thaw(self.sink, given_up=False)
            peer = await self.open(self.port)
            peer.send({"op": "ping"})
            await self.some_turns()
            self.assertEqual(len(self.sink.ups), 2)
            readable = False
            await peer.expect("pong")
        self.assertEqual(len(self.sink.ups), 3)

    @staticmethod
    async def some_turns() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def test_a_peer_that_sends_without_a_pause_holds_nothing_up(self) -> None:
        with mock.patch.object(stalls, "_is_any_readable", lambda _: True):
            self.a.send(put(2, ["sink/x"], {}))
            thaw(self.sink, given_up=False)
            await self.a.expect("ack", seq=2)

    async def test_a_second_stall_within_the_first_is_part_of_it(self) -> None:
        self.a.send(put(2, ["sink/x"], {}))
        thaw(self.sink, given_up=False)
        thaw(self.sink, given_up=False)
        await self.a.expect("ack", seq=2)
        self.assertEqual(self.sink.taken, [2])

    async def test_a_stop_meanwhile_leaves_no_connection_behind(self) -> None:
        with mock.patch.object(stalls, "_is_any_readable", lambda _: True):
            self.patch(stalls, "MAX_LOOKS", 10**9)
            thaw(self.sink, given_up=False)
            await self.open(self.port)
            self.sink.stop()
            await self.a.rest()
