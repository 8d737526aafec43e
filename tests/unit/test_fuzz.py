"""Input that nobody meant: promise 7, against every kind of service there is.

Every attack is a number of connections that say what no honest peer would, at one of three stages
(before the hello, between hello and proof, as one of us), in either framing. Afterwards everything
has to be as it was: the services live, links that were there before still answer, nothing was
logged as a fault of ours, and no connection, task or file is left.

What is said comes from seeded dice, so that a failure can be had again: BARKER_FUZZ_SEED is the
seed, and with BARKER_SLOW=1 there are ten times as many rounds. Messages are made from the types
of the wire (`tests.tools.generator`).
"""

import asyncio
import contextlib
import gc
import importlib
import json
import logging
import os
import random
import socket
import struct
import unittest
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import ClassVar

from barker.disk import files
from barker.inbox import Inbox
from barker.links import connection as connection_module
from barker.links import greeting, porch
from barker.process.service import Service
from barker.wire import messages, protocol, strictjson
from barker.wire.fields import is_raw
from barker.wire.ops import OPS, Ping, Put
from tests.tools import wireclient
from tests.tools.fleet import DEADLINE_S, SLOW, until
from tests.tools.generator import bad, line, message
from tests.tools.wireclient import (
    NONCE,
    WRONG_SECRET,
    Message,
    WebSocketWire,
    Wire,
    WireTest,
    bark,
    put,
)
from tests.unit.test_link import descriptors, open_files

SEED = int(os.environ.get("BARKER_FUZZ_SEED", "7"))
ROUNDS = 10 if SLOW else 1


