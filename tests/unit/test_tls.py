"""TLS: the same conversations, and nobody who can't be trusted hears a word of them."""

import argparse
import asyncio
import contextlib
import gc
import socket
import ssl
import unittest
from typing import Any

from barker.disk import files
from barker.links import connection as connection_module
from barker.links import porch, tls
from barker.links.connecting import connect
from barker.links.connection import Connection
from barker.links.greeting import Identity
from barker.process.agent import resident_bytes
from barker.wire import messages, protocol
from barker.wire.ops import Error
from tests.tools.fleet import CERTIFICATES, DEADLINE_S, SLOW, TLS_FLAGS, until
from tests.tools.wireclient import WebSocketWire, Wire, WireTest, put
from tests.unit.test_link import Sink


def flags(cert: str | None = None, authority: str | None = None) -> argparse.Namespace:
    """Arguments of a node, with files of the tests' folder."""
    return argparse.Namespace(
        tls_cert=CERTIFICATES / f"{cert}.pem" if cert else None,
        tls_key=CERTIFICATES / f"{cert}.key" if cert else None,
        tls_ca=CERTIFICATES / f"{authority}.pem" if authority else None,
    )


def trusting() -> ssl.SSLContext:
    """What a client with the tests' `--tls-ca` opens connections with."""
    context = tls.contexts(flags(authority="authority"), is_service=False).opening
    assert context
    return context


class TlsTest(WireTest):
    """A `Sink` that takes nothing but TLS."""

    certificate = "service"

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        cert, key = (str(CERTIFICATES / f"{self.certificate}.{end}") for end in ("pem", "key"))
        ours = ("--tls-cert", cert, "--tls-key", key, *TLS_FLAGS[4:])
        self.sink = await self.serve(Sink, *ours)
        self.port = self.sink.port
        self.context = trusting()

    async def tls_wire(self) -> Wire:
        wire_ = await Wire.connect(self.port, context=self.context)
        await self.enterAsyncContext(wire_)
        await wire_.greet(self.secret)
        return wire_

    async def dial(
        self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
    ) -> Connection:
        me = Identity("opener", self.secret)
        made = await connect(
            host,
            self.port,
            me,
            expect=None,
            timeout_s=DEADLINE_S,
            context=context or self.context,
        )
        self.addCleanup(made.abort)
        return made


class AcceptTest(TlsTest):
    async def test_puts_and_acks_as_without_it(self) -> None:
        connection = await self.tls_wire()
        connection.send(*(put(i, ["a/b"], {"x": "y" * 500}) for i in range(1, 2001)))
        await connection.up_to_ack(2000)
        self.assertEqual(self.sink.taken, list(range(1, 2001)))

    async def test_two_of_ours_greet_each_other(self) -> None:
        for host in ("127.0.0.1", "localhost"):
            mine = await self.dial(host)
            self.assertEqual(mine.name, self.sink.name)
        await until(lambda: len(self.sink.ups) == 2, "both links are up at the other side")

    async def test_a_browser_s_websocket(self) -> None:
        page = await WebSocketWire.connect(self.port, context=self.context)
        await self.enterAsyncContext(page)
        self.assertIn(b" 101 ", await page.upgrade())
        await page.greet(self.secret)
        page.send(put(1, ["a/b"], {}))
        await page.expect("ack", seq=1)

    async def test_a_human_who_looks_at_the_port_is_answered(self) -> None:
        connection = await Wire.connect(self.port, context=self.context)
        await self.enterAsyncContext(connection)
        connection.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = await connection.http_answer()
        self.assertRegex(answer, rb"^HTTP/1.1 426 ")
        self.assertIn(b"certificate", answer)

    async def test_close_delivers_what_was_sent_before(self) -> None:
        connection = await Wire.connect(self.port, 4096, context=self.context)
        async with connection:
            await connection.greet(self.secret)
            await until(lambda: self.sink.ups, "the link is up")
            line = messages.encode(Error("many", "x" * 400))
            for _ in range(2000):
                self.sink.ups[0].send(line)
            self.sink.ups[0].close(protocol.BarkerError("last", "words"))
            heard = await connection.rest()
        self.assertEqual((len(heard), heard[-1]["code"]), (2001, "last"))

    async def test_a_close_is_seen_by_the_other_side_and_ends_at_once(self) -> None:
        """No half of a TLS connection can be closed: a goodbye must not wait for its time-out."""
        self.patch(connection_module, "LINGER_S", 2 * DEADLINE_S)
        mine = await self.dial()
        await until(lambda: self.sink.ups, "the link is up")
        mine.close(protocol.BarkerError("last", "words"))
        await until(lambda: not self.sink.links, "the other side has closed, too")
        with self.assertLogs("barker.links.link", "WARNING"):
            connection = await self.tls_wire()
            connection.write(b"what?\n")
            self.assertEqual((await connection.rest())[-1]["op"], "error")
            await until(lambda: not self.sink.links, "a protocol error closes as quickly")

    async def test_a_peer_that_never_reads_is_cut_off(self) -> None:
        self.patch(connection_module, "MAX_WAITING_BYTES", 512 * 1024)
        bystander = await self.tls_wire()
        async with await Wire.connect(self.port, 4096, context=self.context) as connection:
            await connection.greet(self.secret)
            connection.stop_reading()
            flood = connection.pack([{"op": "ping"}] * 5000)
            with (
                self.assertLogs("barker.links.link", "WARNING") as logs,
                contextlib.suppress(OSError),
            ):
                async with asyncio.timeout(DEADLINE_S):
                    while True:
                        connection.write(flood)
                        await connection.drain()
                        held = sum(each.waiting_bytes() for each in self.sink.links)
                        self.assertLess(held, 3 * 512 * 1024)
                        await asyncio.sleep(0)
        self.assertIn("does not read", logs.output[0])
        await bystander.before_pong()


