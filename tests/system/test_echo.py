"""The echo server as a process of its own, spoken to over real sockets by a hand-made client."""

import signal
import socket
import subprocess
import sys
import threading
import unittest
from pathlib import Path
from typing import ClassVar

from barker.websocket.frames import Opcode, encode_frame
from tests.tools.children import SLOW, Service
from tests.tools.wsclient import MASK, TIMEOUT_S, Client, frame, upgrade_request

ROOT = Path(__file__).resolve().parents[2]
ECHO = ("-m", "tests.echo", "--port", "0")

TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


class EchoServer(unittest.TestCase):
    """One process for all tests: what one connection does must not disturb the next."""

    echo: ClassVar[Service]
    port: ClassVar[int]

    @classmethod
    def setUpClass(cls) -> None:
        cls.echo = Service(ECHO, ROOT).until_ready()
        cls.addClassCleanup(cls.echo.close)
        cls.port = cls.echo.port

    @classmethod
    def tearDownClass(cls) -> None:
        cls.echo.signal(signal.SIGTERM)
        if cls.echo.ended() or len(cls.echo.lines) > 1:
            raise AssertionError(cls.echo)

    def client(self, *, upgrade: bool = True) -> Client:
        return self.enterContext(Client(self.port, upgrade=upgrade))

    # --- messages ---

    def test_text_and_binary_come_back(self) -> None:
        client = self.client()
        for opcode, payload in (
            (TEXT, b""),
            (TEXT, "Hällo 🐕".encode()),
            (BINARY, b""),
            (BINARY, bytes(range(256))),
            (BINARY, b"x" * 125),
            (BINARY, b"x" * 126),
            (TEXT, b"x" * 65535),
            (TEXT, b"x" * 65536),
        ):
            with self.subTest(opcode=opcode, size=len(payload)):
                client.send(frame(opcode, payload))
                self.assertEqual(client.receive(), (opcode, payload))

    def test_many_messages_at_once_come_back_in_order(self) -> None:
        client = self.client()
        texts = [b"%d" % i for i in range(3000)]
        client.send(*(frame(TEXT, text) for text in texts))
        self.assertEqual([client.receive() for _ in texts], [(TEXT, text) for text in texts])

    def check_large(self, size: int) -> None:
        for opcode, unit in ((TEXT, "Hündin 🐕 ".encode()), (BINARY, bytes(range(256)))):
            with self.subTest(opcode):
                client = self.client()
                payload = unit * (size // len(unit))
                payload += b"." * (size - len(payload))
                client.send(frame(opcode, payload))
                got, echo = client.receive()
                self.assertEqual(got, opcode)
                self.assertTrue(echo == payload)  # a difference of megabytes is not for printing
                client.send(frame(CLOSE))
                self.assertEqual(client.rest(), b"\x88\x00")

    def test_a_message_of_1_mib_comes_back(self) -> None:
        self.check_large(1 << 20)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1 runs it")
    def test_a_message_of_64_mib_comes_back(self) -> None:
        self.check_large(64 << 20)

    def test_a_message_over_64_mib_is_refused_while_the_client_still_sends(self) -> None:
        client = self.client()
        start = frame(BINARY, b"x" * 100, fin=False)
        header = b"\x80\xff" + ((64 << 20) - 99).to_bytes(8, "big") + MASK
        client.send(frame(TEXT, b"a"), start, header, bytes(4 << 20))
        self.assertEqual(client.receive(), (TEXT, b"a"))
        self.assertEqual(client.receive()[1][:2], b"\x03\xf1")
        self.assertEqual(client.rest(), b"")

    def test_fragments_with_pings_in_between(self) -> None:
        client = self.client()
        client.send(frame(TEXT, b"0", fin=False))
        for i in range(1, 100):
            client.send(frame(PING, b"%d" % i), frame(CONTINUATION, b".", fin=False))
            self.assertEqual(client.receive(), (PONG, b"%d" % i))
        client.send(frame(CONTINUATION, b"!"))
        self.assertEqual(client.receive(), (TEXT, b"0" + b"." * 99 + b"!"))

    def test_more_than_all_buffers_hold_comes_back_to_a_client_that_reads_while_it_sends(
        self,
    ) -> None:
        client = self.client()
        payload = b"x" * (1 << 20)
        sender = threading.Thread(target=client.send, args=[frame(BINARY, payload)] * 24)
        sender.start()
        for _ in range(24):
            opcode, echo = client.receive()
            self.assertTrue(opcode == BINARY and echo == payload)
        sender.join()

    # --- closing ---

    def test_close_is_answered_and_the_server_closes_first(self) -> None:
        for payload in (b"", b"\x03\xe8", b"\x0f\xa0done"):
            with self.subTest(payload):
                client = self.client()
                client.send(frame(CLOSE, payload))
                self.assertEqual(client.rest(), encode_frame(CLOSE, payload[:2]))

    def test_a_message_before_a_close_comes_back_and_one_after_it_does_not(self) -> None:
        client = self.client()
        client.send(frame(TEXT, b"a"), frame(CLOSE), frame(TEXT, b"b"), frame(PING))
        self.assertEqual(client.rest(), b"\x81\x01a\x88\x00")

    def test_faults_get_their_close_frame_and_never_a_reset(self) -> None:
        behind = bytes(1 << 20)
        for fault, code in (
            (b"\x81\x05Hello", 1002),
            (b"\xc1\x80" + MASK, 1002),
            (b"\x83\x80" + MASK, 1002),
            (frame(CONTINUATION, b"x"), 1002),
            (frame(PING, b"x", fin=False), 1002),
            (frame(CLOSE, b"\x03\xee"), 1002),
            (frame(TEXT, b"\xff"), 1007),
            (frame(TEXT, b"ok \xc0", fin=False), 1007),
            (b"\x82\xff\x00\x00\x00\x01" + bytes(4) + MASK, 1009),
        ):
            with self.subTest(fault):
                client = self.client()
                client.send(frame(TEXT, b"a"), fault, behind)
                self.assertEqual(client.receive(), (TEXT, b"a"))
                opcode, payload = client.receive()
                self.assertEqual((opcode, payload[:2]), (CLOSE, code.to_bytes(2, "big")))
                self.assertEqual(client.rest(), b"")

    def test_bad_text_is_refused_in_the_middle_of_a_frame(self) -> None:
        client = self.client()
        client.send(frame(TEXT, b"\xed\xa0" + b"x" * 100)[:-100])
        self.assertEqual(client.receive()[1][:2], b"\x03\xef")

    def test_a_client_that_just_goes_away_leaves_the_server_well(self) -> None:
        for data in (b"", frame(TEXT, b"half")[:-1], frame(TEXT, b"x", fin=False)):
            with Client(self.port) as client:
                client.send(data)
        with Client(self.port) as client:
            client.send(frame(TEXT, b"well?"))
            self.assertEqual(client.receive(), (TEXT, b"well?"))

    # --- HTTP ---

    def http(self, request: bytes) -> bytes:
        client = self.client(upgrade=False)
        client.send(request)
        return client.rest()

    def test_plain_get_and_head_are_answered(self) -> None:
        get = self.http(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(get.startswith(b"HTTP/1.1 426 "))
        self.assertIn(b"WebSocket", get.partition(b"\r\n\r\n")[2])
        head = self.http(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(head, get.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")

    def test_other_beginnings_are_refused_before_they_end(self) -> None:
        for request, status in (
            (b"POST / HTTP/1.1\r\n", b"405"),
            (b"\x16\x03\x01", b"405"),
            (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000, b"431"),
        ):
            with self.subTest(request[:20]):
                self.assertEqual(self.http(request).split()[1], status)

    def test_every_origin_is_welcome_here(self) -> None:
        request = upgrade_request()[:-2] + b"Origin: http://elsewhere.example\r\n\r\n"
        got = self.http(request + frame(CLOSE))
        self.assertTrue(got.startswith(b"HTTP/1.1 101 "))

    def test_frames_may_follow_the_request_at_once(self) -> None:
        client = self.client(upgrade=False)
        client.send(upgrade_request(), frame(TEXT, b"early"), frame(CLOSE))
        self.assertEqual(client.rest().partition(b"\r\n\r\n")[2], b"\x81\x05early\x88\x00")

    def test_request_may_come_byte_by_byte(self) -> None:
        client = self.client(upgrade=False)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in upgrade_request() + frame(CLOSE):
            client.send(bytes((byte,)))
        self.assertTrue(client.rest().endswith(b"\x88\x00"))


class Stopping(unittest.TestCase):
    """SIGINT and SIGTERM: 1001 for whoever is there, then a clean exit."""

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a time-out")
    def test_connections_are_told_that_the_server_goes_away(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                echo = Service(ECHO, ROOT).until_ready()
                self.addCleanup(echo.close)
                port = echo.port
                with Client(port) as polite, Client(port) as silent, Client(port) as busy:
                    busy.send(frame(TEXT, b"half", fin=False), frame(PING))
                    self.assertEqual(busy.receive(), (PONG, b""))
                    echo.signal(number)
                    self.assertEqual(polite.receive(), (CLOSE, b"\x03\xe9"))
                    polite.send(frame(CLOSE, b"\x03\xe9"))
                    self.assertEqual(polite.rest(), b"")
                    self.assertEqual(silent.receive(), (CLOSE, b"\x03\xe9"))
                    self.assertEqual(echo.ended(), 0)
                self.assertEqual(echo.lines, [f"READY 127.0.0.1:{port}"])

    def test_a_port_in_use_is_told_in_one_line(self) -> None:
        echo = Service(ECHO, ROOT).until_ready()
        self.addCleanup(echo.close)
        second = subprocess.run(
            [sys.executable, *ECHO[:-1], str(echo.port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        self.assertEqual(second.returncode, 1)
        self.assertEqual(second.stdout, "")
        self.assertEqual(len(second.stderr.splitlines()), 1)
