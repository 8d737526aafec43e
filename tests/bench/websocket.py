"""WebSocket: frames there and back through one connection; thousands of connections.

`tests.echo` returns every message; its ceiling is an echo that returns bytes as they come. The
client prepares its frames beforehand and compares what comes back as bytes, so that it is the
server's speed that is measured. Of connections, the inbox of a whole system has one for each reader
(`tests.bench.sockets`).
"""

import os
import socket
import threading
import time
from typing import NamedTuple

from barker.websocket.frames import Opcode, encode_frame
from barker.websocket.handshake import HEAD_END
from tests.bench import load, sockets
from tests.bench.children import BenchError, Child, Children, System, all_ready, cpu_s
from tests.bench.figures import Figure, Section, at_most, ratios
from tests.bench.load import Scale
from tests.bench.pipeline import race

KIB, MIB = 1024, 1024 * 1024
SIZES = {"1 KiB": KIB, "1 MiB": MIB}
# Written in one piece.
BLOCK_BYTES = MIB
DEADLINE_S = 60.0
# Our readers answer no pings.
VERY_PATIENT = ("--heartbeat", "60")
BARKS_EACH = 10

_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Origin: null\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


# --- one connection ---


def there_and_back(port: int, there: bytes, back: bytes, times: int, upgrade: bool) -> float:
    """Send `there` so many times, and hear `back` as often: seconds. Raises BenchError."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        if upgrade:
            connection.sendall(_REQUEST)
            head = b""
            while HEAD_END not in head:
                head += connection.recv(1)
        begun = time.monotonic()
        sender = threading.Thread(target=_send, args=(connection, there, times), daemon=True)
        sender.start()
        heard = bytearray(len(back))
        view = memoryview(heard)
        for _ in range(times):
            at = 0
            while at < len(back):
                count = connection.recv_into(view[at:])
                if not count:
                    raise BenchError("the echo has ended")
                at += count
            if heard != back:
                raise BenchError("that is no echo")
        seconds = time.monotonic() - begun
        sender.join()
        return seconds


def _send(connection: socket.socket, block: bytes, times: int) -> None:
    for _ in range(times):
        connection.sendall(block)


def echo(scale: Scale) -> list[Figure]:
    figures = []
    for name, size in SIZES.items():
        frames = max(1, BLOCK_BYTES // size)
        payloads = [os.urandom(size) for _ in range(frames)]
        masked = [encode_frame(Opcode.BINARY, p, mask=os.urandom(4)) for p in payloads]
        there = b"".join(masked)
        back = b"".join(encode_frame(Opcode.BINARY, p) for p in payloads)
        times = scale.echo_bytes // BLOCK_BYTES
        messages = times * frames
        ours, raw = [], []
        for _ in range(scale.fewer):
            with Children() as children:
                server = children.start("echo", "-m", "tests.echo", "--port", "0")
                ceiling = children.start("ceiling", "-m", "tests.bench.ceiling", "echo")
                ports = [child.event("ready")["port"] for child in (server, ceiling)]
                ours.append(there_and_back(ports[0], there, back, times, True))
                raw.append(there_and_back(ports[1], there, there, times, False))
        figures += [
            Figure(f"{name}, messages/s", [messages / s for s in ours], ratios(raw, ours)),
            Figure("  MB/s each way", [messages * size / s / 1e6 for s in ours]),
        ]
    return figures


# --- many connections ---


class Connections(NamedTuple):
    """What one connection costs an inbox, and what a bark costs all services."""

    idle_kib: float
    reading_kib: float  # with a stream of its own
    cpu_us: float
    over_one_us: float  # the same streams over one link


def connections(count: int) -> Connections:
    """So many readers, each over a WebSocket of its own, and each is shown `BARKS_EACH` barks."""
    world, barks = load.world(count, 1), BARKS_EACH * count
    with System(world) as system:
        services = system.pipeline(*VERY_PATIENT)
        *_, port = [child.event("ready")["port"] for child in services]
        inbox = services[-1]
        before = inbox.rss_bytes
        readers = system.start(
            "readers",
            *("-m", "tests.bench.sockets", "--port", str(port), "--state", str(system.state)),
            *("--users", str(count), "--expect", str(barks)),
        )
        readers.event("connected")
        idle = inbox.rss_bytes
        readers.go()
        readers.event("ready")
        reading = inbox.rss_bytes
        cpu_us = _services_us(system, readers, services, barks)
    with System(world) as system:
        services = system.pipeline()
        listener = system.listener(users=count, expect=barks)
        all_ready([*services, listener])
        over_one_us = _services_us(system, listener, services, barks)
    each = KIB * count
    return Connections((idle - before) / each, (reading - before) / each, cpu_us, over_one_us)


def _services_us(system: System, reader: Child, services: list[Child], barks: int) -> float:
    users = barks // BARKS_EACH
    producers = [
        system.producer(f"producer-{seed}", users=users, count=barks // 2, seed=seed)
        for seed in (1, 2)
    ]
    before = cpu_s(services)
    race(producers, reader, services, barks)
    return 1e6 * (cpu_s(services) - before) / barks


def many(scale: Scale) -> list[Figure]:
    count = scale.sockets
    allowed = sockets.allow(count)
    if allowed < count:
        return [Figure(f"{count:,} connections: {allowed} allowed", [float("nan")])]
    runs = [connections(count) for _ in range(scale.fewer)]
    cpu, over_one = [run.cpu_us for run in runs], [run.over_one_us for run in runs]
    return [
        Figure(f"{count:,} connections, KiB each", [run.idle_kib for run in runs], (), at_most(30)),
        Figure("  and with a stream", [run.reading_kib for run in runs]),
        Figure("  CPU us/bark of all services", cpu, ratios(cpu, over_one)),
    ]


def websocket(scale: Scale) -> Section:
    """Point 5."""
    return Section(
        "WebSocket, one connection, and many",
        "of speed, to an echo of bytes; of CPU, to one link for all streams",
        [*echo(scale), *many(scale)],
    )
