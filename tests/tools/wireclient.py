"""The other side of a link, made by hand: a peer that does nothing unless a test says so.

`Wire` is one connection. It says what it is told, in bytes or in messages, also what no honest peer
would say, and it answers no ping. Where a test has to prove that something is *not* sent it asks
for a pong: messages come in order, so whatever is not there before the pong was not on its way.

`serving` runs a real service inside the test, with nobody around it but the peers that the test
makes.
"""

import asyncio
import base64
import contextlib
import json
import logging
import os
import pathlib
import socket
import ssl
import tempfile
import unittest
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self, TypeVar
from unittest import mock

from barker.disk import keys
from barker.links import connection as connection_module
from barker.links import greeting
from barker.process.service import Service, service_parser
from barker.websocket.frames import Opcode, encode_frame
from barker.websocket.handshake import HEAD_END
from barker.wire import protocol
from barker.wire.bodies import mentions
from barker.wire.rights import SERVICE
from tests.tools.fleet import DEADLINE_S

# Faults that a test provokes are none of the runner's output; our own still are.
_handler = logging.StreamHandler()
_handler.setLevel(logging.ERROR)
logging.getLogger("barker").addHandler(_handler)

NONCE = "0123456789abcdef" * 2
# A port that no service of ours has: a place with no directory.
NOBODY = 1
# Long enough to be a secret, and not the one.
WRONG_SECRET = b"x" * 32

Message = dict[str, Any]
AnyService = TypeVar("AnyService", bound=Service)


def put(seq: int, to: Sequence[str], body: object, **stamp: Any) -> Message:
    """A `put` of one; `stamp` is `origin` and `n`, and perhaps `old`."""
    if "n" in stamp:
        stamp["n"] = [stamp["n"]]
    return puts(seq, [to], [body], **stamp)


def puts(seq: int, to: Sequence[Sequence[str]], bodies: Sequence[object], **stamp: Any) -> Message:
    """A `put` of many; `to` has addresses for each of the bodies, or once for all.

    With an `origin` in the stamp, the other columns are made of the bodies.
    """
    if "origin" in stamp:
        barks: list[Any] = [body if type(body) is dict else {} for body in bodies]
        stamp["users"] = [body.get("user", "nobody") for body in barks]
        stamp["ids"] = [body.get("id", "none") for body in barks]
        stamp["at"] = [body.get("at", 0) for body in barks]
        named = [" ".join(mentions(body.get("content", ""))) for body in barks]
        stamp |= {"named": named} if any(named) else {}
    message = {"op": "put", "seq": seq, "to": list(map(" ".join, to)), **stamp}
    return {**message, "bodies": list(bodies)}


def bark(user: str, id_: str, content: str = "wuff", at: int = 1000) -> Message:
    """A bark's body."""
    return {"id": id_, "user": user, "content": content, "at": at}


def register(address: str, name: str, port: int = 9, **more: object) -> Message:
    """A registration like those of our services; `more` overrides its fields."""
    return {
        "op": "register",
        "address": address,
        "name": name,
        "host": "127.0.0.1",
        "port": port,
        "policy": "consistent",
        "kind": "inbox",
        "since": 1,
        **more,
    }


class Streams:
    """What came over one link, taken apart: a `put` for each entry, and a `message` for each.

    A `message` has the serial that its place in the stream makes.
    """

    def __init__(self) -> None:
        self._places: dict[str, tuple[str | None, int]] = {}

    def one_by_one(self, message: Message) -> Iterator[Message]:
        op, address = message["op"], message.get("address", "")
        if op == "put":
            yield from _entries(message)
        elif op == "message":
            late, to, bodies = message.get("late", []), message["to"], message["bodies"]
            for i, body in enumerate(bodies):
                for one in to[i if len(to) == len(bodies) else 0].split(" "):
                    place = self._place(one) if _is_piece(body) else self._next(one)
                    yield {**place, **({"late": True} if i in late else {}), "body": body}
        else:
            if op == "subscribed":
                self._places[address] = message["epoch"], message["serial"]
            elif op == "gap" and address in self._places:
                epoch, serial = self._places[address]
                self._places[address] = epoch, serial + message["missed"]
            yield message

    def _place(self, address: str) -> Message:
        epoch, serial = self._places.get(address, (None, 0))
        return {"op": "message", "address": address, "epoch": epoch, "serial": serial}

    def _next(self, address: str) -> Message:
        epoch, serial = self._places.get(address, (None, 0))
        self._places[address] = epoch, serial + 1
        return self._place(address)