class StrangerTest(TlsTest):
    """Whoever does not speak TLS hears nothing, and costs a connection for a moment."""

    async def test_plain_lines_and_plain_http_get_no_answer(self) -> None:
        bystander = await self.tls_wire()
        greetings = (
            b'{"op":"hello","v":1,"name":"x","nonce":"0123456789abcdef"}\n',
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"\x16\x03\x01\x40\x00" + b"x" * 0x4000,
            b"\x00" * 70_000,
        )
        with self.assertNoLogs("asyncio"), self.assertNoLogs("barker", "ERROR"):
            for data in greetings:
                async with await Wire.connect(self.port) as stranger:
                    stranger.write(data)
                    with contextlib.suppress(ConnectionError):
                        answer = await stranger.http_answer()
                        self.assertNotIn(b"hello", answer)
                        self.assertNotIn(b"HTTP", answer)
            await until(lambda: not self.sink.acceptor.greeting, "nobody waits for them any more")
        await bystander.before_pong()

    async def test_silence_ends_in_time_and_counts_as_a_connection_meanwhile(self) -> None:
        """`start_server` would give it a minute, and tell nobody that it is there."""
        self.patch(porch, "HELLO_TIMEOUT_S", 0.3)
        begun = b"\x16\x03\x01\x02\x00\x01"  # half of a ClientHello
        strangers = [await Wire.connect(self.port) for _ in (b"", begun)]
        for stranger, data in zip(strangers, (b"", begun), strict=True):
            self.addCleanup(stranger.abort)
            stranger.write(data)
        await until(lambda: self.sink.acceptor.greeting == 2, "both are counted")
        for stranger in strangers:
            with contextlib.suppress(ConnectionError):
                self.assertEqual(await stranger.http_answer(), b"")
        await until(lambda: not self.sink.acceptor.greeting, "both are gone")

    async def test_silence_after_the_handshake_is_told_so(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", 0.5)
        connection = await Wire.connect(self.port, context=self.context)
        await self.enterAsyncContext(connection)
        self.assertEqual([m["code"] for m in await connection.rest()], [protocol.TIMEOUT])

    async def test_the_limit_of_links_is_told(self) -> None:
        self.sink.acceptor.max_links = 1
        bystander = await self.tls_wire()
        surplus = await self.tls_wire()
        self.assertEqual([m["code"] for m in await surplus.rest()], [protocol.TOO_MANY])
        bystander.abort()
        await until(lambda: not self.sink.links, "there is room again")
        await self.tls_wire()


class LogTest(TlsTest):
    """What a log says of a handshake that has failed."""

    async def test_another_authority_is_told_from_no_tls(self) -> None:
        context = ssl.create_default_context()  # the machine's own authorities
        with self.assertLogs("barker.links.tls", "WARNING") as logs:
            with self.assertRaises(protocol.BarkerError):
                await self.dial(context=context)
            await until(lambda: logs.output, "it is logged")
        self.assertIn("does not trust our certificate", logs.output[0])
        with self.assertLogs("barker.links.tls", "INFO") as logs:
            async with await Wire.connect(self.port) as stranger:
                stranger.say_hello()
                with contextlib.suppress(ConnectionError):
                    await stranger.http_answer()
        self.assertIn("does not speak TLS", logs.output[0])


class MemoryTest(TlsTest):
    """Closed connections give their memory back at once, and not when the collector looks."""

    COUNT = 6000 if SLOW else 150

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        gc.disable()
        self.addCleanup(gc.enable)

    def half_a_handshake(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as channel:
            channel.sendall(self.hello)
            channel.recv(1)

    async def test_strangers_and_members_leave_nothing_behind(self) -> None:
        context = self.context
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        self.hello = outgoing.read()

        async def visit(count: int) -> None:
            for _ in range(count):
                await asyncio.to_thread(self.half_a_handshake)
            for _ in range(count // 2):
                me = Identity("opener", self.secret)
                made = await connect(
                    "127.0.0.1", self.port, me, expect=None, timeout_s=DEADLINE_S, context=context
                )
                made.abort()
            await until(
                lambda: not (self.sink.links or self.sink.acceptor.greeting), "all are gone"
            )

        await visit(50)
        before = resident_bytes() or 0
        await visit(self.COUNT)
        grown = (resident_bytes() or 0) - before
        self.assertLess(grown, 20 * 1024 * 1024)


class TrustTest(TlsTest):
    """A client says nothing to whoever is not the one it wants to talk to."""

    certificate = "stranger"

    async def test_a_certificate_of_another_authority_is_refused(self) -> None:
        with self.assertRaisesRegex(
            protocol.BarkerError, "not-trusted: .*self-signed|unable to get"
        ):
            await self.dial()
        self.assertEqual(self.sink.ups, [])


class NameTest(TlsTest):
    certificate = "elsewhere"

    async def test_a_certificate_for_another_name_is_refused(self) -> None:
        with self.assertRaisesRegex(protocol.BarkerError, "not-trusted: .*127.0.0.1"):
            await self.dial()


class DowngradeTest(WireTest):
    async def test_nothing_is_said_to_a_service_without_tls(self) -> None:
        sink = await self.serve(Sink)
        with self.assertRaisesRegex(protocol.BarkerError, "not-trusted: it does not speak TLS"):
            await connect(
                "127.0.0.1",
                sink.port,
                Identity("opener", self.secret),
                expect=None,
                timeout_s=DEADLINE_S,
                context=trusting(),
            )


class ArgumentsTest(unittest.TestCase):
    def test_a_certificate_of_ours_that_has_expired_is_told_at_the_start(self) -> None:
        self.assertNot(flags("expired", "past-authority"), "expired.pem: .*expired")

    def assertNot(self, args: argparse.Namespace, reason: str, **more: Any) -> None:
        with self.assertRaisesRegex(files.StateError, reason):
            tls.contexts(args, **{"is_service": True, **more})

    def test_none_of_the_flags_is_no_tls(self) -> None:
        self.assertEqual(tls.contexts(flags(), is_service=True), (None, None))

    def test_half_of_the_flags_is_a_wrong_command_line(self) -> None:
        half = flags("service")
        half.tls_key = None
        self.assertNot(half, "--tls-cert and --tls-key go together")
        self.assertNot(flags("service"), "needs --tls-ca")
        self.assertNot(flags(authority="authority"), "a service .* needs --tls-cert")
        self.assertIsNone(
            tls.contexts(flags(authority="authority"), is_service=False).accepting,
        )

    def test_files_that_will_not_do_are_named(self) -> None:
        self.assertNot(flags("missing", "authority"), "missing.pem: No such file")
        self.assertNot(flags("service", "missing"), "missing.pem: No such file")
        swapped = flags("service", "authority")
        swapped.tls_key = swapped.tls_cert
        self.assertNot(swapped, "service.pem: not a certificate and its key|service.pem: .*key")
        other = flags("service", "authority")
        other.tls_key = CERTIFICATES / "stranger.key"
        self.assertNot(other, "KEY_VALUES_MISMATCH")
