"""An echo server over `barker.websocket.frames`, for conformance suites and other people's clients.

    python -m tests.echo --port 9001

Every text or binary message, of up to 64 MiB and in any number of fragments, comes back as one
frame. It has no secret and believes every origin, so it is for testing on the loopback only.
"""

import asyncio
import signal
import sys

from barker.process.arguments import Parser
from barker.websocket.frames import CloseCode, State, WebSocket
from barker.websocket.handshake import HandshakeError, answer, parse_request, split_head

# The largest message of the Autobahn suite is 16 MiB; four times that is asked of us.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# Two sockets' buffers full: larger reads no longer pay, smaller ones cost a turn of the loop each.
READ_BYTES = 256 * 1024
# A client sends its request at once; who takes this long wants to hold a socket.
HANDSHAKE_S = 10.0
# How long, and for how many bytes, a closing connection listens. The bytes are enough for a client
# that sends a refused message of four times the limit to its end before it reads our close frame.
LINGER_S = 5.0
LINGER_BYTES = 4 * MAX_MESSAGE_BYTES
# After SIGINT or SIGTERM: time for the peers' close frames.
GRACE_S = 1.0


async def read_some(reader: asyncio.StreamReader) -> bytes:
    """What has come. Raises EOFError at the end."""
    data = await reader.read(READ_BYTES)
    if not data:
        raise EOFError
    return data


class Echo:
    """The server: a task and a `WebSocket` for each connection."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[WebSocket, asyncio.StreamWriter] = {}

    def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Start serving a connection; a plain callback, so that the task is ours to wait for."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Say goodbye to everybody, and wait `GRACE_S` for their answers."""
        for socket, writer in self._open.items():
            socket.close(CloseCode.GOING_AWAY)
            writer.write(socket.take_output())
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=GRACE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            rest = await self._upgrade(reader, writer)
            if rest is not None:
                socket = WebSocket(MAX_MESSAGE_BYTES)
                self._open[socket] = writer
                try:
                    await self._echo(socket, rest, reader, writer)
                finally:
                    del self._open[socket]
            await self._part(reader, writer)
        except (OSError, EOFError, TimeoutError):
            pass  # the peer is gone, or might as well be
        finally:
            writer.transport.abort()  # harmless after a `close` that has come to its end

    async def _upgrade(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Answer the HTTP request. What came after it, or None if it did not become a WebSocket."""
        data = b""
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                while not (parts := split_head(data)):
                    data += await read_some(reader)
            head, rest = parts
            request = parse_request(head)
            origin = request.headers.get("origin", "")  # clients of suites send any
            response, upgraded = answer(request, allowed_origins={origin})
        except HandshakeError as refusal:
            response, upgraded, rest = refusal.response(), False, b""
        writer.write(response)
        return rest if upgraded else None

    async def _echo(
        self,
        socket: WebSocket,
        data: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Return every message, first those in `data`, until the WebSocket is closed."""
        while True:
            for opcode, payload in socket.feed(data):
                socket.send(opcode, payload)
            output = socket.take_output()
            if output:
                writer.write(output)
                await writer.drain()  # who does not read his echoes is not read from either
            if socket.state is State.CLOSED:
                return
            data = await read_some(reader)

    async def _part(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """7.1.1: the server closes first, in two steps: see `barker.websocket.frames`, number 3."""
        writer.write_eof()
        heard = 0
        async with asyncio.timeout(LINGER_S):
            while heard < LINGER_BYTES and (data := await reader.read(READ_BYTES)):
                heard += len(data)
            writer.close()
            await writer.wait_closed()


async def amain(host: str, port: int) -> int:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    echo = Echo()
    try:
        server = await asyncio.start_server(echo.accepted, host, port, limit=READ_BYTES)
    except OSError as fault:
        print(f"echo: can't listen at {host}:{port}: {fault}", file=sys.stderr)
        return 1
    bound = server.sockets[0].getsockname()
    print(f"READY {bound[0]}:{bound[1]}", flush=True)
    await stop.wait()
    server.close()
    await echo.stop()
    await server.wait_closed()
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        "-m tests.echo",
        "Run a WebSocket echo server, for conformance suites of others. Ctrl-C stops it.",
        ["-m tests.echo", "-m tests.echo --port 9002"],
    )
    parser.add_argument("--host", default="127.0.0.1", help="(default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=9001, help="0 takes any free one (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    return asyncio.run(amain(args.host, args.port))


if __name__ == "__main__":
    sys.exit(main())
