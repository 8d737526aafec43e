"""Strangers, all together: what one of them may cost, and what a thousand."""

import asyncio
import contextlib
import errno
import socket
import time
from typing import Any
from unittest import mock

from barker.links import connection as connection_module
from barker.links import porch, stranger
from barker.links.porch import READ_BYTES, READS, Porch
from barker.links.stranger import STRANGER_LINE_BYTES
from barker.websocket.frames import Opcode
from barker.wire import messages, protocol
from tests.tools.fleet import SCALE, until
from tests.tools.wireclient import NONCE, WebSocketWire, Wire, put
from tests.unit.test_link import LinkTest

HELLO = b'{"op":"hello","v":1,"role":"service","nonce":"%b"}\n' % NONCE.encode()
NEVER_S = 3600.0


class LimitTest(LinkTest):
    """What one stranger may say."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(connection_module, "LINGER_S", 0.1)

    async def test_a_long_first_line_is_refused_and_never_parsed(self) -> None:
        line = b'{"x":"' + b"y" * STRANGER_LINE_BYTES
        with mock.patch.object(messages, "decode") as decode:
            for end in (b"", b'"}\n'):
                wire = await self.connect()
                wire.write(line + end)
                await self.assertRefused(wire, protocol.TOO_LARGE, f"over {STRANGER_LINE_BYTES}")
        decode.assert_not_called()

    async def test_a_long_line_in_the_place_of_the_proof_is_refused_unparsed(self) -> None:
        wire = await self.connect()
        wire.write(HELLO)
        await wire.expect("hello")
        wire.write(b'{"op":"proof","mac":"' + b"0" * STRANGER_LINE_BYTES + b'"}\n')
        await self.assertRefused(wire, protocol.TOO_LARGE, f"over {STRANGER_LINE_BYTES}")

    async def test_a_long_frame_is_refused_from_its_header(self) -> None:
        page = await self.enterAsyncContext(await WebSocketWire.connect(self.port))
        await page.upgrade()
        page.write(page.frame(b"x" * (STRANGER_LINE_BYTES + 1))[:8])
        await self.assertRefused(page, protocol.TOO_LARGE, f"{STRANGER_LINE_BYTES} bytes")

    async def test_frames_without_content_end_it_soon(self) -> None:
        page = await self.enterAsyncContext(await WebSocketWire.connect(self.port))
        await page.upgrade()
        page.write(page.frame(b"", Opcode.PONG) * 40)
        await self.assertRefused(page, protocol.PROTOCOL, "without content")

    async def test_a_member_may_say_long_lines_after_its_proof(self) -> None:
        for kind in (Wire, WebSocketWire):
            async with await kind.connect(self.port) as wire:
                if isinstance(wire, WebSocketWire):
                    await wire.upgrade()
                await wire.greet(self.secret)
                wire.send(put(1, ["sink/x"], {"x": "y" * 60_000}))
                await wire.expect("ack", seq=1)

    async def test_a_hello_tells_nothing_but_version_role_and_nonce(self) -> None:
        wire = await self.connect()
        wire.write(HELLO)
        self.assertEqual(set(await wire.expect("hello")), {"op", "v", "role", "nonce"})

    async def test_who_says_too_much_before_the_proof_is_dropped(self) -> None:
        self.patch(porch, "STRANGER_BYTES", 2000)
        wire = await self.connect()
        wire.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000)
        with contextlib.suppress(ConnectionError):
            self.assertEqual(await wire.http_answer(), b"")


class TurnTest(LinkTest):
    """What all strangers together may take of one turn of the loop, and of the time."""

    async def test_so_many_are_read_from_in_one_turn_and_so_much_of_each(self) -> None:
        self.patch(porch, "TURN_S", 60.0)
        sizes: list[list[int]] = []
        turn, receive = Porch._turn, stranger.Stranger.receive

        def counted(here: Porch) -> None:
            sizes.append([])
            turn(here)

        def noted(one: stranger.Stranger, data: bytes) -> bytes:
            sizes[-1].append(len(data))
            return receive(one, data)

        wires = [await self.connect() for _ in range(3 * READS)]
        await until(lambda: self.sink.acceptor.greeting == len(wires), "all are here")
        self.patch(Porch, "_turn", counted)
        self.patch(stranger.Stranger, "receive", noted)
        with mock.patch.object(Porch, "_pay", lambda here, begun: here._wait()):
            other = await self.connect()  # its turn is the last without being counted
            await until(lambda: self.sink.acceptor.greeting == len(wires) + 1, "it is here")
            time.sleep(0)
            for wire in wires:
                wire.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500)
            await until(lambda: sum(map(sum, sizes)) >= 3000 * len(wires), "all of it was read")
        other.abort()
        self.assertEqual(max(map(len, sizes)), READS)
        self.assertLessEqual(max(max(some, default=0) for some in sizes), READ_BYTES)

    async def test_so_many_are_accepted_in_one_turn(self) -> None:
        self.patch(porch, "TURN_S", 60.0)
        accept, counts = Porch._accept, list[int]()

        def counted(here: Porch, door: Any, end: float) -> None:
            before = len(here)
            accept(here, door, end)
            counts.append(len(here) - before)

        self.patch(Porch, "_accept", counted)
        for _ in range(3 * porch.ACCEPTS):  # the kernel takes them while our loop does not turn
            self.enterContext(socket.create_connection(("127.0.0.1", self.port)))
        await until(lambda: sum(counts) >= 3 * porch.ACCEPTS, "all are here")
        self.assertEqual(max(counts), porch.ACCEPTS)

    async def test_together_they_have_a_share_of_the_time_and_members_the_rest(self) -> None:
        spent = 0.0
        turn = Porch._turn

        def measured(here: Porch) -> None:
            nonlocal spent
            began = time.perf_counter()
            turn(here)
            spent += time.perf_counter() - began

        slow = stranger.Stranger.receive

        def takes_long(one: stranger.Stranger, data: bytes) -> bytes:
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass
            return slow(one, data)

        wires = [await self.connect() for _ in range(100)]
        self.patch(stranger.Stranger, "receive", takes_long)
        self.patch(Porch, "_turn", measured)
        self.sink.acceptor.close()  # so that the loop calls the measured one
        sink = await self.serve(type(self.sink))
        wires = [await self.enterAsyncContext(await Wire.connect(sink.port)) for _ in range(100)]
        began = time.perf_counter()
        for wire in wires:
            wire.write(HELLO)
        for wire in wires:
            await wire.expect("hello")
        took = time.perf_counter() - began
        self.assertGreater(spent, 0.2)
        self.assertLess(spent, 0.45 * took)

    async def test_who_has_waited_longest_comes_first(self) -> None:
        """Else those that say much would keep out one that says a word."""
        order: list[int] = []
        receive = stranger.Stranger.receive

        def noted(one: stranger.Stranger, data: bytes) -> bytes:
            order.append(id(one))
            return receive(one, data)

        self.patch(porch, "READS", 1)
        self.patch(stranger.Stranger, "receive", noted)
        loud = [await self.connect() for _ in range(10)]
        await until(lambda: self.sink.acceptor.greeting == 10, "all are here")
        for wire in loud:
            wire.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500)
        await until(lambda: len(order) >= 20, "each has had two turns")
        self.assertEqual((len(set(order[:10])), len(set(order[10:20]))), (10, 10))


class RoomTest(LinkTest):
    """How many there may be, and who goes."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(porch, "HELLO_TIMEOUT_S", NEVER_S)
        self.patch(connection_module, "LINGER_S", NEVER_S)

    def strangers(self, most: int) -> None:
        self.sink.acceptor._porch._most = most

    async def test_the_oldest_is_dropped_and_members_are_not(self) -> None:
        self.strangers(10)
        member = await self.open(self.port)
        wires = [await self.connect() for _ in range(30)]
        for wire in wires[:20]:
            with contextlib.suppress(ConnectionError):
                self.assertEqual(await wire.http_answer(), b"")
        self.assertEqual(self.sink.acceptor.greeting, 10)
        await wires[-1].greet(self.secret)
        await member.before_pong()

    async def test_who_was_refused_goes_before_who_may_still_prove_itself(self) -> None:
        self.strangers(2)
        waiting = await self.connect()
        await until(lambda: self.sink.acceptor.greeting == 1, "it waits")
        refused = await self.connect()
        refused.write(b"what?\n")
        await refused.expect("error")  # and does not close, nor do we for an hour
        await self.connect()
        self.assertEqual(await refused.rest(), [])
        await waiting.greet(self.secret)

    async def test_very_many_refused_ones_are_no_more_than_there_is_room_for(self) -> None:
        self.strangers(50)
        most = 0
        for _ in range(200):
            wire = await self.connect()
            wire.write(b"what?\n")
            most = max(most, self.sink.acceptor.greeting)
        self.assertLessEqual(most, 50)
        await (await self.open(self.port)).before_pong()

    async def test_all_that_are_silent_end_in_time_however_many(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", 0.3)
        self.patch(connection_module, "LINGER_S", 0.3)
        for _ in range(300):
            await self.connect()
        begun = asyncio.get_running_loop().time()
        await until(lambda: not self.sink.acceptor.greeting, "all are gone")
        self.assertLess(asyncio.get_running_loop().time() - begun, 3 * SCALE)

    async def test_without_a_free_file_the_oldest_gives_its_own(self) -> None:
        self.patch(porch, "NO_FILE_S", 0.05)
        old = await self.connect()
        await until(lambda: self.sink.acceptor.greeting == 1, "it waits")
        door = self.sink.acceptor._porch._doors[0]
        full = mock.Mock(wraps=door, **{"accept.side_effect": OSError(errno.EMFILE, "no file")})
        full.fileno.return_value = door.fileno()
        with self.assertLogs("barker.links.porch", "WARNING"):
            here: Any = self.sink.acceptor._porch
            here._accept(full, here._loop.time() + 1)
        self.assertEqual(await old.rest(), [])
        await (await self.open(self.port)).before_pong()

    async def test_a_thousand_strangers_cost_little_memory(self) -> None:
        import tracemalloc

        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        channels = []
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(500):
            channel = socket.socket()
            channel.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                channel.connect(("127.0.0.1", self.port))
            channels.append(channel)
            await asyncio.sleep(0)
        await until(lambda: self.sink.acceptor.greeting == 500, "all are here")
        cost = (tracemalloc.get_traced_memory()[0] - before) / 500
        for channel in channels:
            channel.close()
        self.assertLess(cost, 4096)
