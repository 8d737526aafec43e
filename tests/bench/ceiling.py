"""Ceilings: the least that the same way could cost in Python, without any of the promises.

    producer x2 -> relay -> worker -> relay -> listener

Raw asyncio streams, newline JSON, cumulative acks carried back at every hop, everything in memory.
In ceiling W the relays forward whole chunks of bytes unparsed; the worker parses each bark, looks
up who gets it and writes a line for each; the listener parses. In ceiling J every hop parses and
encodes each line.

Each role is a process: ``python -m tests.bench.ceiling ROLE``. Nothing is checked, nothing is kept,
and a process that dies takes all with it. One more role, `echo`, is the ceiling of a WebSocket: it
returns bytes as they come.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable

from barker.disk.users import World
from tests.bench import load

READ_BYTES = 256 * 1024
# Lines on their way that nobody has acked, per connection.
WINDOW = 4096
HANDFUL = 256

Chunk = Callable[[bytes], bytes]


class Hop:
    """Takes lines from above, acks them, and hands on what `change` makes of them."""

    def __init__(self, change: Chunk, down: asyncio.StreamWriter | None) -> None:
        self._change = change
        self._down = down

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count, tail = 0, b""
        while data := await reader.read(READ_BYTES):
            whole, newline, tail = (tail + data).rpartition(b"\n")
            if newline:
                count += whole.count(b"\n") + 1
                changed = self._change(whole + newline)
                writer.write(b'{"op":"ack","seq":%d}\n' % count)
                if self._down:
                    self._down.write(changed)
                    await self._down.drain()


def unparsed(chunk: bytes) -> bytes:
    return chunk


def parsed(chunk: bytes) -> bytes:
    lines = [json.dumps(json.loads(line), separators=(",", ":")) for line in chunk.splitlines()]
    return "\n".join([*lines, ""]).encode()


def fan_out(world: World, encode: bool) -> Chunk:
    """The worker: one line for each reader of each bark."""
    readers = {
        user: [reader.encode() for reader in (user, *world.followers(user))] for user in world.names
    }

    def change(chunk: bytes) -> bytes:
        out = []
        for line in chunk.splitlines():
            bark = json.loads(line)
            body = json.dumps(bark, separators=(",", ":")).encode() if encode else line
            out += [b'{"to":"%b","body":%b}' % (reader, body) for reader in readers[bark["user"]]]
        out.append(b"")
        return b"\n".join(out)

    return change


def count_down(expect: int, timed: bool) -> Chunk:
    """The listener."""
    left = expect
    latencies = load.Latencies()

    def change(chunk: bytes) -> bytes:
        nonlocal left
        for line in chunk.splitlines():
            message = json.loads(line)
            if timed:
                latencies.add(message["body"]["content"], time.time_ns())
            left -= 1
        if not left:
            load.say("shown", cpu_s=time.process_time(), latency=latencies.figures())
        return b""

    return change


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_BYTES):
        writer.write(data)
        await writer.drain()


async def hop(args: argparse.Namespace) -> None:
    """Any role but a producer's; until the bench lets go of us."""
    load.obey(lambda: None)
    async with asyncio.TaskGroup() as tasks:
        down = None
        if args.down:
            reader, down = await asyncio.open_connection("127.0.0.1", args.down, limit=READ_BYTES)
            tasks.create_task(_skip(reader))
        change: Chunk = unparsed
        if args.role == "worker":
            change = fan_out(load.world(args.users, args.fan_out), args.parse)
        elif args.role == "listener":
            change = count_down(args.expect, args.timed)
        elif args.parse:
            change = parsed
        serve = echo if args.role == "echo" else Hop(change, down).serve
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=READ_BYTES)
        load.say("ready", port=server.sockets[0].getsockname()[1])
        tasks.create_task(server.serve_forever())


async def _skip(reader: asyncio.StreamReader) -> None:
    while await reader.read(READ_BYTES):
        pass


async def produce(args: argparse.Namespace) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", args.down, limit=READ_BYTES)
    lines = [] if args.rate else [b for _, b in load.bodies(args.count, args.users, args.seed)]
    acked = 0
    moved, told = asyncio.Event(), asyncio.Event()

    async def hear() -> None:
        nonlocal acked
        tail = b""
        while data := await reader.read(READ_BYTES):
            *whole, tail = (tail + data).split(b"\n")
            if whole:
                acked = json.loads(whole[-1])["seq"]
                moved.set()

    async def until(enough: int) -> None:
        while acked < enough:
            moved.clear()
            await moved.wait()

    hearing = asyncio.create_task(hear())
    loop = asyncio.get_running_loop()
    load.obey(lambda: loop.call_soon_threadsafe(told.set))
    load.say("ready")
    await told.wait()
    if args.rate:
        users, begun, done = load.names(args.users), loop.time(), 0
        while done < args.count:
            due = load.due(args.count, args.rate, loop.time() - begun)
            some = (
                load.timed_body(users[i % len(users)], i, time.time_ns()) for i in range(done, due)
            )
            writer.write(b"\n".join(some) + b"\n")
            done = due
            await asyncio.sleep(begun + done / args.rate - loop.time())
    else:
        for i in range(0, len(lines), HANDFUL):
            writer.write(b"\n".join(lines[i : i + HANDFUL]) + b"\n")
            await until(i + HANDFUL - WINDOW)
            await asyncio.sleep(0)
    await until(args.count)
    load.say("said", cpu_s=time.process_time())
    hearing.cancel()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ceiling")
    parser.add_argument("role", choices=("producer", "relay", "worker", "listener", "echo"))
    parser.add_argument("--down", type=int, help="port of the next hop")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--fan-out", type=int, default=1)
    parser.add_argument("--count", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--expect", type=int)
    parser.add_argument("--timed", action="store_true")
    parser.add_argument("--parse", action="store_true", help="ceiling J: at every hop")
    args = parser.parse_args(argv)
    asyncio.run(produce(args) if args.role == "producer" else hop(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