# --- what there is to attack ----------------------------------------------------------------------
def kinds() -> list[tuple[type[Service], tuple[str, ...]]]:
    """Every service of the product with the arguments it needs; the directory is the first."""
    for folder in ("barker", "monitoring"):
        for path in sorted((files.ROOT / folder).glob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "(Service" in text or "(Manifold" in text:
                importlib.import_module(f"{folder}.{path.stem}")
    found = [
        kind
        for kind in _subclasses(Service)
        if not kind.__subclasses__() and kind.__module__.startswith(("barker.", "monitoring."))
    ]
    argv: dict[type[Service], tuple[str, ...]] = {}
    found.sort(key=lambda kind: not kind.is_directory)
    return [(kind, argv.get(kind, ())) for kind in found]


def _subclasses(kind: type[Service]) -> Iterator[type[Service]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


# --- what there is to say -------------------------------------------------------------------------
def any_line(dice: random.Random) -> bytes:
    return line(message(dice.choice([*OPS, "put", "subscribe"]), dice))


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Bytes that are nearly the same: flipped, cut, doubled, moved."""
    result = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        at = dice.randrange(len(result) + 1)
        piece = result[at : at + dice.randint(1, 8)]
        choice = dice.randrange(6)
        if choice == 0 and result:
            result[at % len(result)] ^= 1 << dice.randrange(8)
        elif choice == 1:
            del result[at : at + len(piece)]
        elif choice == 2:
            result[at:at] = piece * dice.randint(1, 50)
        elif choice == 3:
            result[at:at] = dice.randbytes(dice.randint(1, 8))
        elif choice == 4:
            result[at:at] = dice.choice(TOKENS)
        elif choice == 5:
            del result[at:]
    return bytes(result)


TOKENS = (
    *(b"\n", b"\r\n", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"', b"{", b"}", b"["),
    *(
        b',"bodies":[',
        b",\t",
        b'"op":',
        b'"op":"put",',
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 5000,
        b"\\u",
    ),
    *(b"\\ud800", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"[" * 3000, b'{"a":' * 3000),
)
# Things that parsers are known to trip over, as values, written by hand.
NASTY_VALUES = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 4000, b"9" * 5000, b"1E400"),
    *(b"1e-999", b"-0", b"01", b"1.", b".5", b"0x10", b"'x'", b"undefined", b"tru", b""),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\xed\xa0\x80"', b'"\xff"', b'"\xc0\x80"'),
    *(b'"' + b"\\u0041" * 8000 + b'"', b'"\\', b'"\t"', b'"\x00"', b"[" * 60000, b'{"a":' * 10000),
    *(b"[" * 900 + b"]" * 900, b"[" * 20000 + b"]" * 20000, b'{"a":' * 900 + b"1" + b"}" * 900),
)


def nasty_lines() -> Iterator[bytes]:
    """Every nasty value in every field of every op, as a key, and twice under one key."""
    dice = random.Random(1)
    for op, spec in OPS.items():
        for name in (*(field.name for field in spec.fields), "more"):
            for nasty in NASTY_VALUES:
                said = message(op, dice)
                said.pop(name, None)
                yield b'%b,"%b":%b}' % (line(said)[:-1], name.encode(), nasty)
    for nasty in NASTY_VALUES:
        yield nasty
        yield b'{"op":"ping",%b:1}' % nasty
        yield b'{"op":%b}' % nasty


# --- attacking ------------------------------------------------------------------------------------
STAGES = ("stranger", "greeted", "trusted")
ENDINGS = ("stay", "half-closed", "closed", "reset")


class _Faults(logging.Handler):
    """What was logged as a fault of ours. What a service says of its peers' is none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno > logging.ERROR or record.name == "asyncio":
            self.told.append(self.format(record))


class FuzzTest(WireTest):
    """A whole system in this loop: each kind of service, and they know each other."""

    usual: ClassVar[tuple[int, ...]] = ()

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        logging.getLogger("barker").setLevel(logging.ERROR)  # what is refused is no news
        self.patch(wireclient._handler, "level", logging.CRITICAL)
        self.addCleanup(logging.getLogger("barker").setLevel, logging.NOTSET)
        self.patch(connection_module, "LINGER_S", 0.2)
        self.dice = random.Random(SEED)
        self.services: list[Service] = []
        directory = None
        for kind, argv in kinds():
            service = await self.serve(kind, *argv, directory=directory)
            directory = directory or service.port
            self.services.append(service)
        self.bystanders = [await self.open(s.port, "bystander") for s in self.services]
        for bystander in self.bystanders:
            await bystander.before_pong()
        await self.settled()

    async def settled(self) -> None:
        """Wait until all services have found each other, which they do by themselves.

        Then nothing changes any more; how many links that makes is the same in all tests.
        """
        same, last = 0, self.left()
        async with asyncio.timeout(DEADLINE_S):
            while same < (2 if last[:3] == FuzzTest.usual else 15):
                await asyncio.sleep(0.02)
                same, last = (same + 1 if self.left() == last else 0), self.left()
        FuzzTest.usual = last[:3]

    @contextlib.asynccontextmanager
    async def attacking(self) -> AsyncIterator[None]:
        """Afterwards everything is as it was before; `left` waits for it."""
        before = self.left()
        faults = _Faults()
        logging.getLogger().addHandler(faults)
        try:
            yield
            try:
                await until(lambda: self.left() <= before, "all is as before")
            except AssertionError:
                self.fail(f"{before} before, now {self.left()}; seed {SEED}")
            gc.collect()  # so that a task's forgotten fault is told
            await asyncio.sleep(0)
        finally:
            logging.getLogger().removeHandler(faults)
        self.assertEqual(faults.told, [], f"seed {SEED}")
        for service, bystander in zip(self.services, self.bystanders, strict=True):
            await bystander.before_pong()
            async with await Wire.open(service.port, self.secret, "another") as connection:
                await connection.before_pong()
            self.assertFalse(service._stop.is_set(), service.kind)

    def left(self) -> tuple[int, int, int, int]:
        """Links, strangers, tasks and files."""
        links = sum(len(service.links) for service in self.services)
        strangers = sum(service.acceptor.greeting for service in self.services)
        return links, strangers, len(asyncio.all_tasks()), descriptors()

    async def attack(
        self,
        service: Service,
        framing: type[Wire],
        stage: str,
        say: Callable[[Wire], Sequence[bytes]],
        ending: str,
    ) -> list[Message] | None:
        """One connection from beginning to end; what it heard, if it was not cut."""
        async with await framing.connect(service.port) as connection:
            try:
                if isinstance(connection, WebSocketWire):
                    await connection.upgrade()
                if stage != "stranger":
                    connection.say_hello()
                    hello = await connection.expect("hello")
                    if stage == "trusted":
                        connection.prove(self.secret, NONCE, hello["nonce"])
                        await connection.expect("proof")
                for data in say(connection):
                    connection.write(data)
                    await connection.drain()
                return await self.end(connection, ending)
            except (ConnectionError, asyncio.IncompleteReadError):
                return None
            except json.JSONDecodeError as answer:  # what begins like HTTP is answered in HTTP
                self.assertEqual(answer.doc[:9], "HTTP/1.1 ")
                return None

    @staticmethod
    async def end(connection: Wire, ending: str) -> list[Message] | None:
        if ending == "half-closed":
            connection.end()
            return await connection.rest()
        if ending == "reset":
            channel = connection._writer.get_extra_info("socket")
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif ending == "stay":  # for long enough that all of it was read
            with contextlib.suppress(TimeoutError):
                await connection.heard(0.02)
        return None

    async def attack_all(
        self,
        say: Callable[[Wire], Sequence[bytes]],
        count: int,
        stages: Sequence[str] = STAGES,
        endings: Sequence[str] = ENDINGS,
    ) -> None:
        """`count` times: each service in each framing at each stage, a few at once."""
        dice = self.dice
        for _ in range(count * ROUNDS):
            async with self.attacking():
                await asyncio.gather(
                    *(
                        self.attack(service, framing, stage, say, dice.choice(endings))
                        for service in self.services
                        for framing in (Wire, WebSocketWire)
                        for stage in stages
                    )
                )


class BytesTest(FuzzTest):
    async def test_random_bytes(self) -> None:
        dice = self.dice

        def say(_: Wire) -> list[bytes]:
            sizes = [dice.choice((1, 2, 10, 100, 3000, 70_000)) for _ in range(dice.randint(1, 4))]
            return [dice.randbytes(size) for size in sizes]

        await self.attack_all(say, 1)

    async def test_random_payloads_in_sound_frames_and_lines(self) -> None:
        dice = self.dice

        def say(connection: Wire) -> list[bytes]:
            payloads = [dice.randbytes(dice.randint(0, 200)) for _ in range(3)]
            if isinstance(connection, WebSocketWire):
                return [connection.frame(p, dice.randrange(16)) for p in payloads]
            return [p + b"\n" for p in payloads]

        await self.attack_all(say, 1)

    async def test_valid_messages_that_were_mutated_truncated_and_merged(self) -> None:
        dice = self.dice

        def say(connection: Wire) -> list[bytes]:
            lines = [any_line(dice) for _ in range(dice.randint(1, 4))]
            lines[-1] = mutated(lines[-1], dice)
            if isinstance(connection, WebSocketWire):
                packed = [connection.frame(x) for x in lines]
                if dice.random() < 0.5:  # also the frame itself
                    packed[-1] = mutated(packed[-1], dice)
                return packed
            ends = [dice.choice((b"\n", b"\n", b"\n", b"", b"\r", b"\n\n")) for _ in lines]
            return [x + end for x, end in zip(lines, ends, strict=True)]

        await self.attack_all(say, 3)

    async def test_requests_that_were_mutated(self) -> None:
        """The opening handshake of a browser, up to and over the edge of HTTP."""
        dice = self.dice
        request = (
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Origin: null\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        for _ in range(6 * ROUNDS):
            async with self.attacking():
                await asyncio.gather(
                    *(
                        self.attack(
                            service,
                            Wire,
                            "stranger",
                            lambda _: [mutated(request, dice), any_line(dice) + b"\n"],
                            dice.choice(ENDINGS[1:]),
                        )
                        for service in self.services
                    )
                )

    async def test_frames_in_pieces_and_out_of_turn(self) -> None:
        dice = self.dice

        def say(connection: Wire) -> list[bytes]:
            assert isinstance(connection, WebSocketWire)
            packed = b""
            for _ in range(dice.randint(1, 6)):
                opcode = dice.choice((0, 0, 1, 1, 2, 8, 9, 10))
                frame = bytearray(
                    connection.frame(any_line(dice)[: dice.choice((20, 9999))], opcode)
                )
                if dice.random() < 0.4:
                    frame[0] &= 0x7F  # 5.2: not the last fragment
                packed += frame
            cut = dice.randrange(len(packed))
            return [packed[:cut], packed[cut:]]

        for _ in range(2 * ROUNDS):
            async with self.attacking():
                await asyncio.gather(
                    *(
                        self.attack(service, WebSocketWire, stage, say, dice.choice(ENDINGS))
                        for service in self.services
                        for stage in STAGES
                    )
                )


class MessageTest(FuzzTest):
    async def test_valid_messages_in_any_order(self) -> None:
        dice = self.dice

        def say(connection: Wire) -> list[bytes]:
            ops = dice.choices([*OPS, "put", "subscribe"], k=dice.randint(1, 8))
            return [connection.pack([message(op, dice) for op in ops])]

        await self.attack_all(say, 3)

    async def test_puts_that_are_numbered_as_they_should_be(self) -> None:
        """So that what is in them is looked at, and not only their number."""
        dice = self.dice

        def say(connection: Wire) -> list[bytes]:
            puts, seq = [], 1
            for _ in range(30):
                puts.append({**message("put", dice), "seq": seq})
                seq += len(puts[-1]["bodies"])
            return [connection.pack(puts)]

        await self.attack_all(say, 2, stages=("trusted",))

    async def test_a_wrong_value_in_any_field_of_any_op_is_one_error(self) -> None:
        dice = self.dice
        cases: list[Message] = []
        for op, spec in OPS.items():
            for field in spec.fields:
                if field.check is not is_raw:
                    cases += ({**message(op, dice), field.name: bad(field, dice)} for _ in range(2))
                if field.required:
                    said = message(op, dice)
                    del said[field.name]
                    cases.append(said)
        for i, case in enumerate(cases):
            framing = (Wire, WebSocketWire)[i % 2]
            async with contextlib.AsyncExitStack() as stack:
                if i % 20 == 0:
                    await stack.enter_async_context(self.attacking())
                services = self.services if SLOW else dice.sample(self.services, 2)
                await asyncio.gather(*(self.one_error(s, framing, case) for s in services))

    async def one_error(self, service: Service, framing: type[Wire], case: Message) -> None:
        heard = await self.attack(
            service, framing, "trusted", lambda c: [c.pack([case])], "half-closed"
        )
        said = f"{service.kind} to {line(case)[:300]!r}"
        assert heard is not None, said
        # Not what a service tells whoever has just come; that is none of an answer.
        self.assertEqual([m["op"] for m in heard], ["error"], said)
        self.assertEqual(heard[0]["code"], protocol.PROTOCOL, said)

    async def test_what_parsers_trip_over_in_any_field_of_any_op(self) -> None:
        lines = list(nasty_lines())
        self.dice.shuffle(lines)
        lines = lines if SLOW else lines[:120]
        while lines:
            some, lines = lines[:60], lines[60:]
            async with self.attacking():
                await asyncio.gather(
                    *(
                        self.attack(
                            self.services[i % len(self.services)],
                            framing,
                            "trusted",
                            _saying(data),
                            "half-closed",
                        )
                        for i, data in enumerate(some)
                        for framing in (Wire, WebSocketWire)
                    )
                )

    async def test_strangers_get_one_error_for_whatever_they_say(self) -> None:
        """Every op, as the first word and in the place of the proof, in both framings."""
        dice = self.dice
        async with self.attacking():
            for framing in (Wire, WebSocketWire):
                for op in [*OPS, "what"]:
                    said = message(op, dice) if op in OPS else {"op": op}
                    for stage in ("stranger", "greeted"):
                        if op == "hello" and stage == "stranger":
                            said = {
                                "op": "hello",
                                "v": protocol.VERSION + 1,
                                "name": "x",
                                "nonce": NONCE,
                            }
                        more = put(1, ["inbox/ark3"], bark("ark3", "1"))
                        words = [framing.pack([said, more])]
                        service = dice.choice(self.services)
                        heard = await self.attack(
                            service, framing, stage, _words(words), "half-closed"
                        )
                        assert heard is not None, f"{op} {stage}"
                        expected = [] if op == "error" else ["error"]
                        self.assertEqual([m["op"] for m in heard], expected, f"{op} {stage}")

    async def test_who_has_another_secret_gets_one_error_from_everybody(self) -> None:
        async with self.attacking():
            for service in self.services:
                for framing in (Wire, WebSocketWire):
                    async with await framing.connect(service.port) as connection:
                        if isinstance(connection, WebSocketWire):
                            await connection.upgrade()
                        connection.say_hello()
                        hello = await connection.expect("hello")
                        connection.prove(WRONG_SECRET, NONCE, hello["nonce"])
                        (error,) = await connection.rest()
                        self.assertEqual(
                            (error["op"], error["code"]), ("error", protocol.BAD_PROOF)
                        )

    async def test_a_proof_of_the_other_role_or_for_other_nonces_is_refused(self) -> None:
        service = self.services[0]
        async with self.attacking():
            for role, nonces in (
                (greeting.ACCEPTOR, (NONCE, None)),
                (greeting.OPENER, (None, NONCE)),
                (greeting.OPENER, (NONCE, NONCE)),
            ):
                async with await Wire.connect(service.port) as connection:
                    connection.say_hello()
                    hello = await connection.expect("hello")
                    opener, acceptor = (nonce or hello["nonce"] for nonce in nonces)
                    connection.prove(self.secret, opener, acceptor, role)
                    (error,) = await connection.rest()
                    self.assertEqual((error["op"], error["code"]), ("error", protocol.BAD_PROOF))

    async def test_the_last_of_two_equal_keys_counts_as_it_does_for_a_browser(self) -> None:
        """ECMA-262, 25.5.1: so do all our parsers, whichever way a line takes through them."""
        twice = (
            b'{"op":"moved","op":"ping"}',
            b'{"op":"put","seq":7,"to":["a/b"],"to":["c/d"],"seq":1,"bodies":[{"a":1,"a":2}]}',
            b'{"op":"put","bodies":1,"seq":1,"to":["c/d"],"bodies":[{"a":1,"a":2}]}',
            b'{"bodies":1,"op":"put","seq":1,"to":["c/d"],"bodies":[{"a":1,"a":2}]}',
            b'{"op":"put","seq":1,"to":["c/d"],"bodie\\u0073":1,"bodies":[{"a":1,"a":2}]}',
        )
        self.assertEqual(messages.decode(twice[0]), Ping())
        for data in twice[1:]:
            put_ = messages.decode(data)
            assert isinstance(put_, Put)
            self.assertEqual((put_.seq, put_.to), (1, ["c/d"]), data)
            self.assertEqual(list(map(strictjson.loads, put_.bodies)), [{"a": 2}], data)


class TimeTest(FuzzTest):
    """What is said is less important than when."""

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a time-out")
    async def test_a_byte_now_and_then_does_not_keep_a_stranger_in(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", 0.4)
        hello = line({"op": "hello", "v": 1, "name": "slow" * 10, "nonce": NONCE})
        greetings = (hello, b"GET /" + b"x" * 500, b"\x00" * 500)

        async def drip(service: Service, data: bytes) -> None:
            async with await Wire.connect(service.port) as connection:
                with contextlib.suppress(ConnectionError):
                    for byte in data:
                        connection.write(bytes([byte]))
                        await asyncio.sleep(0.02)
                        if connection._reader._eof:  # type: ignore[attr-defined]
                            return
                self.fail("it was let in, or nobody cared")

        async with self.attacking():
            await asyncio.gather(*(drip(s, data) for s in self.services for data in greetings))

    async def test_a_friend_may_be_slow(self) -> None:
        """A byte at a time is a message in the end; meanwhile nobody else waits for it."""
        said = line(put(1, ["inbox/ark3"], bark("ark3", "slow"))) + b"\n"
        inbox = next(s for s in self.services if isinstance(s, Inbox))
        slow = await self.open(inbox.port, "slow")
        for byte in said:
            slow.write(bytes([byte]))
            await slow.drain()
            await asyncio.sleep(0)
        await slow.expect("ack", seq=1)

    async def test_resets_in_the_middle_of_everything(self) -> None:
        dice = self.dice

        def say(connection: Wire) -> list[bytes]:
            packed = connection.pack([message("put", dice), message("subscribe", dice)])
            return [packed[: dice.randrange(1, len(packed))]]

        await self.attack_all(say, 1, endings=("reset",))

    async def test_connections_that_say_nothing(self) -> None:
        self.patch(porch, "HELLO_TIMEOUT_S", 1.0)
        each = (1000 if SLOW and open_files() > 12_000 else 30) // len(self.services) + 1
        async with self.attacking():
            silent = await asyncio.gather(
                *(Wire.connect(s.port) for s in self.services for _ in range(each))
            )
            await until(
                lambda: sum(s.acceptor.greeting for s in self.services) == len(silent),
                "all are counted",
            )
            for bystander in self.bystanders:
                await bystander.before_pong()
            for connection in silent:
                self.assertEqual([m["code"] for m in await connection.rest()], [protocol.TIMEOUT])
                connection.abort()


def _words(packed: Sequence[bytes]) -> Callable[[Wire], Sequence[bytes]]:
    """Bytes as they are."""
    return lambda _: packed


def _saying(data: bytes) -> Callable[[Wire], Sequence[bytes]]:
    """One message of these bytes, in either framing."""
    return lambda c: [c.frame(data) if isinstance(c, WebSocketWire) else data + b"\n"]
