"""Relay: stands between one program and all others, so that its links can be cut and read.

The program knows no address but ours. It connects to the directory through us; its registrations
get a port of ours, and so do the routes that are sent to it:

    others ──► our port for it ──► the program ──► our port for an inbox ──► the inbox
                                        └────────► our port for the directory ──► the directory

Bytes are forwarded as they came, except for these ports. Each line is looked at on its way: when
each bark was put and acked between whom; and whether the program's lines are messages at all.
Left out: WebSocket, and TLS.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from barker.laboratory.lab import SHOWN_CHARS
from barker.process.arguments import DEFAULT_HOST
from barker.wire import messages, protocol, strictjson
from barker.wire.ops import Ack, Error, Instance, Proof, Put, Refuse, Register, Routes, Target
from barker.wire.protocol import BadMessage, ProtocolError

READ_BYTES = 64 * 1024

Place = tuple[str, int]
# A message or a part of one that names a place.
P = TypeVar("P", Register, Instance, Target)


class Step(NamedTuple):
    """One event on a bark's way."""

    at: float  # monotonic
    what: str


class Ways:
    """The ways of barks, by id, over the links that are relayed."""

    def __init__(self) -> None:
        self.steps: dict[str, list[Step]] = {}

    def add(self, id_: str, what: str) -> None:
        self.steps.setdefault(id_, []).append(Step(time.monotonic(), what))


class Relay:
    """All links of one program. `begin` gives it a directory, or lets others come to a directory.

    `complain` is called once for a line that is no message, and once with the error by which others
    have closed a link.
    """

    def __init__(self, name: str, ways: Ways, complain: Callable[[str], None]) -> None:
        self.name = name
        self.ways = ways
        self._complain = complain
        self._servers: list[asyncio.Server] = []
        self._ports: dict[tuple[Place, bool], int] = {}
        self._pairs: set[_Pair] = set()

    async def begin(self, directory: Place) -> Place:
        """The address at which the program finds its directory from now on."""
        return DEFAULT_HOST, await self.port_for(directory, to_program=False, rewrites=True)

    async def port_for(
        self, place: Place, *, to_program: bool, rewrites: bool = False, port: int = 0
    ) -> int:
        """Our port that leads to that address; the same one each time."""
        key = (place, to_program)
        if key not in self._ports:

            def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                pair = _Pair(self, place, to_program, rewrites, (reader, writer))
                self._pairs.add(pair)
                pair.task.add_done_callback(lambda _: self._pairs.discard(pair))

            self._ports[key] = 0  # two routes may name it at the same moment
            server = await asyncio.start_server(accepted, DEFAULT_HOST, port, limit=READ_BYTES)
            self._servers.append(server)
            self._ports[key] = server.sockets[0].getsockname()[1]
        while not self._ports[key]:
            await asyncio.sleep(0)
        return self._ports[key]

    def cut(self) -> int:
        """Break all present links; returns their number."""
        pairs = list(self._pairs)
        for pair in pairs:
            pair.task.cancel()
        return len(pairs)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self.cut()
        await asyncio.gather(*(pair.task for pair in self._pairs), return_exceptions=True)

    def complain(self, text: str) -> None:
        self._complain(text)


class _Pair:
    """A connection that came to us, and the one that we have made because of it."""

    def __init__(
        self,
        relay: Relay,
        place: Place,
        to_program: bool,
        rewrites: bool,
        came: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._relay = relay
        self._place = place
        self._to_program = to_program
        self._rewrites = rewrites
        self._peer = "a stranger"  # the side that is not the program
        self._put: list[str] = []  # ids, in the order of their numbers on this link
        self._acked = 0
        self.task = asyncio.create_task(self._run(*came))

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            there, to_there = await asyncio.open_connection(*self._place, limit=READ_BYTES)
            writers.append(to_there)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, to_there, self._to_program))
                both.create_task(self._pass_on(there, writer, not self._to_program))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in writers:
                each.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_program: bool
    ) -> None:
        rest = b""
        while data := await reader.read(READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            out = b"".join([await self._seen(line, to_program) + b"\n" for line in lines])
            if len(rest) > protocol.MAX_LINE_BYTES:  # too long for a line; the receiver reports it
                out, rest = out + rest, b""
            writer.write(out)
            await writer.drain()
        writer.write(rest)
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _seen(self, line: bytes, to_program: bool) -> bytes:
        """The line to forward."""
        try:
            message = messages.decode(line)
        except ProtocolError as fault:
            if not to_program:
                shown = line[:SHOWN_CHARS].decode(errors="replace")
                self._relay.complain(f"sends {self._peer} no message: {shown} ({fault})")
            return line
        if isinstance(message, Proof):
            self._peer = message.name if to_program else self._peer
        elif isinstance(message, Put | Ack | Refuse):
            self._note(message, to_program)
        elif isinstance(message, Error) and to_program:
            self._relay.complain(
                f"is refused by {self._peer}: {message.reason} ({message.code}); the link is over"
            )
        elif self._rewrites and isinstance(message, Register | Routes | Target):
            return messages.encode(await self._rewritten(message))
        return line

    async def _rewritten(self, message: Register | Routes | Target) -> Register | Routes | Target:
        """With ports of ours: the program's own in registrations, others' in routes."""
        if isinstance(message, Routes):
            return message._replace(targets=[await self._at_ours(t) for t in message.targets])
        if isinstance(message, Register):  # one call for both has no type of its own
            return await self._at_ours(message)
        return await self._at_ours(message)

    async def _at_ours(self, target: P) -> P:
        if target.host is None or target.port is None:
            return target  # there is none
        to_program = isinstance(target, Register)
        place = (target.host, target.port)
        port = await self._relay.port_for(place, to_program=to_program)
        return target._replace(host=DEFAULT_HOST, port=port)

    def _note(self, message: Put | Ack | Refuse, to_program: bool) -> None:
        program, ways = self._relay.name, self._relay.ways
        who = f"{self._peer} → {program}" if to_program else f"{program} → {self._peer}"
        if isinstance(message, Put):
            ids = message.ids or list(map(_id_of, message.bodies))
            self._put += ids
            for number, id_ in enumerate(ids, message.seq):
                ways.add(id_, f"{who}: put {number}")
        elif isinstance(message, Refuse):
            if 0 < message.seq <= len(self._put):
                text = f"{who}: refuse {message.seq} ({message.code})"
                ways.add(self._put[message.seq - 1], text)
        else:
            for id_ in self._put[self._acked : message.seq]:
                ways.add(id_, f"{who}: ack {message.seq}")
            self._acked = max(self._acked, message.seq)


def _id_of(body: bytes) -> str:
    try:
        fields = strictjson.loads(body)
    except BadMessage:
        return ""
    return str(fields.get("id")) if type(fields) is dict else ""
