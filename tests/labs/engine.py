"""The outbox with an engine, before a real server: conformance, a trial, and its cost beside ours.

    python -m tests.labs.engine

Needs ``redis-server``; without it, one line says so. Redis runs on a free port and in a temporary
folder, and nothing of it is left.
"""

import asyncio
import contextlib
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from barker.disk.files import ROOT
from barker.laboratory.guest import Guest
from barker.laboratory.lab import Child, Lab, until
from barker.laboratory.producer import Producer
from barker.process.arguments import Parser

ENGINE = ROOT / "docs" / "engines" / "redisoutbox.py"
SERVER = shutil.which("redis-server")
# Barks that are put at once, and that are put one after the other.
MANY, SINGLE = 20_000, 200
# Of each journal; the best counts, since other work on the machine only slows down.
ROUNDS = 3
DEADLINE_S = 60.0


class Server(NamedTuple):
    """A Redis, and its HOST:PORT."""

    place: str
    process: "subprocess.Popen[bytes]"


@contextlib.contextmanager
def redis(appendfsync: str = "everysec", *more: str) -> Iterator[Server]:
    """A Redis that keeps what it acks as far as ``appendfsync`` goes."""
    assert SERVER
    with tempfile.TemporaryDirectory(prefix="barker-redis-") as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        flags = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        flags += ["--appendonly", "yes", "--appendfsync", appendfsync, *more]
        server = subprocess.Popen([SERVER, *flags], stdout=subprocess.DEVNULL)
        try:
            _wait_for(port, server)
            yield Server(f"127.0.0.1:{port}", server)
        finally:
            server.kill()
            server.wait(DEADLINE_S)


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as it:
                it.sendall(b"PING\r\n")
                if it.recv(7) == b"+PONG\r\n":
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise RuntimeError("redis-server does not answer")


def judge(*words: str) -> int:
    return subprocess.run([sys.executable, "-m", "barker.judge", *words], cwd=ROOT).returncode


async def cost(program: pathlib.Path, *flags: str) -> tuple[float, float]:
    """Barks a second, put at once; and milliseconds until a single one is acked, the median."""
    async with Lab() as lab:
        lab.find_ports(["directory --port 5672", "outbox --port 5800"])
        directory, _ = lab.start("directory --port 5672")
        await directory.until_ready()
        port = str(5800 + lab.shift)
        words = [str(program), "--port", port, *lab.flags, *flags]
        outbox = Child("outbox", words)
        lab.children.append(outbox)
        await outbox.until_ready()
        guest = Guest(lab.args())
        producer = Producer(guest)
        async with guest.running():
            users = ["ark3", "rdl", "toto", "rhs"]

            def answered() -> bool:
                return not producer.unanswered

            producer.say(users)
            await until(answered, "the first barks are acked")
            times = []
            for n in range(SINGLE):
                begun = time.perf_counter()
                producer.say([users[n % 4]], "woof")
                while not answered() and time.perf_counter() - begun < DEADLINE_S:
                    await asyncio.sleep(0)
                times.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            producer.say(users * (MANY // 4), "woof")
            await until(answered, "all barks are acked", DEADLINE_S)
            spent = time.perf_counter() - begun
    return MANY / spent, 1000 * statistics.median(times)


def costs() -> Iterator[str]:
    """The lines of a table: our journal, and Redis."""
    ours = ROOT / "barker" / "outbox.py"
    yield f"{'journal':<34}{'barks a second':>16}{'ms until acked':>16}"
    rows: Sequence[tuple[str, str, Sequence[str]]] = (
        ("ours", "", ()),
        ("ours, --fsync", "", ("--fsync",)),
        ("Redis, appendfsync everysec", "everysec", ()),
        ("Redis, appendfsync always", "always", ()),
    )
    for title, appendfsync, flags in rows:
        runs = []
        for _ in range(ROUNDS):
            if appendfsync:
                with redis(appendfsync) as server:
                    runs.append(asyncio.run(cost(ENGINE, "--redis", server.place)))
            else:
                runs.append(asyncio.run(cost(ours, *flags)))
        found = max(speed for speed, _ in runs), min(ms for _, ms in runs)
        yield f"{title:<34}{found[0]:>16,.0f}{found[1]:>16.2f}"


def main() -> int:
    parser = Parser(
        "-m tests.labs.engine",
        "Judge the outbox with a Redis stream before a real server, and measure its cost.",
        ["-m tests.labs.engine"],
    )
    parser.parse_args()
    if SERVER is None:
        print("LEFT OUT: there is no redis-server here")
        return 0
    with redis() as server:
        command = f"outbox={sys.executable} {ENGINE} --redis {server.place}"
        status = judge("--conformance", command)
    with redis() as server:
        command = f"outbox={sys.executable} {ENGINE} --redis {server.place}"
        status = judge("--with", command, "--seed", "7", "--seconds", "15") or status
    for line in costs():
        print(line, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
