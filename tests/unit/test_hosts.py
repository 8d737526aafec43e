"""Who may be listened at, by which name: loopback, localhost, the whole machine."""

import errno
import pathlib
import socket
import unittest
from unittest import mock

from barker.directory import Directory
from barker.launching.commands import Command, busy_ports
from barker.links import hosts
from barker.links.connecting import connect
from barker.links.greeting import Identity
from barker.links.hosts import Address, addresses, bind, is_loopback, spell, why_closed
from barker.process import terminal
from barker.process.arguments import place
from barker.websocket.frames import Opcode
from tests.tools.fleet import DEADLINE_S, free_port, until
from tests.tools.wireclient import WebSocketWire, WireTest, serving
from tests.unit.test_link import Sink


def has_ipv6() -> bool:
    """Has this machine ::1?"""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = unittest.skipUnless(has_ipv6(), "this machine has no IPv6")
SECRET = pathlib.Path("secret of our own")


class NameTest(unittest.TestCase):
    def test_places_are_read_as_they_are_spelt(self) -> None:
        for host, port in (("127.0.0.1", 1), ("localhost", 65535), ("::1", 5672)):
            self.assertEqual(place(spell(host, port)), (host, port))

    def test_an_address_with_colons_needs_its_brackets(self) -> None:
        for text in (
            "::1:5672",
            "[::1]",
            "[::1:5672",
            "::1]:5672",
            "[a]:1",
            "a",
            "a:",
            ":1",
            "a:0",
        ):
            with self.subTest(text), self.assertRaises(Exception) as caught:
                place(text)
            self.assertEqual(type(caught.exception).__name__, "ArgumentTypeError")

    def test_localhost_is_both_whatever_the_machine_says(self) -> None:
        with mock.patch("socket.getaddrinfo", self.literal_only):
            found = addresses("LocalHost", 7)
        self.assertEqual([a.host for a in found], ["127.0.0.1", "::1"])

    @staticmethod
    def literal_only(host: str, port: int, **_: object) -> list[object]:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        assert hosts.is_number(host)
        return [(family, socket.SOCK_STREAM, 6, "", (host, port))]

    def test_what_is_loopback_and_what_is_not(self) -> None:
        for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(is_loopback(host), host)
        for host in ("0.0.0.0", "::", "10.0.0.1", "192.168.1.1", "fe80::1", "::ffff:10.0.0.1"):
            self.assertFalse(is_loopback(host), host)


class WhyClosedTest(unittest.TestCase):
    @staticmethod
    def at(*names: str) -> list[Address]:
        return [Address(socket.AF_INET, (name, 0)) for name in names]

    def why(self, *names: str, secret: pathlib.Path | None = None, by: str | None = None) -> str:
        return why_closed(names[0], self.at(*names), secret, by) or ""

    def test_only_loopback_goes_without_a_secret_of_one_s_own(self) -> None:
        self.assertEqual(self.why("127.0.0.1", "::1"), "")
        self.assertIn("--secret-file", self.why("10.0.0.1"))
        self.assertIn("--secret-file", self.why("127.0.0.1", "10.0.0.1"))
        self.assertEqual(self.why("10.0.0.1", secret=SECRET), "")

    def test_every_address_is_none_to_be_reached_by(self) -> None:
        for host in ("0.0.0.0", "::"):
            self.assertIn("--secret-file", self.why(host, by="here.test"))
            self.assertIn("--advertise", self.why(host, secret=SECRET))
            self.assertEqual(self.why(host, secret=SECRET, by="here.test"), "")


class BindTest(unittest.TestCase):
    def bind(self, host: str, port: int = 0) -> list[socket.socket]:
        made = bind(addresses(host, port))
        for each in made:
            self.addCleanup(each.close)
        return made

    @needs_ipv6
    def test_localhost_has_one_port_at_both_addresses(self) -> None:
        sockets = self.bind("localhost")
        names = [s.getsockname()[:2] for s in sockets]
        self.assertEqual([n[0] for n in names], ["127.0.0.1", "::1"])
        self.assertEqual(len({n[1] for n in names}), 1)

    @needs_ipv6
    def test_a_port_that_is_taken_at_the_second_address_is_not_kept(self) -> None:
        """Of `--port 0`, another one is drawn; a port that was asked for is in use."""
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
            port = taken.getsockname()[1]
            real = hosts._bind_once
            wishes = [port, port, 0]

            def unlucky(at: list[Address]) -> list[socket.socket]:
                wish = wishes.pop(0)
                return real([a._replace(sockaddr=(a.host, wish, *a.sockaddr[2:])) for a in at])

            with mock.patch.object(hosts, "_bind_once", unlucky):
                sockets = self.bind("localhost")
            self.assertEqual(wishes, [])
            self.assertNotEqual(sockets[0].getsockname()[1], port)
            with self.assertRaises(OSError) as caught:
                self.bind("localhost", port)
            self.assertEqual(caught.exception.errno, errno.EADDRINUSE)

    def test_a_machine_without_ipv6_listens_at_the_other_address(self) -> None:
        real = socket.socket

        class Old(real):  # type: ignore[misc, valid-type]
            def __init__(self, family: int = socket.AF_INET, *more: int) -> None:
                if family == socket.AF_INET6:
                    raise OSError(errno.EAFNOSUPPORT, "no IPv6 here")
                super().__init__(family, *more)

        with mock.patch("socket.socket", Old):
            sockets = self.bind("localhost")
            self.assertEqual([s.getsockname()[0] for s in sockets], ["127.0.0.1"])
            with self.assertRaises(OSError):
                self.bind("::1")

    @needs_ipv6
    def test_a_launcher_sees_a_port_that_is_taken_at_either_address(self) -> None:
        for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            with socket.create_server((host, 0), family=family) as taken:
                command = Command("x", [], "localhost", taken.getsockname()[1])
                self.assertEqual(busy_ports([command]), [command])
            self.assertEqual(busy_ports([command]), [])


