"""RFC 6455 section by section, with bytes written by hand in both directions."""

import random
import time
import unittest

from barker.websocket.frames import (
    BYTES_FOR_ONE,
    LIGHT_BYTES,
    MAX_MESSAGE_BYTES,
    CloseCode,
    FrameError,
    Message,
    Opcode,
    State,
    WebSocket,
    encode_close,
    encode_frame,
    unmask,
    valid_close_code,
)
from tests.tools.fleet import SLOW

MASK = b"\x37\xfa\x21\x3d"  # the one of the RFC's examples
NO_MASK = b"\0\0\0\0"  # masks like any other, and leaves a payload readable
TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


def client(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes = MASK) -> bytes:
    """A frame as a client sends it."""
    return encode_frame(opcode, payload, fin=fin, mask=mask)


def head(first: int, size: int, form: int) -> bytes:
    """A client's frame up to its mask, its length in the `form` asked for (7, 16 or 64 bits)."""
    second = size if form == 7 else 126 if form == 16 else 127
    extended = b"" if form == 7 else size.to_bytes(form // 8, "big")
    return bytes((first, 0x80 | second)) + extended + NO_MASK


def in_pieces(socket: WebSocket, data: bytes, size: int) -> list[Message]:
    """What `socket` makes of `data` if it comes `size` bytes at a time."""
    return [m for at in range(0, len(data), size) for m in socket.feed(data[at : at + size])]


class Codec(unittest.TestCase):
    """Every case runs three ways: whole, byte by byte, and with something behind it."""

    def check(
        self,
        data: bytes,
        messages: list[Message] | None = None,
        output: bytes = b"",
        *,
        state: State = State.OPEN,
        limit: int = 65536,
    ) -> None:
        """Assert what comes of `data`, however it comes."""
        messages = messages or []
        behind = client(TEXT, b"behind")
        follows = [Message(TEXT, b"behind")] if state is State.OPEN else []
        for way, pieces, expected in (
            ("whole", [data], messages),
            ("byte by byte", [data[i : i + 1] for i in range(len(data))], messages),
            ("with trailing data", [data + behind], messages + follows),
        ):
            with self.subTest(way):
                socket = WebSocket(limit)
                got: list[Message] = []
                for piece in pieces:
                    got += socket.feed(piece)
                self.assertEqual(got, expected)
                self.assertEqual(socket.state, state)
                self.assertEqual(socket.take_output(), output)
                self.assertEqual(socket.feed(behind), follows)

    def check_fails(
        self,
        data: bytes,
        code: int,
        messages: list[Message] | None = None,
        *,
        limit: int = 65536,
    ) -> None:
        """Assert that `data` fails the connection with a close frame of this code."""
        socket = WebSocket(limit)
        socket.feed(data)
        self.assertIsInstance(socket.error, FrameError)
        assert socket.error  # for mypy
        self.assertEqual(socket.error.code, code)
        self.check(
            data, messages, encode_close(code, socket.error.reason), state=State.CLOSED, limit=limit
        )


# --- Section 5: frames --------------------------------------------------------------------------
class Encoding(unittest.TestCase):
    """5.2, and the examples of 5.7."""

    def test_examples_of_5_7(self) -> None:
        for frame, expected in (
            (encode_frame(TEXT, b"Hello"), b"\x81\x05Hello"),
            (
                encode_frame(TEXT, b"Hello", mask=MASK),
                b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            ),
            (encode_frame(TEXT, b"Hel", fin=False), b"\x01\x03Hel"),
            (encode_frame(CONTINUATION, b"lo"), b"\x80\x02lo"),
            (encode_frame(PING, b"Hello"), b"\x89\x05Hello"),
            (
                encode_frame(PONG, b"Hello", mask=MASK),
                b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            ),
            (encode_frame(BINARY, bytes(256)), b"\x82\x7e\x01\x00" + bytes(256)),
            (encode_frame(BINARY, bytes(65536)), b"\x82\x7f" + bytes(5) + b"\x01" + bytes(65538)),
        ):
            self.assertEqual(frame, expected)

    def test_lengths_take_the_shortest_form(self) -> None:
        for size, start in (
            (0, b"\x81\x00"),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65535, b"\x81\x7e\xff\xff"),
            (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ):
            with self.subTest(size):
                frame = encode_frame(TEXT, bytes(size))
                self.assertEqual(frame, start + bytes(size))
                self.assertEqual(WebSocket().pack([bytes(size)]), frame)

    def test_a_long_reason_is_cut_between_characters(self) -> None:
        self.assertEqual(encode_close(1000, "x" * 123), b"\x88\x7d\x03\xe8" + b"x" * 123)
        self.assertEqual(encode_close(1000, "x" * 124), b"\x88\x7d\x03\xe8" + b"x" * 123)
        self.assertEqual(encode_close(1000, "é" * 62), b"\x88\x7c\x03\xe8" + "é".encode() * 61)


class Masking(unittest.TestCase):
    """5.3."""

    def test_both_ways_of_masking_do_what_the_rfc_says(self) -> None:
        rng = random.Random(53)
        for size in (*range(20), *range(1018, 1030), 4099, 70001):
            data, mask = rng.randbytes(size), rng.randbytes(4)
            expected = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            self.assertEqual(unmask(data, mask), expected, size)
            self.assertEqual(unmask(expected, mask), data, size)


class BaseFraming(Codec):
    """5.1 and 5.2: whole messages in single frames, and headers that are faults."""

    def test_masked_hello_of_5_7(self) -> None:
        frame = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        self.check(frame, [Message(TEXT, b"Hello")])

    def test_text_and_binary_of_every_form_of_length(self) -> None:
        for opcode in (TEXT, BINARY):
            for size in (0, 1, 125, 126, 127, 128, 1023, 1024, 1025):
                with self.subTest(opcode=opcode, size=size):
                    payload = b"*" * size
                    self.check(client(opcode, payload), [Message(opcode, payload)])

    def test_messages_around_64_kib(self) -> None:
        for size in (65535, 65536, 65537):
            for step in (1000, 65536, 70000):
                with self.subTest(size=size, step=step):
                    data, socket = client(BINARY, b"*" * size), WebSocket(65537)
                    got = in_pieces(socket, data, step)
                    self.assertEqual(got, [Message(BINARY, b"*" * size)])

    def test_many_messages_in_one_read(self) -> None:
        texts = [b"%d" % i * (i % 50) for i in range(200)]
        data = b"".join(client(TEXT, text) for text in texts)
        self.assertEqual(WebSocket().feed(data), [Message(TEXT, text) for text in texts])

    def test_every_first_byte_is_a_message_a_control_frame_or_a_fault(self) -> None:
        good = {0x81, 0x82, 0x01, 0x02, 0x88, 0x89, 0x8A}
        for first in range(256):
            with self.subTest(first=hex(first)):
                frame = bytes((first, 0x80)) + NO_MASK
                if first not in good:
                    self.check_fails(frame, 1002)
                else:
                    socket = WebSocket()
                    socket.feed(frame)
                    self.assertIsNone(socket.error)

    def test_server_refuses_unmasked_frames_of_every_opcode(self) -> None:
        for opcode in Opcode:
            with self.subTest(opcode):
                self.check_fails(encode_frame(opcode, b""), 1002)
        self.check_fails(b"\x81\x05Hello", 1002)

    def test_lengths_in_too_long_a_form_are_refused(self) -> None:
        for size, form in ((0, 16), (125, 16), (0, 64), (126, 64), (65535, 64)):
            with self.subTest(size=size, form=form):
                self.check_fails(head(0x82, size, form) + bytes(min(size, 200)), 1002)

    def test_highest_bit_of_a_64_bit_length_is_refused(self) -> None:
        self.check_fails(head(0x82, 1 << 63, 64), 1002, limit=1 << 63)
        self.check_fails(head(0x82, (1 << 64) - 1, 64), 1002, limit=1 << 63)
        self.check_fails(head(0x82, (1 << 63) - 1, 64), 1009)

    def test_faults_show_in_the_first_two_bytes(self) -> None:
        for data in (b"\xc1\x85", b"\x83\x80", b"\x81\x05", b"\x89\xfe", b"\x09\x80", b"\x88\x81"):
            with self.subTest(data):
                socket = WebSocket()
                socket.feed(data)
                self.assertEqual(socket.state is State.CLOSED, data != b"\x88\x81")

    def test_messages_before_a_fault_are_delivered_and_can_be_answered_first(self) -> None:
        socket = WebSocket()
        got = socket.feed(
            client(TEXT, b"a") + client(PING, b"b") + b"\x83\x80" + client(TEXT, b"c")
        )
        self.assertEqual(got, [Message(TEXT, b"a")])
        socket.send(TEXT, b"A")
        output = socket.take_output()
        self.assertTrue(output.startswith(b"\x8a\x01b\x81\x01A\x88"))
        self.assertIn(b"\x03\xea5.2", output)
        socket.send(TEXT, b"late")
        self.assertEqual(socket.take_output() + socket.pack([b"late"]), b"")


class Fragmentation(Codec):
    """5.4."""

    def test_fragmented_hello_of_5_7(self) -> None:
        data = client(TEXT, b"Hel", fin=False) + client(CONTINUATION, b"lo")
        self.check(data, [Message(TEXT, b"Hello")])

    def test_any_number_of_fragments(self) -> None:
        for count in (2, 3, 500):
            with self.subTest(count):
                middle = client(CONTINUATION, b"y", fin=False) * (count - 2)
                data = client(BINARY, b"x", fin=False) + middle + client(CONTINUATION, b"z")
                self.check(data, [Message(BINARY, b"x" + b"y" * (count - 2) + b"z")])

    def test_control_frames_between_fragments(self) -> None:
        data = (
            client(TEXT, b"a", fin=False)
            + client(PING, b"1")
            + client(CONTINUATION, b"b", fin=False)
            + client(PONG, b"2")
            + client(PING, b"3")
            + client(CONTINUATION, b"c")
        )
        self.check(data, [Message(TEXT, b"abc")], b"\x8a\x011\x8a\x013")

    def test_empty_fragments(self) -> None:
        for parts in ((b"", b"", b""), (b"", b"ab", b""), (b"a", b"", b"b")):
            with self.subTest(parts):
                first, middle, last = parts
                data = (
                    client(TEXT, first, fin=False)
                    + client(CONTINUATION, middle, fin=False)
                    + client(CONTINUATION, last)
                )
                self.check(data, [Message(TEXT, b"".join(parts))])

    def test_frames_without_content_have_a_budget_that_content_pays_back(self) -> None:
        many = MAX_MESSAGE_BYTES // BYTES_FOR_ONE
        content = client(TEXT, b"x" * (LIGHT_BYTES * (many + 1)))
        for light in (client(PING), client(PONG, b"x" * 125), client(TEXT, b"x")):
            with self.subTest(light):
                server = WebSocket()
                server.feed((light * many + content) * 3 + light * many)
                self.assertIsNone(server.error)
                server.feed(light)
                assert server.error
                self.assertEqual(server.error.code, CloseCode.POLICY_VIOLATION)
        server = WebSocket()
        server.feed(client(TEXT, b"x" * 100, fin=False) + client(CONTINUATION, fin=False) * many)
        self.assertIsNone(server.error)
        server.feed(client(CONTINUATION, fin=False) * 20)
        self.assertIsNotNone(server.error)

    def test_a_heartbeat_pays_for_a_ping(self) -> None:
        server = WebSocket()
        server.feed((client(PING) + client(TEXT, b'{"op":"pong"}')) * 5000)
        self.assertIsNone(server.error)

    def test_a_small_limit_has_a_small_budget_until_it_is_widened(self) -> None:
        server = WebSocket(1024)
        server.feed(client(PING) * 17)
        self.assertIsNotNone(server.error)
        server = WebSocket(1024)
        server.feed(client(PING) * 16)
        server.widen(MAX_MESSAGE_BYTES)
        server.feed(client(PING) * 1000 + client(TEXT, b"x" * 60_000))
        self.assertIsNone(server.error)

    def test_continuation_needs_a_start(self) -> None:
        for fin in (True, False):
            with self.subTest(fin=fin):
                self.check_fails(client(CONTINUATION, b"x", fin=fin), 1002)
                data = client(TEXT, b"a", fin=False) + client(CONTINUATION, b"b")
                again = client(CONTINUATION, b"x", fin=fin)
                self.check_fails(data + again, 1002, [Message(TEXT, b"ab")])

    def test_new_message_has_to_wait_for_the_end_of_the_last(self) -> None:
        for opcode in (TEXT, BINARY):
            for fin in (True, False):
                with self.subTest(opcode=opcode, fin=fin):
                    start = client(TEXT, b"a", fin=False)
                    self.check_fails(start + client(opcode, b"b", fin=fin), 1002)

    def test_a_message_in_small_fragments_takes_linear_time_and_any_number_of_them(self) -> None:
        piece = b"y" * LIGHT_BYTES

        def seconds(count: int) -> float:
            middle = client(CONTINUATION, piece, fin=False) * (count - 2)
            data = client(TEXT, piece, fin=False) + middle + client(CONTINUATION, piece)
            server, began = WebSocket(count * LIGHT_BYTES), time.process_time()
            self.assertEqual(
                len(in_pieces(server, data, 65536)[0].data), count * LIGHT_BYTES, server.error
            )
            return time.process_time() - began

        # 16 times the fragments. If each cost as much as there are before it: 256 times the time.
        small = min(seconds(8192) for _ in range(3))
        self.assertLess(seconds(16 * 8192), 100 * small)

    def test_a_large_frame_in_small_reads_takes_linear_time(self) -> None:
        def seconds(size: int) -> float:
            data = client(TEXT, b"x" * size)
            socket, began = WebSocket(size), time.process_time()
            self.assertEqual(len(in_pieces(socket, data, 1024)[0].data), size)
            return time.process_time() - began

        small = min(seconds(1 << 19) for _ in range(3))
        self.assertLess(seconds(1 << 23), 100 * small)


class ControlFrames(Codec):
    """5.5: close, ping, pong."""

    def test_ping_is_answered_with_its_payload(self) -> None:
        for payload in (b"", b"Hello", b"\x00\xff\xfe", b"x" * 125):
            with self.subTest(payload):
                self.check(client(PING, payload), [], encode_frame(PONG, payload))

    def test_every_ping_is_answered_in_order(self) -> None:
        data = b"".join(client(PING, b"%d" % i) for i in range(10))
        self.check(data, [], b"".join(b"\x8a\x01%d" % i for i in range(10)))

    def test_pong_needs_no_ping_and_no_answer(self) -> None:
        self.check(client(PONG) + client(PONG, b"unasked"))

    def test_control_frames_have_at_most_125_bytes(self) -> None:
        for opcode in (CLOSE, PING, PONG):
            with self.subTest(opcode):
                self.check_fails(client(opcode, b"\x03\xe8" + b"x" * 124), 1002)
                self.check_fails(head(0x80 | opcode, 70000, 64), 1002)

    def test_control_frames_are_never_fragmented(self) -> None:
        for opcode in (CLOSE, PING, PONG):
            with self.subTest(opcode):
                data = client(opcode, b"\x03\xe8", fin=False)
                self.check_fails(data, 1002)
                self.check_fails(client(TEXT, b"a", fin=False) + data, 1002)

    def test_a_continued_ping_is_no_message(self) -> None:
        socket = WebSocket()
        socket.feed(client(PING, b"a") + client(CONTINUATION, b"b"))
        output = socket.take_output()
        self.assertTrue(output.startswith(b"\x8a\x01a\x88"))
        self.assertEqual(output[5:7], b"\x03\xea")


class Closing(Codec):
    """5.5.1, 7.1 and 7.4."""

    def test_close_is_answered_with_its_code(self) -> None:
        self.check(client(CLOSE), [], b"\x88\x00", state=State.CLOSED)
        self.check(client(CLOSE, b"\x03\xe8"), [], b"\x88\x02\x03\xe8", state=State.CLOSED)
        self.check(
            client(CLOSE, b"\x0f\xa0" + "für immer".encode()),
            [],
            b"\x88\x02\x0f\xa0",
            state=State.CLOSED,
        )

    def test_what_the_peer_said_can_be_read(self) -> None:
        for payload, code, reason in (
            (b"", 1005, ""),
            (b"\x03\xe9", 1001, ""),
            (b"\x03\xe8bye", 1000, "bye"),
        ):
            with self.subTest(payload):
                socket = WebSocket()
                self.assertEqual(socket.close_code, 1006)
                socket.feed(client(CLOSE, payload))
                self.assertEqual((socket.close_code, socket.close_reason), (code, reason))
                self.assertIsNone(socket.error)

    def test_every_close_code_is_valid_or_a_fault(self) -> None:
        good = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
        for code in (*range(5100), *range(5100, 65536, 97), 65535):
            socket = WebSocket()
            socket.feed(client(CLOSE, code.to_bytes(2, "big")))
            self.assertEqual(socket.error is None, code in good, code)
            self.assertEqual(valid_close_code(code), code in good, code)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
            with self.subTest(code):
                self.check_fails(client(CLOSE, code.to_bytes(2, "big")), 1002)

    def test_half_a_code_is_a_fault(self) -> None:
        self.check_fails(client(CLOSE, b"\x03"), 1002)

    def test_reason_has_to_be_utf_8(self) -> None:
        for reason in (b"\xff", b"ok\xc3", b"\xed\xa0\x80"):
            with self.subTest(reason):
                self.check_fails(client(CLOSE, b"\x03\xe8" + reason), 1007)

    def test_nothing_is_delivered_or_answered_after_a_close(self) -> None:
        data = client(TEXT, b"a") + client(CLOSE) + client(TEXT, b"b") + client(PING) + b"\xff\xff"
        self.check(data, [Message(TEXT, b"a")], b"\x88\x00", state=State.CLOSED)

    def test_close_may_interrupt_a_fragmented_message(self) -> None:
        data = client(TEXT, b"a", fin=False) + client(CLOSE, b"\x03\xe8")
        self.check(data, [], b"\x88\x02\x03\xe8", state=State.CLOSED)

    def test_replies_go_out_before_the_answer_to_a_close_and_never_after(self) -> None:
        socket = WebSocket()
        socket.feed(client(PING) + client(TEXT, b"a") + client(CLOSE))
        self.assertEqual(socket.pack([b"b"]), b"\x81\x01b")
        socket.send(BINARY, b"c")
        self.assertEqual(socket.take_output(), b"\x8a\x00\x82\x01c\x88\x00")
        socket.send(BINARY, b"d")
        self.assertEqual(socket.pack([b"d"]), b"")
        self.assertEqual(socket.take_output(), b"")

    def test_our_own_close_waits_for_the_answer(self) -> None:
        socket = WebSocket()
        socket.send(TEXT, b"last")
        socket.close(1001, "bye")
        self.assertIs(socket.state, State.CLOSING)
        socket.send(TEXT, b"too late")
        self.assertEqual(socket.pack([b"too late"]), b"")
        self.assertEqual(socket.take_output(), b"\x81\x04last\x88\x05\x03\xe9bye")
        # 1.4: data on its way is discarded; 5.5.2: a ping is still answered.
        self.assertEqual(socket.feed(client(TEXT, b"on its way") + client(PING, b"?")), [])
        self.assertEqual(socket.take_output(), b"\x8a\x01?")
        self.assertIs(socket.state, State.CLOSING)
        self.assertEqual(socket.feed(client(CLOSE, b"\x03\xe9")), [])
        self.assertIs(socket.state, State.CLOSED)
        self.assertEqual(socket.take_output(), b"")

    def test_there_is_never_a_second_close_frame(self) -> None:
        for data in (client(CLOSE), b"\xff\xff", client(CLOSE) * 2):
            with self.subTest(data):
                socket = WebSocket()
                socket.close()
                socket.close(1001)
                socket.feed(data)
                socket.close()
                self.assertEqual(socket.take_output(), b"\x88\x02\x03\xe8")
                self.assertIs(socket.state, State.CLOSED)

    def test_codes_that_are_never_sent_are_not_sent(self) -> None:
        for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000):
            with self.subTest(code), self.assertRaises(ValueError):
                WebSocket().close(code)


