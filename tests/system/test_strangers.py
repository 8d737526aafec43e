"""Very many strangers that do their worst, and what a member notices of them.

The control is the same attacker on a port of a process that only accepts and reads: so what the
attacker costs the machine is told from what it costs the service. It runs before and after, for
thousands of connections that have ended make each call of a socket slower for a while.

The p99 is that of a second, and of several seconds their median: a machine that does something else
for a moment spoils one of them, and not the judgement.
"""

import asyncio
import contextlib
import pathlib
import re
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import time
import unittest
from collections.abc import Callable
from functools import partial

from barker.disk import keys
from barker.disk.files import ROOT
from barker.links.connection import LINGER_S
from barker.links.porch import HELLO_TIMEOUT_S
from tests.tools.children import at_once
from tests.tools.fleet import DEADLINE_S, SCALE, SLOW, TLS_FLAGS, Fleet, Service, until
from tests.tools.wireclient import Wire
from tests.unit.test_tls import trusting

STRANGERS, SECONDS = (4000, 8) if SLOW else (300, 2)
# Between two pings of the member; a service whose turns are long answers some of them late.
BETWEEN_S = 0.004

# Accepts and reads, and nothing else, as cheaply as Python can.
DUMMY = """
import selectors, socket, sys
door = socket.create_server(("127.0.0.1", 0), backlog=1024)
door.setblocking(False)
print(door.getsockname()[1], flush=True)
events = selectors.DefaultSelector()
events.register(door, selectors.EVENT_READ)
while True:
    for key, _ in events.select():
        try:
            if key.fileobj is door:
                channel, _ = door.accept()
                channel.setblocking(False)
                events.register(channel, selectors.EVENT_READ)
            elif not key.fileobj.recv(65536):
                raise OSError
        except BlockingIOError:
            pass
        except OSError:
            if key.fileobj is not door:
                events.unregister(key.fileobj)
                key.fileobj.close()
"""


class Member:
    """Pings a service all the while, and remembers how long each answer took."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._took: list[float] = []
        self.task = asyncio.create_task(self._ping())

    async def _ping(self) -> None:
        while True:
            begun = time.perf_counter()
            await self._wire.before_pong()
            self._took.append(time.perf_counter() - begun)
            await asyncio.sleep(BETWEEN_S)

    async def p99_ms(self, seconds: int) -> float:
        """Of the answers of a second from now on; the median of so many seconds."""
        each = []
        for _ in range(seconds):
            self._took.clear()
            await asyncio.wait({self.task}, timeout=1)
            each.append(1000 * sorted(self._took)[int(0.99 * len(self._took))])
        return statistics.median(each)


class StrangersTest(unittest.IsolatedAsyncioTestCase):
    alone = True  # it measures how long others wait

    async def attacked(self, member: Member, port: int) -> tuple[float, str]:
        """The member's p99 meanwhile, and the attacker's rate."""
        argv = ["-m", "tests.tools.attacker", str(port), str(STRANGERS), str(SECONDS + 2)]
        attacker = await asyncio.create_subprocess_exec(
            sys.executable, *argv, cwd=ROOT, stdout=subprocess.PIPE
        )
        assert attacker.stdout
        async with asyncio.timeout(DEADLINE_S):
            self.assertEqual(await attacker.stdout.readline(), b"knocking\n")
        p99_ms = await member.p99_ms(SECONDS)
        rate, _ = await attacker.communicate()
        return p99_ms, rate.decode().strip()

    async def test_promise_7_a_member_hardly_notices_thousands_that_do_their_worst(self) -> None:
        asyncio.get_running_loop().set_debug(False)
        dummy = subprocess.Popen([sys.executable, "-c", DUMMY], stdout=subprocess.PIPE, text=True)
        self.addCleanup(dummy.wait)
        self.addCleanup(dummy.kill)
        assert dummy.stdout
        self.addCleanup(dummy.stdout.close)
        elsewhere = int(dummy.stdout.readline())
        with Fleet() as fleet:
            directory = await asyncio.to_thread(fleet.directory)
            async with await Wire.open(directory.port, keys.secret(fleet.state)) as wire:
                member = Member(wire)
                before = await member.p99_ms(SECONDS // 2)
                control, rate_there = await self.attacked(member, elsewhere)
                during, rate_here = await self.attacked(member, directory.port)
                again, _ = await self.attacked(member, elsewhere)
                after = await member.p99_ms(SECONDS // 2)
                self.assertFalse(member.task.done(), directory)
                member.task.cancel()
            said = (
                f"{STRANGERS} strangers: p99 of a ping {before:.2f} ms before, {control:.2f} ms "
                f"with {rate_there} connects a second elsewhere, {during:.2f} ms with {rate_here} "
                f"here, {again:.2f} ms with those elsewhere again, {after:.2f} ms after"
            )
            if SLOW:
                print(f"\n{said}")
                self.assertLess(during, 2 * max(control, again), said)
            lost = [line for line in directory.lines if re.search("silent|does not read", line)]
            self.assertEqual(lost, [])


# Files that a service may have here; that makes room for 240 strangers.
FILES, ROOM = 1024, 240


def files_of(pid: int) -> int:
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


class StalledTest(unittest.IsolatedAsyncioTestCase):
    """What holds a service that is full of connections that stop in the middle."""

    async def asyncSetUp(self) -> None:
        self.context = trusting()
        outgoing = ssl.MemoryBIO()
        client = self.context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        self.hello = outgoing.read()
        fleet = self.enterContext(Fleet(more_flags=TLS_FLAGS))
        few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (FILES, FILES))
        self.services = await at_once(*[partial(fleet.start, "directory", preexec_fn=few)] * 4)

    def opened(self, service: Service) -> socket.socket:
        return self.enterContext(socket.create_connection(("127.0.0.1", service.port)))

    def greeting(self, service: Service) -> None:
        """TLS is done, and no hello comes."""
        plain = self.opened(service)
        self.enterContext(self.context.wrap_socket(plain, server_hostname="localhost"))

    def silent(self, service: Service) -> None:
        self.opened(service)

    def half_hello(self, service: Service) -> None:
        self.opened(service).sendall(self.hello[: len(self.hello) // 2])

    def half_handshake(self, service: Service) -> None:
        channel = self.opened(service)
        channel.sendall(self.hello)
        channel.recv(1)

    async def held(
        self, service: Service, stall: Callable[[Service], None]
    ) -> tuple[float, int, float]:
        """By as many as there is room for: memory, and files; and for how long."""
        bytes_before, files_before = service.rss_bytes, files_of(service.pid)
        await asyncio.gather(*(asyncio.to_thread(stall, service) for _ in range(ROOM)))
        begun = time.perf_counter()
        taken = service.rss_bytes - bytes_before
        opened = files_of(service.pid) - files_before
        await until(lambda: files_of(service.pid) <= files_before + 2, "all are gone")
        return taken, opened, time.perf_counter() - begun

    @unittest.skipUnless(sys.platform == "linux", "counts another process's files")
    async def test_a_stalled_handshake_holds_no_more_than_a_stalled_greeting(self) -> None:
        stalls = (self.greeting, self.silent, self.half_hello, self.half_handshake)
        held = await asyncio.gather(*map(self.held, self.services, stalls))
        most_bytes = held[0][0]
        for stall, (taken, opened, for_s) in zip(stalls, held, strict=True):
            with self.subTest(stall.__name__):
                self.assertLess(taken, most_bytes + 2**20)
                self.assertLessEqual(opened, ROOM + 10)
                self.assertLess(for_s, HELLO_TIMEOUT_S + LINGER_S + 2 * SCALE)
