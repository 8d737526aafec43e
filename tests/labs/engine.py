"""The outbox with an engine, before a real server: conformance, a trial, and its cost beside ours.

    python -m tests.labs.engine

Needs ``redis-server``; without it, one line says so. Redis runs on a free port and in a temporary
folder, and nothing of it is left.
"""

import asyncio
import contextlib
import os
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
MANY, SINGLE = 60_000, 200
# Of each journal; the least counts, since other work on the machine only adds to it.
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


class Cost(NamedTuple):
    """Microseconds of processor time for a bark, and milliseconds until a single one is acked."""

    outbox_us: float
    redis_us: float
    acked_ms: float


def cpu_s(pid: int) -> float:
    """Processor time of a process until now. Linux only."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def cost(program: pathlib.Path, redis_pid: int | None, *flags: str) -> Cost:
    """Barks one by one, and then many in lines of a hundred."""
    async with Lab() as lab:
        lab.find_ports(["directory --port 5672", "outbox --port 5800"])
        directory, _ = lab.start("directory --port 5672")
        await directory.until_ready()
        words = [str(program), "--port", str(5800 + lab.shift), *lab.flags, *flags]
        outbox = Child("outbox", words)
        lab.children.append(outbox)
        await outbox.until_ready()
        guest = Guest(lab.args())
        producer = Producer(guest)
        pids = [outbox.pid, *([redis_pid] if redis_pid else [])]
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
            before = [cpu_s(pid) for pid in pids]
            for _ in range(MANY // 100):
                producer.say(users * 25, "woof")
                await asyncio.sleep(0)
            await until(answered, "all barks are acked", DEADLINE_S)
            spent = [cpu_s(pid) - had for pid, had in zip(pids, before, strict=True)]
    each = [1e6 * cpu / MANY for cpu in (*spent, 0.0)]
    return Cost(each[0], each[1], 1000 * statistics.median(times))


def costs() -> Iterator[str]:
    """The lines of a table: our journal, and Redis."""
    ours = ROOT / "barker" / "outbox.py"
    yield f"{'journal':<30}{'us of CPU a bark: outbox':>26}{'Redis':>8}{'ms until acked':>16}"
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
                    place = ("--redis", server.place)
                    runs.append(asyncio.run(cost(ENGINE, server.process.pid, *place)))
            else:
                runs.append(asyncio.run(cost(ours, None, *flags)))
        found = Cost(*(min(column) for column in zip(*runs, strict=True)))
        yield f"{title:<30}{found.outbox_us:>26.1f}{found.redis_us:>8.1f}{found.acked_ms:>16.2f}"


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
