"""Peer: one connection to a program, by hand: it sends what a case has it send, and nothing else.

It may send what no honest peer would. It answers pings, until it has to `fall_silent`. Other
messages are kept until a case takes them, with a deadline. A wrong message is raised as Broken.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import NamedTuple, Self, TypeVar

from barker.laboratory.lab import SHOWN_CHARS, Broken
from barker.links import greeting
from barker.process.arguments import DEFAULT_HOST
from barker.wire import messages, protocol
from barker.wire.ops import Hello, Item, Op, Ping, Pong, Proof, Put, op_of
from barker.wire.protocol import ProtocolError
from barker.wire.rights import SERVICE

# The limit for any answer. A slow machine takes a tenth of a second.
ANSWER_S = 5.0
# Nothing more comes, if nothing has come for so long.
QUIET_S = 0.4
NONCE = "0123456789abcdef" * 2

Wanted = TypeVar("Wanted", bound=Op)


class Entry(NamedTuple):
    """One entry of a put that came."""

    seq: int
    addresses: Sequence[str]
    item: Item


def shown(message: Op | None) -> str:
    """A message in a word or two, for a line about it."""
    if message is None:
        return "the end of the connection"
    line = messages.encode(message).decode(errors="replace")
    return line if len(line) <= SHOWN_CHARS else f"{line[:SHOWN_CHARS]}..."


class Peer:
    """One side of one connection. `name` is the other side's, once it has greeted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.name = ""
        self.hello: Hello | None = None
        self.proof: Proof | None = None
        self._mute = False
        self._pongs_due = 0  # for pings that came meanwhile
        self.pings = 0
        self.pongs = 0
        self._reader = reader
        self._writer = writer
        self._came: asyncio.Queue[Op | Broken | None] = asyncio.Queue()
        self._ended = False
        self._received = 0  # entries of puts that no case has taken yet
        self._entries: list[Entry] = []
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Connect, and send nothing yet."""
        try:
            reader, writer = await asyncio.open_connection(DEFAULT_HOST, port, limit=1 << 20)
        except OSError as fault:
            raise Broken(f"nothing listens at port {port}: {fault.strerror}") from None
        return cls(reader, writer)

    async def greet(self, secret: bytes, name: str = "judge", epoch: str | None = None) -> Self:
        """Greet as the opener. Raises Broken if the other side does it wrong."""
        self.send(Hello(protocol.VERSION, SERVICE, NONCE))
        self.hello = await self.expect(Hello)
        nonces = NONCE, self.hello.nonce
        self.send(Proof(greeting.mac(secret, greeting.OPENER, SERVICE, *nonces), name, epoch))
        self.proof = await self.expect(Proof)
        if not greeting.holds(self.proof.mac, secret, greeting.ACCEPTOR, SERVICE, *nonces):
            raise Broken("the mac of its proof is wrong")
        self.name = self.proof.name
        return self

    async def greet_back(self, secret: bytes, name: str) -> Self:
        """Greet as the acceptor."""
        self.hello = await self.expect(Hello)
        if self.hello.role != SERVICE:
            raise Broken("its hello has the role of a client")
        nonces = self.hello.nonce, NONCE
        self.send(Hello(protocol.VERSION, SERVICE, NONCE))
        self.proof = await self.expect(Proof)
        if not greeting.holds(self.proof.mac, secret, greeting.OPENER, SERVICE, *nonces):
            raise Broken("the mac of its proof is wrong")
        self.name = self.proof.name
        self.send(Proof(greeting.mac(secret, greeting.ACCEPTOR, SERVICE, *nonces), name))
        return self

    def fall_silent(self) -> None:
        """Answer no more pings."""
        self._mute = True

    def wake(self) -> None:
        """Answer pings again, and those that came meanwhile."""
        self._mute = False
        self.send(*[Pong()] * self._pongs_due)
        self._pongs_due = 0

    def abort(self) -> None:
        """Cut it."""
        self._writer.transport.abort()
        self._task.cancel()

    # --- sending ---

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    def send(self, *some: Op) -> None:
        """Send all in one write."""
        self.write(b"".join(messages.encode(message) + b"\n" for message in some))

    # --- receiving ---

    async def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the latter: a line without an end
            while (line := await self._reader.readline()).endswith(b"\n"):
                self._take(line[:-1])
        self._came.put_nowait(None)

    def _take(self, line: bytes) -> None:
        try:
            message = messages.decode(line)
        except ProtocolError as fault:
            text = line[:SHOWN_CHARS].decode(errors="replace")
            self._came.put_nowait(Broken(f"it sends no message: {text} ({fault.reason})"))
            return
        if len(line) > protocol.MAX_LINE_BYTES:
            self._came.put_nowait(Broken(f"it sends a line of {len(line)} bytes"))
        if isinstance(message, Ping):
            self.pings += 1
            if self._mute:
                self._pongs_due += 1
            else:
                self.send(Pong())
        elif isinstance(message, Pong):
            self.pongs += 1
        else:
            self._came.put_nowait(message)

    async def next(self, within_s: float = ANSWER_S) -> Op | None:
        """The next message but pings and pongs; None at the end. Raises Broken and TimeoutError."""
        if self._ended:
            return None
        async with asyncio.timeout(within_s):
            message = await self._came.get()
        if isinstance(message, Broken):
            raise message
        self._ended = message is None
        return message

    async def expect(self, kind: type[Wanted], within_s: float = ANSWER_S) -> Wanted:
        """The next message, which has to be of this kind."""
        op = kind.__name__.lower()
        try:
            message = await self.next(within_s)
        except TimeoutError:
            raise Broken(f"no {op} comes within {within_s:g} s") from None
        if not isinstance(message, kind):
            raise Broken(f"a message {op} is expected, and there comes {shown(message)}")
        return message

    async def rest(self, quiet_s: float = QUIET_S) -> list[Op | None]:
        """All messages until none has come for so long; None is the end."""
        result: list[Op | None] = []
        while not self._ended:
            try:
                result.append(await self.next(quiet_s))
            except TimeoutError:
                break
        return result

    async def silence(self, quiet_s: float = QUIET_S) -> None:
        """No message comes for so long."""
        for entry in self._entries:
            raise Broken(f"nothing was to come, and there came put {entry.seq}")
        for message in await self.rest(quiet_s):
            raise Broken(f"nothing was to come, and there came {shown(message)}")

    async def is_over(self, code: str, within_s: float = ANSWER_S) -> None:
        """It sends an `error` with that code ("" for any or none), and closes."""
        said = ""
        try:
            while (message := await self.next(within_s)) is not None:
                said = getattr(message, "code", said) if op_of(message) == "error" else said
        except TimeoutError:
            raise Broken(f"it does not close the connection within {within_s:g} s") from None
        if code and said != code:
            raise Broken(f"error {code} is expected before the end, and there is {said or 'none'}")

    async def until_pongs(self, count: int) -> None:
        """Wait for so many in all."""
        for _ in range(int(ANSWER_S / 0.01)):
            if self.pongs >= count:
                break
            await asyncio.sleep(0.01)
        if self.pongs != count:
            raise Broken(f"{count} pings were sent, and {self.pongs} pongs came")

    async def entries(self, count: int, within_s: float = ANSWER_S) -> list[Entry]:
        """The next entries of puts, so many, numbered as they should be."""
        while len(self._entries) < count:
            put = await self.expect(Put, within_s)
            if put.seq != self._received + 1:
                raise Broken(f"put {put.seq} comes after put {self._received}")
            self._received += len(put.bodies)
            rows = zip(put.entries(), put.items(), strict=True)
            self._entries += [
                Entry(seq, to.split(" "), item) for seq, (to, item) in enumerate(rows, put.seq)
            ]
        result, self._entries = self._entries[:count], self._entries[count:]
        return result