# --- Section 8: text ----------------------------------------------------------------------------
GOOD_CHARACTERS = ("\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffe", "\uffff")
GOOD_TEXT = ("\U00010000", "\U0010ffff", "κόσμε", "Hello-µ@ßöäüàá-UTF-8!!", "𝄞🐕")
# Bad text, and how many of its bytes can still become good.
BAD_TEXT = (
    (b"\x80", 0),  # a continuation on its own
    (b"\xbf", 0),
    (b"ab\xff", 2),
    (b"\xfe", 0),
    (b"\xc0\x80", 0),  # longer forms of NUL and "/"
    (b"\xc1\xbf", 0),
    (b"\xe0\x80\xaf", 1),
    (b"\xe0\x9f\xbf", 1),
    (b"\xf0\x80\x80\xaf", 1),
    (b"\xf0\x8f\xbf\xbf", 1),
    (b"\xed\xa0\x80", 1),  # halves of surrogate pairs
    (b"\xed\xbf\xbf", 1),
    (b"\xf4\x90\x80\x80", 1),  # beyond U+10FFFF
    (b"\xf5\x80\x80\x80", 0),
    (b"\xf8\x88\x80\x80\x80", 0),  # five and six bytes
    (b"\xfc\x84\x80\x80\x80\x80", 0),
    (b"\xc3\x41", 1),  # characters cut short
    (b"\xe2\x82\x41", 2),
    (b"\xf0\x9f\x90\x41", 3),
)