class ServiceTest(WireTest):
    """In this loop: who is let in at which address, and by which name."""

    async def reach(self, host: str, port: int) -> None:
        me = Identity("opener", self.secret)
        made = await connect(host, port, me, expect=None, timeout_s=DEADLINE_S)
        made.abort()

    @needs_ipv6
    async def test_localhost_is_reached_by_all_its_names(self) -> None:
        sink = await self.serve(Sink, "--host", "localhost")
        for host in ("localhost", "127.0.0.1", "::1"):
            await self.reach(host, sink.port)
        self.assertEqual(sink.host, "localhost")

    @needs_ipv6
    async def test_either_family_alone_is_reached_as_localhost(self) -> None:
        for host in ("127.0.0.1", "::1"):
            sink = await self.serve(Sink, "--host", host)
            await self.reach("localhost", sink.port)
            self.assertEqual(sink.host, host)

    async def test_who_answers_at_no_address_is_an_os_error(self) -> None:
        with self.assertRaises(OSError):
            await self.reach("localhost", free_port())

    async def test_neither_side_waits_for_acks_before_it_sends_a_little_more(self) -> None:
        for host in ("127.0.0.1", "localhost"):
            sink = await self.serve(Sink, "--host", host)
            me = Identity("opener", self.secret)
            made = await connect(host, sink.port, me, expect=None, timeout_s=DEADLINE_S)
            self.addCleanup(made.abort)
            await until(lambda: sink.links, "both have it")  # noqa: B023
            for end in (made, *(each._connection for each in sink.links)):
                channel = end._writer.get_extra_info("socket")
                self.assertTrue(channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), host)

    async def test_what_is_advertised_is_what_is_registered(self) -> None:
        directory = await self.serve(Directory, "--advertise", "here.test")
        self.assertEqual(directory._choose("agent").host, "here.test")  # type: ignore[union-attr]

    async def asks(
        self, port: int, host: str, at: str = "127.0.0.1", origin: str = "null"
    ) -> bytes:
        """The first line of the answer to a browser that calls us `host`."""
        async with await WebSocketWire.connect(port, host=at) as page:
            return (await page.upgrade(host, origin)).partition(b"\r\n")[0]

    async def test_a_name_that_is_not_ours_is_refused(self) -> None:
        """DNS rebinding: a page's own name is made to resolve to this machine."""
        sink = await self.serve(Sink, "--advertise", "Here.test")
        ours = ("127.0.0.1", "localhost", "LOCALHOST", "[::1]", "here.test", "HERE.test")
        for host in ours:
            for port in ("", ":80", f":{sink.port}"):
                self.assertIn(b" 101 ", await self.asks(sink.port, host + port), host + port)
        for host in ("evil.example", "evil.example:80", "10.0.0.1", "127.0.0.1.evil.example", ""):
            await self.assertNotOurs(sink.port, host)
        await self.assertNotOurs(sink.port, "localhost.evil.example:1")

    async def assertNotOurs(self, port: int, host: str) -> None:
        """No WebSocket; a page from disk is told in a close frame, since no browser tells it."""
        line = await self.asks(port, host, origin=f"http://{host}")
        self.assertIn(b" 403 ", line, host)
        async with await WebSocketWire.connect(port) as page:
            self.assertIn(b" 101 ", await page.upgrade(host))
            page.say_hello()
            opcode, payload = await page.frame_received()
            self.assertEqual((opcode, payload[:2]), (Opcode.CLOSE, b"\x03\xf0"), host)
            self.assertIn(b"does not go by the name", payload)
            self.assertEqual(await page.frame_received(), (0, b""))

    async def test_the_address_that_was_dialled_is_ours(self) -> None:
        flags = ("--secret-file", str(self.folder / "secret"), "--advertise", "here.test")
        sink = await self.serve(Sink, "--host", "0.0.0.0", *flags)
        self.assertIn(b" 101 ", await self.asks(sink.port, "127.0.0.2", at="127.0.0.2"))
        await self.assertNotOurs(sink.port, "127.0.0.2")

    async def test_two_that_bind_at_once_do_not_both_listen(self) -> None:
        """Each has bound the port before the other listened; the kernel tells the second then."""
        taken: list[socket.socket] = []

        class Slow(Sink):
            async def prepare(self) -> None:
                rival = socket.socket()
                rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                rival.bind(("127.0.0.1", self.port))
                rival.listen()
                taken.append(rival)

        with (
            mock.patch.object(terminal, "complain") as complain,
            self.assertRaisesRegex(AssertionError, "stopped by itself"),
        ):
            async with serving(Slow, self.folder):
                pass
        for rival in taken:
            rival.close()
        self.assertIn("in use by another process", complain.call_args.args[1])