def _is_piece(body: object) -> bool:
    """Of a snapshot, all of which makes the place that was answered."""
    return type(body) is dict and body.get("kind") == "graph"


def _entries(message: Message) -> Iterator[Message]:
    bodies, to = message["bodies"], message["to"]
    for i, body in enumerate(bodies):
        stamp: Message = {k: message[k] for k in ("origin", "old") if k in message}
        if "n" in message:
            stamp["n"] = message["n"][i]
        addresses = to[i if len(to) == len(bodies) else 0].split(" ")
        yield {"op": "put", "seq": message["seq"] + i, "to": addresses, **stamp, "body": body}


def _json(message: Message) -> bytes:
    if type(message.get("bodies")) is not list:
        return _compact(message)
    bodies = b",\t".join(map(_compact, message["bodies"]))
    head = {name: value for name, value in message.items() if name != "bodies"}
    return b'%b,"bodies":[%b]}' % (_compact(head)[:-1], bodies)


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Wire:
    """One connection to a service, or of a service to us; an asynchronous context manager."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        assert isinstance(writer.transport, asyncio.Transport)
        self._transport = writer.transport
        self.hello: Message = {}  # the other side's
        self.proof: Message = {}
        self._said: deque[Message] = deque()  # in one line with what was heard last
        self._streams = Streams()

    @classmethod
    async def connect(
        cls,
        port: int,
        buffer_bytes: int | None = None,
        *,
        host: str = "127.0.0.1",
        context: ssl.SSLContext | None = None,
    ) -> Self:
        """Connect, and say nothing yet; `buffer_bytes` is what the kernel may hold for us."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        channel = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        channel.setblocking(False)
        if buffer_bytes:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        try:
            await asyncio.get_running_loop().sock_connect(channel, (host, port))
        except OSError:
            channel.close()
            raise
        reader, writer = await asyncio.open_connection(
            sock=channel, limit=1 << 24, ssl=context, server_hostname=host if context else None
        )
        return cls(reader, writer)

    @classmethod
    async def open(
        cls,
        port: int,
        key: bytes,
        name: str = "wire",
        epoch: str | None = None,
        role: str = SERVICE,
    ) -> Self:
        """Connect and greet as an opener does; `key` is that of the role."""
        self = await cls.connect(port)
        try:
            await self.greet(key, name, epoch, role)
        except BaseException:
            self.abort()
            raise
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.abort()

    def abort(self) -> None:
        self._transport.abort()

    def stop_reading(self) -> None:
        """Leave what comes to the kernel's buffers, until `read_on`."""
        self._transport.pause_reading()

    def read_on(self) -> None:
        self._transport.resume_reading()

    async def drain(self) -> None:
        """Wait until the other side has read most of what was written."""
        await self._writer.drain()

    def end(self) -> None:
        """Say that nothing more will come; what the other side says is still heard."""
        self._writer.write_eof()

    # --- saying ---

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self._writer.write(data)

    @staticmethod
    def pack(messages: Sequence[Message]) -> bytes:
        """As our own services write them, so that they take the quick way through `wire.decode`."""
        return b"".join(_json(m) + b"\n" for m in messages)

    def send(self, *messages: Message) -> None:
        """All in one write, so that on loopback they come in one read."""
        self.write(self.pack(messages))

    def say_hello(self, **more: object) -> None:
        hello = {"op": "hello", "v": protocol.VERSION, "role": SERVICE, "nonce": NONCE}
        self.send({**hello, **more})

    def prove(
        self,
        key: bytes,
        opener: str,
        acceptor: str,
        end: str = greeting.OPENER,
        role: str = SERVICE,
        name: str = "wire",
        epoch: str | None = None,
    ) -> None:
        mac = greeting.mac(key, end, role, opener, acceptor)
        self.send({"op": "proof", "mac": mac, "name": name, "epoch": epoch})

    async def greet(
        self, key: bytes, name: str = "wire", epoch: str | None = None, role: str = SERVICE
    ) -> None:
        self.say_hello(role=role)
        self.hello = await self.expect("hello")
        self.prove(key, NONCE, self.hello["nonce"], role=role, name=name, epoch=epoch)
        self.proof = await self.expect("proof")

    async def greet_back(self, key: bytes, name: str, epoch: str | None = None) -> None:
        """As an acceptor: the other side speaks first."""
        self.hello = await self.expect("hello")
        role, nonce = self.hello["role"], self.hello["nonce"]
        self.say_hello()
        self.proof = await self.expect("proof")
        self.prove(key, nonce, NONCE, greeting.ACCEPTOR, role, name, epoch)

    # --- hearing ---

    async def _receive(self) -> bytes:
        """One message as bytes; empty at the end."""
        line = await self._reader.readline()
        return line if line.endswith(b"\n") else b""

    async def heard_line(self, deadline_s: float = DEADLINE_S) -> Message | None:
        """The next line but for pings, or None at the end of the connection."""
        async with asyncio.timeout(deadline_s):
            while True:
                line = await self._receive()
                if not line:
                    return None
                message: Message = json.loads(line)
                if message["op"] != "ping":
                    return message

    async def heard(self, deadline_s: float = DEADLINE_S) -> Message | None:
        """The next message but for pings, or None at the end; of many in one line, the next one."""
        if not self._said:
            message = await self.heard_line(deadline_s)
            if message is None:
                return None
            self._said.extend(self._streams.one_by_one(message))
        return self._said.popleft()

    async def expect(self, op: str, **fields: object) -> Message:
        """The next message, which has to be this one."""
        message = await self.heard()
        wanted = {"op": op, **fields}
        if message is None or any(message.get(name) != value for name, value in wanted.items()):
            raise AssertionError(f"{op} {fields} was expected, not {message}")
        return message

    async def up_to_ack(self, seq: int) -> list[Message]:
        """Everything that is said before all puts up to `seq` are acked, but for acks."""
        messages: list[Message] = []
        while message := await self.heard():
            if message["op"] != "ack":
                messages.append(message)
            elif message["seq"] == seq:
                return messages
        raise AssertionError(f"closed, after {messages[-3:]}")

    async def before_pong(self) -> list[Message]:
        """Ask for a pong: everything that was said before it, pings left out.

        Not for puts: what comes of them is said when their batch ends, and the ping may be in it.
        """
        self.send({"op": "ping"})
        messages: list[Message] = []
        while (message := await self.heard()) and message["op"] != "pong":
            messages.append(message)
        if message is None:
            raise AssertionError(f"closed, after {messages[-3:]}")
        return messages

    async def rest(self) -> list[Message]:
        """Everything up to the end of the connection, which must not be a reset."""
        messages = []
        while message := await self.heard():
            messages.append(message)
        return messages

    async def http_answer(self) -> bytes:
        """Every byte up to the end."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.read(-1)


class WebSocketWire(Wire):
    """The same over a WebSocket, as a browser would open it."""

    async def upgrade(self, host: str = "127.0.0.1", origin: str = "null") -> bytes:
        """The opening handshake; the head of the answer."""
        key = base64.b64encode(os.urandom(16)).decode()
        self.write(
            f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Origin: {origin}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        return await self.http_head()

    async def http_head(self) -> bytes:
        """The head of an HTTP answer."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.readuntil(HEAD_END)

    @staticmethod
    def pack(messages: Sequence[Message]) -> bytes:
        return b"".join(WebSocketWire.frame(_json(m)) for m in messages)

    @staticmethod
    def frame(payload: bytes, opcode: int = Opcode.TEXT) -> bytes:
        return encode_frame(opcode, payload, mask=os.urandom(4))

    async def frame_received(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame, written as 5.2 has it; (0, b"") at the end."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                first, size = await self._reader.readexactly(2)
                if size > 125:
                    size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
                payload = await self._reader.readexactly(size)
        except asyncio.IncompleteReadError:
            return 0, b""
        assert first & 0xF0 == 0x80, "5.2: one whole frame, no extension"
        return first & 0x0F, payload

    async def _receive(self) -> bytes:
        opcode, payload = await self.frame_received()
        return payload if opcode == Opcode.TEXT else b""


class WireTest(unittest.IsolatedAsyncioTestCase):
    """A state folder with its secret, and quiet."""

    async def asyncSetUp(self) -> None:
        # What unittest turns on costs two thirds of the speed, and makes complaints of its own.
        asyncio.get_running_loop().set_debug(False)
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.secret = keys.secret(self.folder)

    def patch(self, where: object, name: str, value: object) -> None:
        """Another value until the end of the test."""
        self.enterContext(mock.patch.object(where, name, value))

    async def open(self, port: int, name: str = "wire", epoch: str | None = None) -> Wire:
        """A link that has greeted, until the end of the test."""
        return await self.enterAsyncContext(await Wire.open(port, self.secret, name, epoch))

    async def serve(
        self,
        service: type[AnyService],
        *argv: str,
        directory: int | None = None,
        settles: bool = False,
    ) -> AnyService:
        """See `serving`; until the end of the test."""
        return await self.enterAsyncContext(
            serving(service, self.folder, *argv, directory=directory, settles=settles)
        )


@contextlib.asynccontextmanager
async def serving(
    service: type[AnyService],
    folder: pathlib.Path,
    *argv: str,
    directory: int | None = None,
    settles: bool = False,
) -> AsyncIterator[AnyService]:
    """A real service in this loop, on a free port, for as long as the block runs.

    `directory` is the port of one; without it, the service is alone. Heartbeats are so slow that a
    `Wire` need not answer pings, unless `argv` says otherwise. A directory `settles` only if asked.
    """
    place = f"127.0.0.1:{directory or NOBODY}"
    flags = ["--port", "0", "--state", str(folder), "--directory", place, "--heartbeat", "60"]
    flags += ["--no-settle"] * (service.is_directory and not settles)
    args = service_parser(service, "test", "").parse_args([*flags, *argv])
    node = service(args)
    ready = asyncio.Event()
    began = node.ready

    async def tell() -> None:
        await began()
        ready.set()

    with (
        mock.patch.object(node, "ready", tell),
        mock.patch("barker.process.service.logs.say"),  # READY is for launchers
    ):
        run = asyncio.create_task(node.run())
        try:
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait({run, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            yield node
        finally:
            node.stop()
            # Nobody answers its goodbyes; it need not wait for them.
            with mock.patch.object(connection_module, "LINGER_S", 0.005):
                async with asyncio.timeout(DEADLINE_S):
                    status = await run
    assert status == 0, "the service has stopped by itself"


def thaw(service: Service, *, given_up: bool = True) -> None:
    """As after a frost, in which all peers have ended their links, or none."""
    for link in service.links if given_up else ():
        link._connection._transport.get_extra_info("socket").shutdown(socket.SHUT_RD)
    service._last_tick -= 3 * service.heartbeat_s
    service._tick()


class Acceptor:
    """A port on which a test plays a service: every connection to it is a `Wire`, in `next`."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Wire] = asyncio.Queue()
        self.port = 0

    async def __aenter__(self) -> "Acceptor":
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=1 << 24)
        self.port = self._server.sockets[0].getsockname()[1]
        self._wires: list[Wire] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._wires:
            connection.abort()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._wires.append(Wire(reader, writer))
        self._queue.put_nowait(self._wires[-1])

    async def next(self) -> Wire:
        async with asyncio.timeout(DEADLINE_S):
            return await self._queue.get()
