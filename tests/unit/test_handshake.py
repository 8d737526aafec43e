"""RFC 6455 section 4: upgrade requests, and what is no such request."""

import random
import unittest

from barker.websocket.handshake import (
    HEAD_END,
    MAX_HEAD_BYTES,
    HandshakeError,
    Request,
    accept_key,
    answer,
    parse_request,
    split_head,
)

# --- Section 4: the opening handshake -----------------------------------------------------------
SAMPLE = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def request(line: str = "GET /chat HTTP/1.1", /, **changed: str | None) -> bytes:
    """The RFC's sample with headers changed, or left out (None). `_` in a name stands for `-`."""
    headers: dict[str, str | None] = dict(SAMPLE)
    for name, value in changed.items():
        headers[next((h for h in SAMPLE if h.lower() == name.replace("_", "-")), name)] = value
    fields = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join((line, *fields, "", "")).encode("latin-1")


class Handshake(unittest.TestCase):
    """4.2, the server's side, and the syntax of RFC 9112 and RFC 9110 below it."""

    def check_refused(self, head: bytes, status: int) -> HandshakeError:
        with self.assertRaises(HandshakeError) as caught:
            parse_request(head)
        self.assertEqual(caught.exception.status, status)
        return caught.exception

    def status(
        self,
        head: bytes,
        allowed_hosts: set[str] | None = None,
        allowed_origins: set[str] | None = None,
    ) -> int:
        response, upgraded = answer(
            parse_request(head), allowed_hosts=allowed_hosts, allowed_origins=allowed_origins
        )
        status = int(response.split()[1])
        self.assertEqual(upgraded, status == 101)
        return status

    def test_the_sample_of_1_3_gets_its_answer(self) -> None:
        head = (
            b"GET /chat HTTP/1.1\r\n"
            b"Host: server.example.com\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Origin: http://example.com\r\n"
            b"Sec-WebSocket-Protocol: chat, superchat\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"\r\n"
        )
        expected = (
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"\r\n"
        )
        response = answer(parse_request(head), allowed_origins={"http://example.com"})
        self.assertEqual(response, (expected, True))

    def test_accept_key_is_that_of_1_3(self) -> None:
        self.assertEqual(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    def test_request_is_read_into_its_parts(self) -> None:
        got = parse_request(b"GET /x?y=1 HTTP/1.1\r\nHOST:a:80\r\nX-Y: \t 1 , 2\t\r\nx-y:3\r\n\r\n")
        self.assertEqual(got, Request("GET", "/x?y=1", {"host": "a:80", "x-y": "1 , 2, 3"}))
        self.assertEqual(got.tokens("x-y"), ["1", "2", "3"])

    def test_lists_may_hold_more_than_us_in_any_case(self) -> None:
        self.assertEqual(self.status(request(connection="keep-alive, UPGRADE")), 101)
        self.assertEqual(self.status(request(upgrade="h2c,WebSocket")), 101)
        self.assertEqual(self.status(request(connection="Upgraded")), 426)

    def test_page_without_upgrade_is_told_what_this_is(self) -> None:
        response, upgraded = answer(parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        head, _, body = response.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertFalse(upgraded)
        self.assertEqual(lines[0], b"HTTP/1.1 426 Upgrade Required")
        self.assertIn(b"Connection: close, Upgrade", lines)
        self.assertIn(b"Upgrade: websocket", lines)
        self.assertIn(b"Sec-WebSocket-Version: 13", lines)
        self.assertIn(b"Content-Type: text/plain; charset=utf-8", lines)
        self.assertIn(b"Content-Length: %d" % len(body), lines)
        self.assertIn(b"WebSocket", body)

    def test_head_gets_the_same_head_and_no_body(self) -> None:
        get, _ = answer(parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        without, upgraded = answer(parse_request(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"))
        self.assertEqual(without, get[: get.index(HEAD_END) + 4])
        self.assertFalse(upgraded)
        self.assertEqual(self.status(request("HEAD /chat HTTP/1.1")), 426)

    def test_http_1_0_cannot_upgrade_and_needs_no_host(self) -> None:
        self.assertEqual(self.status(request("GET / HTTP/1.0")), 426)
        self.assertEqual(self.status(b"GET / HTTP/1.0\r\n\r\n"), 426)

    def test_upgrade_needs_each_of_its_headers(self) -> None:
        for name, status in (("upgrade", 426), ("connection", 426), ("sec_websocket_version", 426)):
            with self.subTest(name):
                left_out: dict[str, str | None] = {name: None}
                self.assertEqual(self.status(request(**left_out)), status)
        self.assertEqual(self.status(request(sec_websocket_key=None)), 400)
        self.check_refused(request(host=None), 400)

    def test_other_versions_are_told_ours(self) -> None:
        for version in ("8", "12", "14", "013", "13, 8", ""):
            with self.subTest(version):
                head = request(sec_websocket_version=version)
                response, upgraded = answer(parse_request(head))
                self.assertFalse(upgraded)
                self.assertTrue(response.startswith(b"HTTP/1.1 426 "))
                self.assertIn(b"\r\nSec-WebSocket-Version: 13\r\n", response)

    def test_key_has_16_bytes_in_base64(self) -> None:
        for key in ("", "abc", "A" * 24, "A" * 21 + "===", "A" * 26 + "==", "A" * 21 + "\xe9=="):
            with self.subTest(key):
                self.assertEqual(self.status(request(sec_websocket_key=key)), 400)

    def test_pages_from_disk_and_programs_may_connect_and_foreign_pages_may_not(self) -> None:
        for origin, status in (
            (None, 101),
            ("null", 101),
            ("file://", 101),
            ("http://ours.example", 101),
            ("http://ours.example.evil.example", 403),
            ("http://ours.example:81", 403),
            ("https://ours.example", 403),
            ("http://localhost", 403),
            ("", 403),
        ):
            with self.subTest(origin):
                self.assertEqual(
                    self.status(request(origin=origin), None, {"http://ours.example"}), status
                )

    def test_host_has_to_be_one_of_those_allowed(self) -> None:
        allowed = {"localhost", "127.0.0.1", "::1"}
        for host, status in (
            ("localhost", 101),
            ("LocalHost:5672", 101),
            ("127.0.0.1:5672", 101),
            ("[::1]", 101),
            ("[::1]:5672", 101),
            ("evil.example:5672", 403),
            ("localhost.evil.example", 403),
            ("[::2]:5672", 403),
            ("", 403),
        ):
            with self.subTest(host):
                self.assertEqual(self.status(request(host=host), allowed), status)
        self.assertEqual(self.status(request(host="[::1]"), {"[::1]"}), 101)
        self.assertEqual(self.status(request(host="any.example")), 101)

    def test_malformed_host_is_refused(self) -> None:
        for host in ("::1", "[::1", "a:b", "a b", "a/b", "user@a", "a:80:80", "a:1234567"):
            with self.subTest(host):
                self.check_refused(request(host=host), 400)

    def test_other_methods_are_refused(self) -> None:
        for method in ("POST", "PUT", "OPTIONS", "CONNECT", "get"):
            with self.subTest(method):
                refusal = self.check_refused(request(f"{method} / HTTP/1.1"), 405)
                head, _, text = refusal.response().partition(HEAD_END)
                self.assertIn(b"\r\nAllow: GET, HEAD", head)
                self.assertIn(b"\r\nConnection: close\r\n", head)
                self.assertIn(b"\r\nContent-Length: %d" % len(text), head)
                self.assertEqual(text, refusal.reason.encode() + b"\n")

    def test_malformed_request_lines_are_refused(self) -> None:
        for line in (
            "",
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET / HTTP/2.0",
            "GET / HTTP/1.10",
            "GET / http/1.1",
            "GET /a b HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET a HTTP/1.1",
            "GET /\xe9 HTTP/1.1",
            "GET /\x00 HTTP/1.1",
            "G\tET / HTTP/1.1",
        ):
            with self.subTest(line):
                self.check_refused(request(line), 400)

    def test_malformed_header_lines_are_refused(self) -> None:
        good = request()
        for line in (
            b"no colon",
            b": no name",
            b"Space : before the colon",
            b" folded: line",
            b"\tfolded",
            b"a\nb: bare line feed in the name",
            b"a: bare\nline feed",
            b"a: bare\rreturn",
            b"a: \x00",
            b"a: \x7f",
            b"a(b): comment",
            b"\xe9: name beyond ASCII",
            b"",
        ):
            with self.subTest(line):
                self.check_refused(good[:-2] + line + b"\r\n\r\n", 400)
        self.assertEqual(self.status(good[:-2] + b"a: b\xffyond ASCII\r\n\r\n"), 101)

    def test_head_has_to_end_in_an_empty_line(self) -> None:
        for head in (b"", b"GET / HTTP/1.1", request()[:-2], request()[:-1], request() + b"x"):
            with self.subTest(head):
                self.check_refused(head, 400)

    def test_headers_that_decide_come_once(self) -> None:
        for name in ("Host", "Origin", "Sec-WebSocket-Key", "Sec-WebSocket-Version"):
            with self.subTest(name):
                line = f"{name}: null\r\n".encode()
                self.check_refused(request(origin="null")[:-2] + line + b"\r\n", 400)

    def test_lists_may_come_in_two_headers(self) -> None:
        head = request(upgrade="h2c", connection="close")
        head = head[:-2] + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        self.assertEqual(self.status(head), 101)

    def test_head_is_limited(self) -> None:
        size = len(request(padding=""))
        full = request(padding="x" * (MAX_HEAD_BYTES - size))
        over = request(padding="x" * (MAX_HEAD_BYTES - size + 1))
        self.assertEqual(len(full), MAX_HEAD_BYTES)
        self.assertEqual(self.status(full), 101)
        self.check_refused(over, 431)
        self.assertEqual(split_head(full), (full, b""))
        for data in (over, over[: MAX_HEAD_BYTES - 3]):
            with self.subTest(size=len(data)), self.assertRaises(HandshakeError) as caught:
                split_head(data)
            self.assertEqual(caught.exception.status, 431)
        self.assertIsNone(split_head(over[: MAX_HEAD_BYTES - 4]))

    def test_head_is_split_from_what_follows(self) -> None:
        head = request()
        for end in range(len(head)):
            self.assertIsNone(split_head(head[:end]))
        self.assertEqual(split_head(head), (head, b""))
        self.assertEqual(split_head(head + b"\x81\x80\r\n\r\n"), (head, b"\x81\x80\r\n\r\n"))

    def test_a_beginning_that_is_no_get_or_head_is_refused_at_once(self) -> None:
        for data in (b"P", b"GETS", b"HEADS", b"HT", b"get ", b"{", b"\x16\x03", b"\n"):
            with self.subTest(data), self.assertRaises(HandshakeError) as caught:
                split_head(data)
            self.assertEqual(caught.exception.status, 405)
        for data in (b"", b"G", b"GET", b"GET ", b"H", b"HEAD", b"HEAD "):
            with self.subTest(data):
                self.assertIsNone(split_head(data))

    def test_random_and_mutated_heads_raise_nothing_else(self) -> None:
        rng = random.Random(6455)
        good = request(origin="null")
        for _ in range(3000):
            head = bytearray(good)
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(head))
                head[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
            try:
                answer(parse_request(bytes(head)), allowed_hosts={"a"})
            except HandshakeError as refusal:
                self.assertTrue(refusal.response().startswith(b"HTTP/1.1 4"))