class TextIsUtf8(Codec):
    """8.1, and 5.6: checked as the bytes arrive."""

    def test_valid_text_in_one_frame_and_in_fragments_of_one_byte(self) -> None:
        for text in GOOD_CHARACTERS + GOOD_TEXT:
            with self.subTest(text):
                data = text.encode("utf-8")
                self.check(client(TEXT, data), [Message(TEXT, data)])
                pieces = [
                    client(CONTINUATION, data[i : i + 1], fin=False) for i in range(len(data))
                ]
                fragments = client(TEXT, fin=False) + b"".join(pieces) + client(CONTINUATION)
                self.check(fragments, [Message(TEXT, data)])

    def test_every_two_and_many_three_bytes_are_refused_at_once_if_no_text_begins_so(self) -> None:
        characters = [chr(code) for code in range(0, 0x110000, 64) if not 0xD800 <= code < 0xE000]
        starts = {character.encode()[:i] for character in characters for i in (1, 2, 3)}
        edges = (0, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
        seconds = range(0x100) if SLOW else edges
        for first in range(0x80, 0x100):
            for second in seconds:
                for third in ((), (0x7F,), (0x80,), (0xBF,), (0xC0,)):
                    data = bytes((first, second, *third))
                    try:
                        data.decode()
                        whole = begun = True
                    except UnicodeDecodeError as fault:
                        whole, begun = False, data[fault.start :] in starts
                    socket = WebSocket()
                    socket.feed(client(TEXT, data, fin=False))
                    self.assertEqual(socket.state is State.OPEN, begun, data)
                    socket.feed(client(CONTINUATION))
                    self.assertEqual(socket.state is State.OPEN, whole, data)

    def test_bad_text_is_refused(self) -> None:
        for text, _ in BAD_TEXT:
            with self.subTest(text):
                self.check_fails(client(TEXT, text), 1007)

    def test_binary_may_hold_anything(self) -> None:
        for text, _ in BAD_TEXT:
            with self.subTest(text):
                self.check(client(BINARY, text), [Message(BINARY, text)])

    def test_bad_text_fails_at_its_first_bad_byte_before_frame_and_message_end(self) -> None:
        for text, good in BAD_TEXT:
            for before in (b"", b"abc", "é".encode()):
                whole = before + text + b"x" * 100
                with self.subTest(text=text, before=before, by="bytes of a frame"):
                    socket = WebSocket()
                    frame = client(TEXT, whole)
                    start = len(frame) - len(whole)
                    last = start + len(before) + good  # where the bad byte is
                    for at in range(last):
                        socket.feed(frame[at : at + 1])
                    self.assertIsNone(socket.error)
                    socket.feed(frame[last : last + 1])
                    self.assertIs(socket.state, State.CLOSED)
                    self.assertEqual(socket.take_output()[2:4], b"\x03\xef")
                with self.subTest(text=text, before=before, by="fragments"):
                    socket = WebSocket()
                    socket.feed(client(TEXT, whole[: len(before) + good], fin=False))
                    self.assertIsNone(socket.error)
                    bad = whole[len(before) + good :][:1]
                    socket.feed(client(CONTINUATION, bad, fin=False))
                    self.assertIs(socket.state, State.CLOSED)

    def test_a_character_may_not_be_cut_by_the_end_of_the_message(self) -> None:
        for text in ("é", "€", "🐕"):
            data = text.encode()
            for cut in range(1, len(data)):
                with self.subTest(text=text, cut=cut):
                    self.check_fails(client(TEXT, b"ok" + data[:cut]), 1007)
                    start = client(TEXT, data[:cut], fin=False)
                    self.check_fails(start + client(CONTINUATION), 1007)

    def test_a_cut_character_is_not_carried_into_the_next_message(self) -> None:
        dog = "🐕".encode()
        data = client(TEXT, dog[:2], fin=False) + client(CONTINUATION, dog[2:]) + client(TEXT, b"x")
        self.check(data, [Message(TEXT, dog), Message(TEXT, b"x")])
        self.check_fails(
            client(TEXT, dog[:2], fin=False)
            + client(CONTINUATION, dog[2:])
            + client(TEXT, dog[2:]),
            1007,
            [Message(TEXT, dog)],
        )


# --- Section 10: limits, and everything at once -------------------------------------------------
class Limits(Codec):
    """10.4: sizes are known from headers, before there is anything to hold."""

    def test_a_frame_of_the_limit_passes_and_one_byte_more_does_not(self) -> None:
        for limit in (0, 1, 125, 126, 1000):
            with self.subTest(limit):
                payload = b"x" * limit
                self.check(client(TEXT, payload), [Message(TEXT, payload)], limit=max(limit, 6))
                socket = WebSocket(limit)
                self.assertEqual(socket.feed(client(TEXT, payload)), [Message(TEXT, payload)])
                self.check_fails(client(TEXT, payload + b"x"), 1009, limit=limit)

    def test_fragments_are_summed_up(self) -> None:
        start = client(BINARY, b"x" * 60, fin=False)
        self.check(
            start + client(CONTINUATION, b"y" * 40),
            [Message(BINARY, b"x" * 60 + b"y" * 40)],
            limit=100,
        )
        self.check_fails(start + client(CONTINUATION, b"y" * 41), 1009, limit=100)

    def test_the_header_alone_is_enough(self) -> None:
        for header in (head(0x82, 65537, 64), head(0x02, 65537, 64), head(0x82, 1 << 40, 64)):
            with self.subTest(header):
                self.check_fails(header, 1009)
                self.check_fails(header[:-4], 1009)

    def test_the_limit_is_for_each_message(self) -> None:
        self.check(client(TEXT, b"x" * 10) * 9, [Message(TEXT, b"x" * 10)] * 9, limit=10)


class Fuzz(unittest.TestCase):
    """Seeded, so that what fails once fails always."""

    def outcome(self, pieces: list[bytes]) -> tuple[object, ...]:
        socket = WebSocket(4096)
        messages: list[Message] = []
        for piece in pieces:
            messages += socket.feed(piece)
        error = socket.error and (socket.error.code, socket.error.reason)
        output = socket.take_output()
        return messages, socket.state, error, output, socket.close_code, socket.close_reason

    def chop(self, rng: random.Random, data: bytes) -> list[bytes]:
        pieces = []
        while data:
            size = rng.choice((1, 2, 3, 7, 50, 1000))
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    def conversation(self, rng: random.Random) -> bytes:
        data = b""
        for _ in range(rng.randrange(1, 8)):
            kind = rng.randrange(4)
            if kind == 0:
                data += client(PING, rng.randbytes(rng.randrange(126)), mask=rng.randbytes(4))
                continue
            opcode = TEXT if kind == 1 else BINARY
            text = rng.choice(("dog", "Hündin 🐕 ")) * rng.randrange(200)
            payload = text.encode() if opcode is TEXT else rng.randbytes(rng.randrange(2000))
            while len(payload) > 1 and rng.random() < 0.4:
                cut = rng.randrange(len(payload))
                data += client(opcode, payload[:cut], fin=False, mask=rng.randbytes(4))
                payload, opcode = payload[cut:], CONTINUATION
            data += client(opcode, payload, mask=rng.randbytes(4))
        if rng.random() < 0.3:
            data += client(CLOSE, b"\x03\xe8" + b"bye" * rng.randrange(9), mask=rng.randbytes(4))
        return data

    def test_chunks_make_no_difference(self) -> None:
        rng = random.Random(1)
        for _ in range(300):
            data = self.conversation(rng)
            whole = self.outcome([data])
            self.assertIsNone(whole[2])
            self.assertEqual(self.outcome(self.chop(rng, data)), whole)

    def test_mutated_frames_raise_nothing_and_chunks_make_no_difference(self) -> None:
        rng = random.Random(2)
        for _ in range(600):
            data = bytearray(self.conversation(rng))
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(data))
                data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
                data = data or bytearray(b"\0")
            whole = self.outcome([bytes(data)])
            self.assertEqual(self.outcome(self.chop(rng, bytes(data))), whole)

    def test_random_bytes_raise_nothing(self) -> None:
        rng = random.Random(3)
        for _ in range(2000):
            data = rng.randbytes(rng.randrange(1, 60))
            if rng.random() < 0.5:  # past the checks of the first two bytes
                data = bytes((data[0] & 0x8F, data[-1] | 0x80)) + data
            self.assertEqual(self.outcome(self.chop(rng, data)), self.outcome([data]))
