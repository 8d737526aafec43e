"""Lines out of what a connection reads, whatever pieces it comes in."""

import unittest

from barker.links.framing import LineFraming, WebSocketFraming
from barker.websocket.frames import Opcode, encode_frame
from barker.wire import protocol


class LineFramingTest(unittest.TestCase):
    LIMIT = 10

    def assertFeeds(self, data: bytes, lines: list[bytes], code: str | None = None) -> None:
        """Whole, byte by byte, and with something after it."""
        for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
            framing = LineFraming(self.LIMIT)
            self.assertEqual([m for c in chunks for m in framing.feed(c)], lines)
            self.assertEqual(framing.error and framing.error.code, code)
        if not code:
            framing = LineFraming(self.LIMIT)
            self.assertEqual(framing.feed(data + b"tail"), lines)
            self.assertEqual(framing.feed(b"\n"), [b"tail"])

    def test_lines_come_out_as_they_went_in(self) -> None:
        self.assertFeeds(b"", [])
        self.assertFeeds(b"one\n", [b"one"])
        self.assertFeeds(b"one\n\n\xff\r\nthree\n", [b"one", b"", b"\xff\r", b"three"])

    def test_many_lines_of_one_read_may_be_longer_than_the_limit_together(self) -> None:
        self.assertFeeds(b"123456789\n" * 20, [b"123456789"] * 20)

    def test_a_line_of_the_limit_is_taken_and_one_byte_more_is_not(self) -> None:
        self.assertFeeds(b"x" * 10 + b"\n", [b"x" * 10])
        self.assertFeeds(b"x" * 11 + b"\n", [], protocol.TOO_LARGE)
        self.assertFeeds(b"x" * 11, [], protocol.TOO_LARGE)
        self.assertFeeds(b"ok\n" + b"x" * 10 + b"\n", [b"ok", b"x" * 10])

    def test_lines_before_the_over_long_one_still_count_and_those_after_it_do_not(self) -> None:
        self.assertFeeds(b"a\nb\n" + b"x" * 11 + b"\nc\n", [b"a", b"b"], protocol.TOO_LARGE)
        self.assertFeeds(b"a\nb\n" + b"x" * 11, [b"a", b"b"], protocol.TOO_LARGE)

    def test_the_error_stays(self) -> None:
        framing = LineFraming(self.LIMIT)
        framing.feed(b"x" * 11)
        error = framing.error
        self.assertEqual([framing.feed(b"\nok\n"), framing.feed(b"")], [[], []])
        self.assertIs(framing.error, error)

    def test_the_default_limit_is_the_protocol_s(self) -> None:
        for size, fits in ((protocol.MAX_LINE_BYTES, True), (protocol.MAX_LINE_BYTES + 1, False)):
            framing = LineFraming()
            self.assertEqual(len(framing.feed(b"x" * size + b"\n")), fits)
            self.assertEqual(framing.error is None, fits)

    def test_what_is_packed_comes_out_of_the_other_side(self) -> None:
        messages = [b"a", b"", b"bb"]
        self.assertEqual(LineFraming().feed(LineFraming().pack(messages)), messages)
        self.assertEqual(LineFraming().take_output(), b"")


class CodesTest(unittest.TestCase):
    def test_a_message_over_the_limit_has_one_code_in_both_framings(self) -> None:
        large = b"x" * (protocol.MAX_LINE_BYTES + 1)
        line, page = LineFraming(), WebSocketFraming()
        self.assertEqual(line.feed(large), [])
        self.assertEqual(page.feed(encode_frame(Opcode.TEXT, large, mask=b"abcd")), [])
        for framing in (line, page):
            assert framing.error
            self.assertEqual(framing.error.code, protocol.TOO_LARGE)
