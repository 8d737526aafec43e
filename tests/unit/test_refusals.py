"""What an acceptor says before the proof, in the language of what it refuses; and what ends it."""

import json
import re
from typing import Any

from barker.inbox import Inbox
from barker.links import connection, porch
from barker.websocket.frames import Opcode
from barker.wire import protocol
from tests.tools.fleet import DEADLINE_S, until
from tests.tools.wireclient import WebSocketWire, Wire, put
from tests.unit.test_link import LinkTest

NEVER_S = 60.0 * DEADLINE_S
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


class ControlFramesTest(LinkTest):
    """Before the proof a WebSocket is one already. Nothing here may wait for a deadline."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(porch, "HELLO_TIMEOUT_S", NEVER_S)
        self.patch(connection, "LINGER_S", NEVER_S)

    async def page(self) -> WebSocketWire:
        return await self.enterAsyncContext(await WebSocketWire.connect(self.port))

    async def assertEnds(self, page: WebSocketWire, *frames: tuple[int, bytes]) -> None:
        """These frames, the answer to our close frame, and the end; we are forgotten then."""
        for frame in (*frames, (CLOSE, b"\x03\xe8"), (0, b"")):
            self.assertEqual(await page.frame_received(), frame)
        page.abort()
        await until(lambda: not self.sink.acceptor.greeting, "the acceptor waits no more")

    async def test_a_close_frame_before_the_hello_ends_it_at_once(self) -> None:
        page = await self.page()
        await page.upgrade()
        page.write(page.frame(b"\x03\xe8bye", CLOSE))
        await self.assertEnds(page)

    async def test_a_close_frame_before_the_proof_ends_it_at_once(self) -> None:
        page = await self.page()
        await page.upgrade()
        page.say_hello()
        await page.expect("hello")
        page.write(page.frame(b"\x03\xe8bye", CLOSE))
        await self.assertEnds(page)

    async def test_a_hello_is_answered_before_the_close_frame_behind_it(self) -> None:
        page = await self.page()
        await page.upgrade()
        hello = {"op": "hello", "v": 1, "role": "client", "nonce": "ab" * 16}
        page.write(page.pack([hello]) + page.frame(b"\x03\xe8", CLOSE))
        await page.expect("hello")
        await self.assertEnds(page)

    async def test_a_ping_and_a_close_in_one_segment_with_the_request_are_answered(self) -> None:
        page = await self.page()
        page.write(REQUEST + page.frame(b"you there?", PING) + page.frame(b"\x03\xe8", CLOSE))
        self.assertIn(b" 101 ", await page.http_head())
        await self.assertEnds(page, (PONG, b"you there?"))

    async def test_after_a_ping_in_one_segment_with_the_request_it_goes_on(self) -> None:
        page = await self.page()
        page.write(REQUEST + page.frame(b"you there?", PING))
        self.assertIn(b" 101 ", await page.http_head())
        self.assertEqual(await page.frame_received(), (PONG, b"you there?"))
        await page.greet(self.secret)

    async def test_a_ping_frame_before_the_proof_is_answered(self) -> None:
        page = await self.page()
        await page.upgrade()
        page.write(page.frame(b"1", PING))
        self.assertEqual(await page.frame_received(), (PONG, b"1"))
        page.say_hello()
        await page.expect("hello")


class HttpTest(LinkTest):
    """HTTP is answered in HTTP, whatever is wrong."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(connection, "LINGER_S", 0.1)

    async def assertAnswers(self, data: bytes, status: int, reason: str = "") -> None:
        """One HTTP answer: with a body of the length that it has, or with none for a HEAD."""
        async with await Wire.connect(self.port) as stranger:
            stranger.write(data)
            head, _, body = (await stranger.http_answer()).decode().partition("\r\n\r\n")
        self.assertRegex(head, rf"\AHTTP/1\.1 {status} ")
        self.assertIn("\r\nConnection: close", head)
        length = re.search(r"\r\nContent-Length: (\d+)", head)
        assert length
        if data.startswith(b"HEAD "):
            self.assertEqual(body, "")
            self.assertGreater(int(length[1]), 0)
        else:
            self.assertEqual(len(body.encode()), int(length[1]))
            self.assertIn(reason, body)
        self.assertNotIn('"op"', body)

    async def test_a_malformed_head_is_refused_in_http_and_a_head_has_no_body(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", NEVER_S)
        host = b"Host: 127.0.0.1\r\n"
        malformed = (
            b"/ HTTP/1.1\r\n\r\n",  # no Host
            b"/\r\n\r\n",
            b"/ HTTP/1.1\r\n" + host + b"no colon\r\n\r\n",
            b"/ HTTP/1.1\r\n" + host + b"a : b\r\n\r\n",
            b"/ HTTP/1.1\r\n" + host + host + b"\r\n",
            b"/ HTTP/1.1\r\n" + host + b"x: \x00\r\n\r\n",
            b"/ HTTP/1.1\n",  # 2.2 of RFC 9112: no bare line feeds
            b"/ HTTP/1.1\r\n" + host + b"\n",
            b"not a path HTTP/1.1\r\n" + host + b"\r\n",
            b"/ HTTP/9.9\r\n" + host + b"\r\n",
        )
        for method in (b"GET ", b"HEAD "):
            for rest in malformed:
                with self.subTest(method + rest):
                    await self.assertAnswers(method + rest, 400)
            too_long = b"/ HTTP/1.1\r\n" + b"x: " + b"y" * 9000 + b"\r\n\r\n"
            await self.assertAnswers(method + too_long, 431)
            await self.assertAnswers(method + b"/ HTTP/1.1\r\n" + host + b"\r\n", 426, "WebSocket")

    async def test_other_methods_are_refused_before_their_line_ends(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", NEVER_S)
        for data in (b"P", b"OPTIONS", b"DELETE /", b"PATCH / HTTP/1.1\r\n", b"GEX"):
            with self.subTest(data):
                if data == b"GEX":  # the beginning of no method
                    async with await Wire.connect(self.port) as stranger:
                        stranger.write(data)
                        await self.assertRefused(stranger, protocol.PROTOCOL, "JSON object")
                else:
                    await self.assertAnswers(data, 405, "GET")

    async def test_a_request_with_a_body_is_refused_and_its_body_is_not_read(self) -> None:
        body = b'{"op":"hello"}\n' + b"y" * 900_000
        await self.assertAnswers(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n" + body, 405, "GET")

    async def test_a_request_that_takes_too_long_is_told_so(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", 0.1)
        for begun in (b"G", b"GET / HT", b"HEAD / HTTP/1.1\r\nHos"):
            await self.assertAnswers(begun, 408, protocol.TIMEOUT)


class SurplusTest(LinkTest):
    """Beyond the limit of links a member is told so, in its framing."""

    async def test_each_is_told_in_its_language(self) -> None:
        self.patch(connection, "LINGER_S", 0.1)
        self.sink.acceptor.max_links = 1
        await self.open(self.port)
        surplus = await self.open(self.port)
        await self.assertRefused(surplus, protocol.TOO_MANY, "more than 1 links")
        async with await WebSocketWire.connect(self.port) as page:
            await page.upgrade()
            await page.greet(self.secret)
            await self.assertRefused(page, protocol.TOO_MANY, "more than 1 links")


class CodeTest(LinkTest):
    """One code for one fault, in both framings."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(connection, "LINGER_S", 0.1)

    async def answers(self, line: bytes, *, proved: bool, port: int) -> list[Any]:
        """The code that each framing gives."""
        codes = []
        async with await Wire.connect(port) as wire:
            if proved:
                await wire.greet(self.secret)
            wire.write(line + b"\n")
            codes.append((await wire.rest())[-1])
        async with await WebSocketWire.connect(port) as page:
            await page.upgrade()
            if proved:
                await page.greet(self.secret)
            page.write(page.frame(line))
            codes.append((await page.rest())[-1])
        return [(message["op"], message["code"]) for message in codes]

    async def test_a_fault_of_a_message_has_one_code(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", NEVER_S)
        faults = {
            b"what?": protocol.PROTOCOL,
            b'{"op":"what"}': protocol.PROTOCOL,
            b'{"op":"put"}': protocol.PROTOCOL,
            b"[]": protocol.PROTOCOL,
            b"": protocol.PROTOCOL,
            b'{"op":"ping","x":"\xff"}': protocol.PROTOCOL,
            b'{"op":"ping","x":' + b"[" * 100 + b"]" * 100 + b"}": protocol.PROTOCOL,
            b'{"x":"' + b"y" * protocol.MAX_LINE_BYTES + b'"}': protocol.TOO_LARGE,
            json.dumps({"op": "hello", "v": 99, "role": "client", "nonce": "ab" * 8}).encode(): (
                protocol.BAD_VERSION
            ),
        }
        for line, code in faults.items():
            for proved in (False, True):
                if proved and code == protocol.BAD_VERSION:
                    continue  # no fault then, but no message either
                with self.subTest(line[:40], proved=proved):
                    codes = await self.answers(line, proved=proved, port=self.port)
                    self.assertEqual(codes, [("error", code)] * 2)

    async def test_a_fault_of_a_body_has_one_code(self) -> None:
        inbox = await self.serve(Inbox)
        codes = set()
        for kind in (Wire, WebSocketWire):
            async with await kind.connect(inbox.port) as wire:
                if isinstance(wire, WebSocketWire):
                    await wire.upgrade()
                await wire.greet(self.secret)
                wire.send(put(1, ["inbox/ark3"], {"user": "rdl", "id": "1", "content": {"a": {}}}))
                answer = await wire.heard()
                assert answer
                codes.add((answer["op"], answer["code"]))
        self.assertEqual(codes, {("refuse", protocol.BAD_MESSAGE)})
