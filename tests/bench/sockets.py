"""Many readers as one process, each over a WebSocket of its own.

    python -m tests.bench.sockets --port 5820 --state var --users 2000 --expect 20000

It opens a connection for each user and says so; at a line on standard input each subscribes to its
stream; then it counts what comes.
"""

import argparse
import asyncio
import contextlib
import pathlib
import sys
import time

from barker.disk import keys
from tests.bench import load
from tests.tools.wireclient import WebSocketWire

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

# Connections that are being opened at a time.
AT_ONCE = 50
# Files of a process that are no connections.
OTHER_FILES = 64


def allow(count: int) -> int:
    """Ask for so many files besides the usual ones; how many there may be."""
    if resource is None:
        return count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has limits that it doesn't tell
            unlimited = hard == resource.RLIM_INFINITY
            soft = wanted if unlimited else min(hard, wanted)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(count, soft - OTHER_FILES)


class Counter:
    """What all connections together have received."""

    def __init__(self, expect: int) -> None:
        self._left = expect

    def add(self, barks: int) -> None:
        before, self._left = self._left, self._left - barks
        if before > 0 >= self._left:
            load.say("shown", cpu_s=time.process_time(), latency=None)


class Ear(asyncio.Protocol):
    """One connection: counts the barks in what comes, without looking at anything else."""

    # How the body of a bark begins, and nothing else does.
    MARK = b'{"id":"'

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._tail = b""

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        self._tail = data[-(len(self.MARK) - 1) :]
        self._counter.add(data.count(self.MARK))


class Socket(WebSocketWire):
    def hand_over(self, ear: Ear) -> None:
        """From now on, all that comes is for `ear`."""
        self._transport.set_protocol(ear)


async def read(args: argparse.Namespace) -> None:
    secret = keys.secret(args.state)
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    load.obey(lambda: loop.call_soon_threadsafe(told.set))
    turns = asyncio.Semaphore(AT_ONCE)

    async def connect(user: str) -> Socket:
        async with turns:
            wire = await Socket.connect(args.port)
            await wire.upgrade()
            await wire.greet(secret, user)
            return wire

    async def subscribe(user: str, wire: Socket) -> None:
        async with turns:
            wire.send({"op": "subscribe", "address": f"inbox/{user}", "window": 1024})
            await wire.expect("subscribed")
            wire.hand_over(Ear(counter))

    counter = Counter(args.expect)
    users = load.names(args.users)
    wires = await asyncio.gather(*map(connect, users))
    load.say("connected")
    await told.wait()
    await asyncio.gather(*map(subscribe, users, wires))
    load.say("ready")
    await asyncio.Event().wait()  # until the bench lets go of us


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sockets")
    parser.add_argument("--port", type=int, required=True, help="an inbox's")
    parser.add_argument("--state", type=pathlib.Path, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--expect", type=int, required=True, help="barks in all")
    args = parser.parse_args(argv)
    allow(args.users)
    asyncio.run(read(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
