"""One port, as friends and strangers meet it: handshake, batches, heartbeats, pressure."""

import asyncio
import contextlib
import itertools
import json
import os
import pathlib
from typing import Any
from unittest import mock

from barker.inbox import Inbox
from barker.links import connection as connection_module
from barker.links import greeting, porch, turns
from barker.links.connecting import connect
from barker.links.connection import MAX_WAITING_BYTES, READ_BYTES, Connection
from barker.links.greeting import Identity, Peer
from barker.links.life import Life, State
from barker.links.link import Conversation, Link
from barker.links.turns import Turns
from barker.process.service import Service
from barker.websocket import frames, handshake
from barker.wire import protocol
from barker.wire.messages import PING, encode
from barker.wire.ops import Ack, Error, Put
from barker.wire.rights import SERVICE
from tests.tools.fleet import DEADLINE_S, until
from tests.tools.wireclient import (
    NONCE,
    WRONG_SECRET,
    Acceptor,
    WebSocketWire,
    Wire,
    WireTest,
    bark,
    put,
)

HEARTBEAT_S = 0.4


class Sink(Service):
    """Takes every put, and remembers in which batches they came."""

    kind = "sink"

    def __init__(self, args: Any) -> None:
        super().__init__(args)
        self.add_handler(Put, self.on_put)
        self.taken: list[int] = []
        self.batches: list[int] = []
        self.puts: list[Put] = []
        self.ups: list[Link] = []
        self.downs: list[Link] = []

    def link_up(self, link: Link) -> None:
        self.ups.append(link)

    def on_put(self, link: Link, put: Put) -> None:
        self.puts.append(put)
        link.received = put.seq + len(put.bodies) - 1
        self.taken += range(put.seq, link.received + 1)

    def batch_end(self, link: Link) -> None:
        self.batches.append(len(self.taken))
        if link.acked != link.received:
            link.acked = link.received
            link.send(encode(Ack(link.received)))

    def link_down(self, link: Link) -> None:
        self.downs.append(link)


class LinkTest(WireTest):
    """A `Sink` to talk to."""

    heartbeat_s = 60.0

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.sink = await self.serve(Sink, "--heartbeat", str(self.heartbeat_s))
        self.port = self.sink.port

    async def connect(self) -> Wire:
        return await self.enterAsyncContext(await Wire.connect(self.port))

    async def assertRefused(self, wire_: Wire, code: str, reason: str) -> None:
        """The last words are an error that says this, and then the end, not a reset."""
        last = (await wire_.rest())[-1]
        self.assertEqual((last["op"], last["code"]), ("error", code))
        self.assertRegex(last["reason"], reason)


