"""The pattern lets through nothing but what the table does, and as the same."""

import random
import time
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from barker.wire import messages, protocol, quick
from barker.wire.protocol import ProtocolError
from tests.tools.fleet import SLOW

EPOCH = "0123456789abcdef"
SOURCE = messages.source(EPOCH)
TOO_LONG = '{"a":"%s"}' % ("x" * protocol.MAX_BODY_BYTES)
BODIES = (
    TOO_LONG,
    "{}",
    '{"a":1}',
    '{"a":"{"}',
    '{"a":"é"}',
    '{"a":[]}',
    '{"a":1.50,"a":"x"}',
    '{"a":"\\t"}',
)
SPLINTERS = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t", b"\r", b"\n", b"0", b",\t"),
    *(b"-1", b"1e5", b"9" * 15, b"9" * 16, b"\xff", b'"old":true,', b'"late":true,', b"A", b"{}"),
    *(b'"body":{}', b'"n":1,', b',"x":1', b"a/b", b"a" * 90, b'","', b'"],["', b"},{", b"null"),
    *(b"NaN", b'"bodies":[{}]', b'"to":[["a"]],', b"],["),
)


def without_it(line: bytes) -> dict[str, Any] | None:
    """What the table makes of the line; None if it is refused."""
    with mock.patch.object(quick, "decode", lambda line: None):
        try:
            return messages.decode(line)
        except ProtocolError:
            return None


class QuickTest(unittest.TestCase):
    def test_what_our_own_hot_paths_write_is_read_by_it(self) -> None:
        body = '{"id":"x","user":"rdl","content":"Wöof"}'.encode()
        three = [body] * 3
        to = [b'["outbox/rdl"]', b'["outbox/ark3"]', b'["outbox/rdl"]']
        serials = [b'"inbox/rdl":5', b'"inbox/ark3":0', b'"inbox/rdl":6']
        for line in (
            messages.ack_line(0),
            messages.ack_line(4096),
            messages.put_line(7, to[0], messages.unstamped(body)),
            messages.put_line(7, b'["bizlogic"]', messages.stamped(EPOCH, 12, body)),
            messages.puts_line(7, to, b"", [0, 0, 0], three),
            messages.puts_line(7, to, SOURCE, [12, 13, 15], three),
            messages.puts_line(7, [b'["bizlogic"]'] * 3, SOURCE, [0, 1, 10], three),
            messages.messages_line(EPOCH.encode(), serials[:1], [body], False),
            messages.messages_line(EPOCH.encode(), serials, three, False),
        ):
            message = quick.decode(line)
            self.assertIsNotNone(message, line)
            self.assertEqual(message, without_it(line), line)

    def test_mutated_lines_are_the_same_or_are_not_for_it(self) -> None:
        dice = random.Random(9)
        read = dict.fromkeys((b'{"op":"a', b'{"op":"p', b'{"op":"m', *quick.GROUPS), 0)
        rounds = 60_000 if SLOW else 12_000
        for _ in range(rounds):
            line = _any_line(dice)
            for _ in range(dice.randrange(3)):
                i = dice.randrange(len(line) + 1)
                line = line[:i] + dice.choice((b"", *SPLINTERS)) + line[i + dice.randrange(3) :]
            message = quick.decode(line)
            if message is not None:
                for beginning in read:
                    read[beginning] += line.startswith(beginning)
                self.assertEqual(message, without_it(line), line)
        self.assertGreater(min(read.values()), rounds // 50, read)

    def test_what_the_table_refuses_is_not_for_it(self) -> None:
        to = [b'["a"]', b'["b"]']
        bodies = [b"{}", TOO_LONG.encode()]
        for line in (
            messages.puts_line(7, to, SOURCE, [1, 2], bodies),
            messages.messages_line(EPOCH.encode(), [b'"a":1', b'"b":2'], bodies, False),
            # Python up to 3.11.4 takes this for two addresses, if the pattern has a `*+` there.
            b'{"op":"puts","seq":1,"to":[["a"],["b]],"bodies":[{},\t{}]}',
        ):
            self.assertIsNone(without_it(line), line)
            self.assertIsNone(quick.decode(line), line)

    def test_lists_of_different_lengths_are_not_for_it(self) -> None:
        line = messages.puts_line(7, [b'["a"]', b'["b"]'], SOURCE, [1, 2], [b"{}"] * 2)
        for right, wrong in (
            (b'["a"],["b"]', b'["a"],["b"],["c"]'),
            (b"[1,2]", b"[1,2,3]"),
            (b"[1,2]", b"[1]"),
            (b"{},\t{}", b"{},\t{},\t{}"),
        ):
            self.assertIsNone(quick.decode(line.replace(right, wrong)), wrong)

    def test_a_long_line_that_is_almost_right_takes_no_longer_than_its_length(self) -> None:
        def seconds(count: int, spoil: Callable[[bytes], bytes]) -> float:
            line = messages.puts_line(
                1, [b'["a/b"]', b'["a/c"]'] * count, SOURCE, [1, 2] * count, [b"{}"] * (2 * count)
            )
            line = spoil(line)
            begun = time.process_time()
            self.assertIsNone(quick.decode(line))
            return time.process_time() - begun

        for spoil in (
            lambda line: line + b" ",
            lambda line: line.replace(b"1,2]", b"1,x]"),
            lambda line: line.replace(b'"]],', b'"]x,'),
        ):
            few = min(seconds(500, spoil) for _ in range(3))
            many = min(seconds(8_000, spoil) for _ in range(3))
            self.assertLess(many, 16 * 8 * few + 0.01)


def _any_line(dice: random.Random) -> bytes:
    """One as `wire` writes them, with numbers and bodies of all kinds."""

    def number() -> int:
        return dice.choice((0, 1, 9, 10**14, protocol.MAX_COUNT))

    count = dice.choice((2, 3))
    some = [dice.choice(BODIES).encode() for _ in range(count)]
    if dice.random() < 0.7:
        some = [b'{"a":1}'] * count
    body, n, source = some[0], number(), dice.choice((b"", SOURCE))
    to = [dice.choice((b'["a/b"]', b'["a"]', b'["a/b"]', b'["a","b"]')) for _ in some]
    return dice.choice(
        (
            messages.ack_line(n),
            messages.put_line(n, to[0], messages.Load(source, n, body)),
            messages.messages_line(EPOCH.encode(), [b'"a/b":%d' % n], [body], False),
            messages.puts_line(n, to, source, [number() for _ in some], some),
            messages.puts_line(n, to[:1] * count, source, [1] * count, some),
            messages.messages_line(
                EPOCH.encode(), [b'"a/%d":%d' % (i, number()) for i in range(count)], some, False
            ),
        )
    )