class ArrivalTest(LinkTest):
    """What is read is handled where it arrives: none of it twice, too early, or not at all."""

    async def test_more_than_one_read_that_came_before_anybody_looked(self) -> None:
        """Part of it is still in the stream's buffer when the link begins to run."""
        accepted: asyncio.Queue[Connection] = asyncio.Queue()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.put_nowait(Connection(reader, writer, Life(State.UP)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=READ_BYTES)
        self.addCleanup(server.close)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        self.addCleanup(writer.transport.abort)
        count = 3 * READ_BYTES // 10
        sent = b"".join(b'{"op":"ack","seq":%d}\n' % i for i in range(1, count + 1))
        ours = await accepted.get()
        ours.peer = Peer("opener", SERVICE)
        writer.write(sent)
        await until(lambda: len(ours._reader._buffer) > READ_BYTES, "much has come")  # type: ignore[attr-defined]
        heard: list[int] = []

        hearing = Conversation()
        hearing.add_handler(Ack, lambda link, ack: heard.append(ack.seq))
        run = asyncio.create_task(Link(ours, hearing, lambda now: None, Turns()).run())
        await until(lambda: len(heard) == count, "all of it was handled")
        self.assertEqual(heard, list(range(1, count + 1)))
        writer.write(b'{"op":"ack","seq":7}\n')
        await until(lambda: heard[-1] == 7, "and what came later")
        writer.close()
        await asyncio.wait_for(run, DEADLINE_S)

    async def test_a_bug_of_ours_costs_that_link_alone(self) -> None:
        peer, other = await self.open(self.port), await self.open(self.port)
        await other.before_pong()
        with (
            mock.patch.object(self.sink, "batch_end", side_effect=ZeroDivisionError),
            self.assertLogs("barker.links.accepting", "ERROR"),
        ):
            peer.send(put(1, ["sink/x"], {}))
            with contextlib.suppress(OSError):
                self.assertEqual(await peer.rest(), [])
        other.send(put(1, ["sink/x"], {}))
        await other.expect("ack")


class HandshakeTest(LinkTest):
    async def test_both_sides_learn_who_the_other_is(self) -> None:
        me = Identity("opener", self.secret, "ab" * 8)
        mine = await connect("127.0.0.1", self.port, me, expect=self.sink.name, timeout_s=5)
        self.addCleanup(mine.abort)
        await until(lambda: self.sink.ups, "the link is up at the other side")
        self.assertEqual(mine.name, self.sink.name)
        self.assertEqual(self.sink.ups[0].name, "opener")
        peer = self.sink.ups[0].peer
        self.assertEqual(peer and peer.epoch, "ab" * 8)

    async def test_an_acceptor_says_nothing_to_strangers_but_hello(self) -> None:
        connection = await self.connect()
        connection.say_hello()
        connection.end()
        self.assertEqual([m["op"] for m in await connection.rest()], ["hello"])

    async def test_a_wrong_secret_is_refused_and_learns_nothing(self) -> None:
        connection = await self.connect()
        connection.say_hello()
        hello = await connection.expect("hello")
        connection.prove(WRONG_SECRET, NONCE, hello["nonce"])
        error = await connection.expect("error", code=protocol.BAD_PROOF)
        self.assertIn("secret", error["reason"])
        self.assertEqual(await connection.rest(), [])
        self.assertEqual(self.sink.ups, [])

    async def test_a_wrong_version_is_told_the_right_one(self) -> None:
        connection = await self.connect()
        connection.say_hello(v=99)
        await self.assertRefused(connection, protocol.BAD_VERSION, "version 1, not 99")

    async def test_what_is_no_hello_gets_one_error_also_if_much_more_follows(self) -> None:
        refusals = {
            b'{"op":"ping"}\n': (protocol.PROTOCOL, "say hello first"),
            b'{"op":"proof","mac":"%b","name":"x"}\n' % (b"0" * 64): (
                protocol.PROTOCOL,
                "say hello first",
            ),
            b"what?\n": (protocol.PROTOCOL, "JSON"),
            b"\xff\xfe\n": (protocol.PROTOCOL, "JSON"),
            b"\n": (protocol.PROTOCOL, "JSON"),
            b"[1]\n": (protocol.PROTOCOL, "object"),
            b'{"op":"hello"}\n': (protocol.PROTOCOL, "v is missing"),
            b"x" * (protocol.MAX_LINE_BYTES + 1): (protocol.PROTOCOL, "object"),
            b"{" * (protocol.MAX_LINE_BYTES + 1) + b"\n": (protocol.TOO_LARGE, "line"),
        }
        for data, (code, reason) in refusals.items():
            for more in (b"", b"y" * 900_000 + b"\n"):
                with self.subTest(data=data[:30], more=len(more)):
                    connection = await self.connect()
                    connection.write(data + more)
                    messages = await connection.rest()
                    self.assertEqual([m["op"] for m in messages], ["error"])
                    self.assertEqual(messages[0]["code"], code)
                    self.assertRegex(messages[0]["reason"], reason)
        self.assertEqual(self.sink.ups, [])

    async def test_whoever_says_nothing_or_half_of_it_is_told_so_in_time(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", 0.1)
        hello = Wire.pack([{"op": "hello", "v": 1, "role": SERVICE, "nonce": NONCE}])
        begun = (b"", b'{"op":"hel', b" ", hello)
        connections = [await self.connect() for _ in begun]
        for connection, data in zip(connections, begun, strict=True):
            connection.write(data)
        for connection, data in zip(connections, begun, strict=True):
            with self.subTest(data):
                await self.assertRefused(connection, protocol.TIMEOUT, "in time")

    async def test_other_protocols_are_closed_before_their_line_ends(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", 3600.0)
        for data in (b"EHLO", b"GE\n", b"\x16\x03\x01\x02", b"\xff", b"  POST", b"1"):
            with self.subTest(data):
                connection = await self.connect()
                connection.write(data)
                await self.assertRefused(connection, protocol.PROTOCOL, "JSON object")

    async def test_a_handshake_may_come_byte_by_byte(self) -> None:
        connection = await self.connect()
        for byte in Wire.pack([{"op": "hello", "v": 1, "role": SERVICE, "nonce": NONCE}]):
            connection.write(bytes([byte]))
            await connection.drain()
        self.assertEqual((await connection.expect("hello"))["v"], 1)

    async def test_what_comes_with_the_proof_is_not_lost(self) -> None:
        connection = await self.connect()
        connection.say_hello()
        hello = await connection.expect("hello")
        mac = greeting.mac(self.secret, greeting.OPENER, SERVICE, NONCE, hello["nonce"])
        proof = {"op": "proof", "mac": mac, "name": "wire"}
        connection.send(proof, *(put(i, ["a/b"], {}) for i in range(1, 100)))
        await connection.expect("proof")
        self.assertEqual(await connection.up_to_ack(99), [])

    async def test_a_recorded_proof_is_worthless(self) -> None:
        recorded = await self.open(self.port)
        mac = greeting.mac(self.secret, greeting.OPENER, SERVICE, NONCE, recorded.hello["nonce"])
        connection = await self.connect()
        connection.say_hello()
        await connection.expect("hello")
        connection.send({"op": "proof", "mac": mac, "name": "wire"})
        await self.assertRefused(connection, protocol.BAD_PROOF, "secret")

    async def test_our_own_proof_sent_back_to_us_is_worthless(self) -> None:
        """A false acceptor says whatever the opener says."""
        async with Acceptor() as acceptor:
            me = Identity("opener", self.secret)
            dialled = asyncio.create_task(
                connect("127.0.0.1", acceptor.port, me, expect=None, timeout_s=DEADLINE_S)
            )
            mirror = await acceptor.next()
            mirror.send(await mirror.expect("hello"))
            mirror.send(await mirror.expect("proof"))
            with self.assertRaisesRegex(protocol.ProtocolError, protocol.BAD_PROOF):
                await dialled

    async def test_no_opener_proves_anything_to_an_acceptor_of_another_name(self) -> None:
        me = Identity("opener", self.secret)
        with self.assertRaisesRegex(
            protocol.BarkerError, f"{protocol.MOVED}: {self.sink.name} is at"
        ):
            await connect("127.0.0.1", self.port, me, expect="another", timeout_s=5)

    async def test_an_opener_hears_why_it_was_refused(self) -> None:
        me = Identity("opener", WRONG_SECRET)
        with self.assertRaisesRegex(protocol.BarkerError, "you don't know the secret"):
            await connect("127.0.0.1", self.port, me, expect=None, timeout_s=5)

    async def test_an_opener_does_not_wait_for_ever(self) -> None:
        async with Acceptor() as acceptor:
            me = Identity("opener", self.secret)
            with self.assertRaises(TimeoutError):
                await connect("127.0.0.1", acceptor.port, me, expect=None, timeout_s=0.1)

    async def test_a_round_trip_may_take_most_of_the_time_out(self) -> None:
        """Connecting takes several; over a satellite, each has 0.7 s."""
        delay_s, tasks = 0.3, []

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    await asyncio.sleep(delay_s)
                    writer.write(data)
                writer.close()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
            tasks.append(asyncio.create_task(carry(there, writer)))
            await carry(reader, back)

        far = await asyncio.start_server(relay, "127.0.0.1", 0)
        self.addCleanup(far.close)
        port = far.sockets[0].getsockname()[1]
        begun = asyncio.get_running_loop().time()
        me = Identity("opener", self.secret)
        made = await connect("127.0.0.1", port, me, expect=None, timeout_s=3 * delay_s)
        self.assertGreater(asyncio.get_running_loop().time() - begun, 3 * delay_s)
        made.abort()
        for task in tasks:
            await task


class HttpTest(LinkTest):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(connection_module, "LINGER_S", 0.1)

    async def answer(self, request: str) -> tuple[str, str]:
        connection = await self.connect()
        connection.write(request.replace("\n", "\r\n").encode())
        head, _, body = (await connection.http_answer()).decode().partition("\r\n\r\n")
        return head, body

    async def test_a_plain_get_is_told_what_this_is(self) -> None:
        head, body = await self.answer("GET / HTTP/1.1\nHost: 127.0.0.1\n\n")
        self.assertRegex(head, r"^HTTP/1.1 426 ")
        self.assertIn("WebSocket", body)

    async def test_a_head_gets_no_body(self) -> None:
        head, body = await self.answer("HEAD / HTTP/1.1\nHost: 127.0.0.1\n\n")
        self.assertRegex(head, r"^HTTP/1.1 426 ")
        self.assertEqual(body, "")

    async def test_what_follows_a_refused_request_is_not_read_as_messages(self) -> None:
        _, body = await self.answer('GET / HTTP/1.1\nHost: 127.0.0.1\n\n{"op":"hello"}\n')
        self.assertNotIn('"op"', body)

    async def test_a_page_from_elsewhere_is_refused(self) -> None:
        head, _ = await self.answer(
            "GET / HTTP/1.1\nHost: 127.0.0.1\nUpgrade: websocket\nConnection: Upgrade\n"
            "Origin: http://evil.example\nSec-WebSocket-Version: 13\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n"
        )
        self.assertRegex(head, r"^HTTP/1.1 403 ")

    async def test_a_head_that_never_ends_is_refused(self) -> None:
        endless = "X: y\n" * (handshake.MAX_HEAD_BYTES // 4)
        head, _ = await self.answer("GET / HTTP/1.1\n" + endless)
        self.assertRegex(head, r"^HTTP/1.1 4\d\d ")


class BatchTest(LinkTest):
    async def test_a_batch_of_puts_gets_one_ack(self) -> None:
        connection = await self.open(self.port)
        before = len(self.sink.batches)
        connection.send(*(put(i, ["a/b"], {}) for i in range(1, 1001)))
        await connection.expect("ack", seq=1000)
        self.assertEqual(await connection.before_pong(), [])
        self.assertEqual(self.sink.batches[before], 1000)

    async def test_puts_of_one_read_that_follow_one_another_are_one_put(self) -> None:
        stamp = {"origin": "ab" * 8, "users": ["ark3"], "ids": ["x"], "at": [1]}
        said = [
            put(1, ["a/b"], {"i": 1}),
            put(2, ["a/c"], {"i": 2}, trace=["t"]),
            *(put(i, ["a/b"], {"i": i}, n=i, **stamp) for i in (3, 4)),
            {"op": "ping"},
            put(5, ["a/b"], {"i": 5}, n=5, **stamp),
            put(6, ["a/b"], {"i": 6}, n=6, **stamp, old=True),
        ]
        connection = await self.open(self.port)
        connection.write(connection.pack(said))
        await connection.expect("pong")
        await connection.expect("ack", seq=6)
        got = [(p.seq, p.to, p.n, p.old, p.trace) for p in self.sink.puts]
        expected = [
            (1, ["a/b", "a/c"], None, False, ["", "t"]),
            (3, ["a/b", "a/b"], [3, 4], False, None),
            (5, ["a/b"], [5], False, None),
            (6, ["a/b"], [6], True, None),
        ]
        self.assertEqual(got, expected)
        bodies = [json.loads(body)["i"] for p in self.sink.puts for body in p.bodies]
        self.assertEqual(bodies, [1, 2, 3, 4, 5, 6])

    async def test_a_put_that_does_not_follow_is_a_fault_behind_those_that_do(self) -> None:
        connection = await self.open(self.port)
        connection.send(*(put(i, ["a/b"], {}) for i in (1, 2, 4)))
        await connection.expect("ack", seq=4)  # the sink does not count; see `count_puts`
        self.assertEqual([(p.seq, len(p.bodies)) for p in self.sink.puts], [(1, 2), (4, 1)])

    async def test_a_ping_is_answered_in_the_middle_of_a_batch(self) -> None:
        connection = await self.open(self.port)
        connection.send(put(1, ["a/b"], {}), {"op": "ping"}, put(2, ["a/b"], {}))
        await connection.expect("pong")
        await connection.expect("ack", seq=2)


class ConversationTest(LinkTest):
    async def test_what_comes_before_a_bad_line_counts_and_what_follows_does_not(self) -> None:
        bad_lines = {
            b"what?\n": "JSON",
            b'{"op":"what"}\n': "unknown op",
            b'{"op":"put","seq":-1,"to":["a/b"],"body":{}}\n': "put: bad seq",
            b'{"op":"hello","v":1,"role":"client","nonce":"%b"}\n' % NONCE.encode(): "no meaning",
            b'{"op":"register"}\n': "missing",
            b'{"op":"moved","address":"a/b"}\n': "no meaning here",
            b"z" * (protocol.MAX_LINE_BYTES + 1) + b"\n": "line",
        }
        for line, reason in bad_lines.items():
            with self.subTest(line[:40]):
                self.sink.taken.clear()
                connection = await self.open(self.port)
                good = connection.pack([put(1, ["a/b"], {}), put(2, ["a/b"], {})])
                connection.write(good + line + connection.pack([put(3, ["a/b"], {})]))
                ack, error = await connection.rest()
                self.assertEqual(ack, {"op": "ack", "seq": 2})
                self.assertEqual(error["op"], "error")
                self.assertRegex(error["reason"], reason)
                self.assertEqual(self.sink.taken, [1, 2])

    async def test_a_bad_line_disturbs_no_other_link(self) -> None:
        bystander = await self.open(self.port)
        stranger = await self.open(self.port)
        stranger.write(b"what?\n")
        await self.assertRefused(stranger, protocol.PROTOCOL, "JSON")
        bystander.send(put(1, ["a/b"], {}))
        await bystander.expect("ack", seq=1)

    async def test_a_fault_of_ours_costs_one_link_only(self) -> None:
        bystander = await self.open(self.port)
        victim = await self.open(self.port)
        with (
            mock.patch.dict(self.sink.handlers, {Ack: mock.Mock(side_effect=KeyError("ours"))}),
            self.assertLogs("barker.links.accepting", "ERROR"),
        ):
            victim.send({"op": "ack", "seq": 1})
            await victim.rest()
        await bystander.before_pong()

    async def test_half_a_message_at_the_end_is_no_message(self) -> None:
        connection = await self.open(self.port)
        connection.write(connection.pack([put(1, ["a/b"], {}), put(2, ["a/b"], {})])[:-1])
        connection.end()
        await connection.expect("ack", seq=1)
        await connection.rest()
        self.assertEqual(self.sink.taken, [1])

    async def test_each_link_that_was_up_goes_down_once(self) -> None:
        self.patch(connection_module, "LINGER_S", 0.1)
        for spoil in (Wire.abort, Wire.end, lambda w: w.write(b"what?\n")):
            before = len(self.sink.ups)
            connection = await self.open(self.port)
            await until(lambda: len(self.sink.ups) > before, "the link is up")  # noqa: B023
            spoil(connection)
            await until(lambda: self.sink.downs == self.sink.ups, "the link is down")
        self.assertEqual(len(self.sink.downs), 3)
        await until(lambda: not self.sink.links, "nobody looks after it any more")


class TurnByTurnTest(ConversationTest):
    """The same, where each message of a read has a turn of its own, and each read waits for one."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(turns, "TURN_S", 0.0)

    async def test_other_links_have_their_turns_between(self) -> None:
        order: list[str] = []
        self.patch(self.sink, "batch_end", lambda link: order.append(link.name))
        slow = [await self.open(self.port, name=name) for name in "ab"]
        for wire in slow:
            await wire.before_pong()
        order.clear()
        pings = b'{"op":"ping"}\n' * 100
        for wire in slow:
            wire.write(pings)
        for wire in slow:
            for _ in range(100):
                await wire.expect("pong")
        self.assertGreaterEqual(min(order.count(name) for name in "ab"), 100)
        changes = sum(x != y for x, y in itertools.pairwise(order))
        self.assertGreater(changes, 150, order)


class HeartbeatTest(LinkTest):
    heartbeat_s = HEARTBEAT_S

    async def test_promise_6_a_silent_link_is_pinged_and_closed_within_three_heartbeats(
        self,
    ) -> None:
        loop = asyncio.get_running_loop()
        silent, alive = await self.open(self.port), await self.open(self.port)
        begun = loop.time()
        pings = 0

        async def answer() -> None:
            nonlocal pings
            while line := await alive._receive():
                if line == PING + b"\n":
                    pings += 1
                    alive.send({"op": "pong"})

        answering = asyncio.create_task(answer())
        first = await silent._receive()
        self.assertEqual(first, PING + b"\n")
        pinged = loop.time()
        with self.assertLogs("barker.links.link", "WARNING") as logs, contextlib.suppress(OSError):
            await silent.rest()
        self.assertIn("was silent for", logs.output[0])
        self.assertLess(pinged - begun, 2 * HEARTBEAT_S)
        self.assertLess(loop.time() - begun, 3 * HEARTBEAT_S)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        await alive.before_pong()
        self.assertGreater(pings, 0)

    async def test_a_peer_whose_messages_wait_for_their_turn_is_not_silent(self) -> None:
        """We are behind, and what it says meanwhile is not read yet."""
        peer = await self.open(self.port)
        await peer.before_pong()
        begun = self.sink.now()
        with mock.patch.object(turns, "TURN_S", -1.0):  # all turns are taken by others
            peer.send({"op": "ping"})
            await until(lambda: self.sink.now() > begun + 4 * HEARTBEAT_S, "that takes long")
            self.assertEqual(len(self.sink.links), 1)
        await peer.expect("pong")

    async def test_a_peer_hears_of_us_while_a_line_of_its_own_takes_long(self) -> None:
        """It reads nothing else meanwhile; without a byte from us, it would take us for dead."""
        peer = await self.open(self.port)
        await peer.before_pong()
        line = encode(Error("slow", "x" * 400))
        heard = asyncio.create_task(peer._receive())
        begun = self.sink.now()
        for i in range(len(line)):
            peer.write(line[i : i + 1])
            await asyncio.wait({heard}, timeout=HEARTBEAT_S / 20)
            if heard.done():
                break
        self.assertTrue(heard.done(), "a line that takes long, and no ping meanwhile")
        self.assertEqual(heard.result(), PING + b"\n")
        self.assertLess(self.sink.now() - begun, 2 * HEARTBEAT_S)

    async def test_a_peer_that_talks_is_not_pinged(self) -> None:
        connection = await self.open(self.port)
        begun = self.sink.now()
        seq = 0
        while self.sink.now() < begun + 1.3 * HEARTBEAT_S:
            seq += 1
            connection.send(put(seq, ["a/b"], {}))
            self.assertEqual(await connection._receive(), encode(Ack(seq)) + b"\n")
            await asyncio.sleep(HEARTBEAT_S / 10)


class PressureTest(LinkTest):
    """Promise 5: nothing grows without a bound."""

    async def flood(self, connection: Wire, data: bytes) -> None:
        """Ask, ask, and never read an answer; returns when we have been cut off."""
        connection.stop_reading()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    connection.write(data)
                    await connection.drain()
                    held = sum(each.waiting_bytes() for each in self.sink.links)
                    self.assertLess(held, 3 * MAX_WAITING_BYTES)
                    await asyncio.sleep(0)

    async def test_a_peer_that_never_reads_is_cut_off(self) -> None:
        self.patch(connection_module, "MAX_WAITING_BYTES", 512 * 1024)
        bystander = await self.open(self.port)
        async with await Wire.connect(self.port, 4096) as connection:
            await connection.greet(self.secret)
            with self.assertLogs("barker.links.link", "WARNING") as logs:
                await self.flood(connection, connection.pack([{"op": "ping"}] * 5000))
        self.assertIn("does not read", logs.output[0])
        await bystander.before_pong()

    async def test_a_websocket_that_never_reads_its_pongs_is_cut_off(self) -> None:
        self.patch(connection_module, "MAX_WAITING_BYTES", 512 * 1024)
        async with await WebSocketWire.connect(self.port, 4096) as connection:
            await connection.upgrade()
            await connection.greet(self.secret)
            await until(lambda: self.sink.links, "the link is up")
            await self.flood(connection, connection.frame(b"x" * 125, frames.Opcode.PING) * 500)

    async def busy_link(self, connection: Wire) -> Link:
        """The sink's end of a link with a peer that does not read what there is for it."""
        await connection.greet(self.secret)
        await until(lambda: self.sink.ups, "the link is up")
        connection.stop_reading()
        busy = self.sink.ups[-1]
        while not busy.busy:
            busy.send(encode(Error("many", "x" * 400)))
            busy.flush()
        return busy

    async def test_work_that_waits_for_room_is_done_once_the_peer_has_read(self) -> None:
        done: list[bool] = []
        async with await Wire.connect(self.port, 4096) as connection:
            busy = await self.busy_link(connection)
            busy.when_free(lambda: done.append(busy.busy))
            other = await self.open(self.port)
            await other.before_pong()  # the loop has gone round
            self.assertEqual(done, [])
            connection.read_on()
            while not done:
                self.assertTrue(await connection.heard())
        self.assertEqual(done, [False])

    async def test_work_that_waits_for_room_is_forgotten_with_the_link(self) -> None:
        done: list[bool] = []
        async with await Wire.connect(self.port, 4096) as connection:
            busy = await self.busy_link(connection)
            busy.when_free(lambda: done.append(True))
            connection.abort()
            await until(lambda: self.sink.downs, "the link is down")
        assert busy._waits
        await until(busy._waits.done, "nobody waits any more")
        self.assertEqual(done, [])

    async def test_what_is_written_leaves_at_once_and_behind_what_was_sent(self) -> None:
        connection = await self.open(self.port)
        await until(lambda: self.sink.ups, "the link is up")
        (up,) = self.sink.ups
        lines = [encode(Error("word", str(i))) for i in range(4)]
        up.send(lines[0])
        up.write(lines[1:3])
        self.assertEqual(up._out, [])
        up.send(lines[3])
        for i in range(4):
            await connection.expect("error", reason=str(i))

    async def test_an_answer_costs_no_further_turn_of_the_loop(self) -> None:
        connection = await self.open(self.port)
        await until(lambda: self.sink.ups, "the link is up")
        loop, called = asyncio.get_running_loop(), mock.Mock()
        with mock.patch.object(self.sink.ups[0], "_loop", mock.Mock(wraps=loop, call_soon=called)):
            connection.send({"op": "ping"})
            await connection.expect("pong")
        called.assert_not_called()

    async def test_close_delivers_what_was_sent_before(self) -> None:
        async with await Wire.connect(self.port, 4096) as connection:
            await connection.greet(self.secret)
            await until(lambda: self.sink.ups, "the link is up")
            connection.stop_reading()
            line = encode(Error("many", "x" * 400))
            for _ in range(5000):  # 2 MB
                self.sink.ups[0].send(line)
            self.sink.ups[0].close(protocol.BarkerError("last", "words"))
            await asyncio.sleep(0)
            connection.read_on()
            heard = await connection.rest()
        self.assertEqual(len(heard), 5001)
        self.assertEqual(heard[-1]["code"], "last")

    async def test_the_limit_of_links_is_told_and_is_no_dead_end(self) -> None:
        self.patch(connection_module, "LINGER_S", 0.1)
        self.sink.acceptor.max_links = 3
        connections = [await self.open(self.port) for _ in range(3)]
        surplus = await self.open(self.port)
        await self.assertRefused(surplus, protocol.TOO_MANY, "more than 3 links")
        await connections[0].before_pong()
        connections[0].abort()
        await until(lambda: len(self.sink.links) == 2, "there is room again")
        await until(lambda: not self.sink.acceptor.greeting, "the surplus is gone")
        await self.open(self.port)

    async def test_a_thousand_silent_strangers_keep_nobody_out(self) -> None:
        if open_files() < 2500:
            self.skipTest("this shell allows too few open files")
        strangers = await asyncio.gather(*(Wire.connect(self.port) for _ in range(1000)))
        for stranger in strangers:
            self.addCleanup(stranger.abort)
        await until(lambda: self.sink.acceptor.greeting == 1000, "all of them wait for a hello")
        friend = await self.open(self.port)
        friend.send(put(1, ["a/b"], {}))
        await friend.expect("ack", seq=1)

    async def test_two_hundred_visitors_leave_nothing_behind(self) -> None:
        def visits(wire_: Wire, i: int) -> None:
            if i % 4 == 1:
                wire_.say_hello()
            elif i % 4 == 2:
                wire_.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            elif i % 4 == 3:
                wire_.write(b"what?\n")

        def left() -> tuple[int, int]:
            return len(asyncio.all_tasks()), descriptors()

        self.patch(connection_module, "LINGER_S", 0.1)
        (await Wire.open(self.port, self.secret)).abort()  # whatever is made once is made now
        await until(lambda: not self.sink.links, "the first one is gone")
        before = left()
        for i in range(100):
            connection = await Wire.open(self.port, self.secret)
            connection.send(put(1, ["a/b"], {}))
            if i % 2:
                await connection.expect("ack", seq=1)
                connection.end()
                await connection.rest()
            connection.abort()
            connection = await Wire.connect(self.port)
            visits(connection, i)
            connection.abort()
        await until(lambda: not self.sink.acceptor.greeting, "the strangers are gone")
        await until(lambda: left() <= before, f"nothing is left but {before}")
        self.assertEqual((self.sink.links, self.sink.acceptor.greeting), (set(), 0))
        self.assertEqual(self.sink.downs, self.sink.ups)


class WebSocketTest(WireTest):
    """The same conversation in the other framing, with a real inbox."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.inbox = await self.serve(Inbox)

    async def page(self) -> WebSocketWire:
        connection = await self.enterAsyncContext(await WebSocketWire.connect(self.inbox.port))
        self.assertIn(b" 101 ", await connection.upgrade())
        await connection.greet(self.secret)
        return connection

    async def test_a_page_says_and_reads_as_any_other_peer(self) -> None:
        page = await self.page()
        page.send({"op": "subscribe", "address": "inbox/ark3"})
        await page.expect("subscribed", serial=0)
        self.assertEqual(await page.before_pong(), [])
        async with await Wire.open(self.inbox.port, self.secret) as other:
            other.send(put(1, ["inbox/ark3"], bark("rdl", "1", "für ark3 \U0001f415")))
            await other.expect("ack", seq=1)
        message = await page.expect("message", address="inbox/ark3", serial=1)
        self.assertEqual(message["body"]["content"], "für ark3 \U0001f415")
        page.send(
            put(1, ["inbox/rdl"], bark("ark3", "2")), put(2, ["inbox/rdl"], bark("ark3", "3"))
        )
        await page.expect("ack", seq=2)

    async def test_a_ping_frame_gets_a_pong_frame(self) -> None:
        page = await self.page()
        page.write(page.frame(b"hello?", frames.Opcode.PING))
        self.assertEqual(await page.frame_received(), (frames.Opcode.PONG, b"hello?"))

    async def test_a_close_frame_is_answered_and_ends_it(self) -> None:
        self.patch(connection_module, "LINGER_S", 0.1)
        page = await self.page()
        page.write(page.frame(b"\x03\xe8bye", frames.Opcode.CLOSE))
        self.assertEqual(await page.frame_received(), (frames.Opcode.CLOSE, b"\x03\xe8"))
        self.assertEqual(await page.frame_received(), (0, b""))
        await until(lambda: not self.inbox.links, "the link is gone")

    async def test_a_fault_is_told_as_text_and_then_closed(self) -> None:
        text = frames.Opcode.TEXT
        faults = {
            WebSocketWire.frame(b"what?"): (1008, "JSON"),
            WebSocketWire.frame(b'{"op":"what"}'): (1008, "unknown op"),
            WebSocketWire.frame(b'{"op":"ping"}', frames.Opcode.BINARY): (1003, "text"),
            frames.encode_frame(text, b'{"op":"ping"}'): (None, "mask"),
            WebSocketWire.frame(b"x" * (protocol.MAX_LINE_BYTES + 1)): (None, ""),
        }
        for data, (code, reason) in faults.items():
            with self.subTest(data[:20]):
                page = await self.page()
                page.write(data)
                opcode, payload = await page.frame_received()
                if opcode == text:  # the framing's own faults have no words but the close frame's
                    self.assertRegex(payload.decode(), f'"error".*{reason}')
                    opcode, payload = await page.frame_received()
                self.assertEqual(opcode, frames.Opcode.CLOSE)
                if code:
                    self.assertEqual(int.from_bytes(payload[:2]), code)
                self.assertEqual(await page.frame_received(), (0, b""))


def open_files() -> int:
    """How many this process may have."""
    if os.name != "posix":
        return 0
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def descriptors() -> int:
    """How many this process has, where that can be told."""
    try:
        return len(list(pathlib.Path("/proc/self/fd").iterdir()))
    except OSError:
        return 0
