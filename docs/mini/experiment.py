"""The experiment of all six steps: kill -9 and freeze what runs, and count barks.

    python docs/mini/step1.py experiment

It starts the programs of a step as processes on free ports, and sends barks. It waits for what the
programs print, and never for a time. So the figures of a step are the same on every machine.
"""

import asyncio
import contextlib
import io
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

# If what is waited for does not happen by then, the experiment fails.
PATIENCE_S = 120.0
HEAD = "                                            sent   lost  twice   late"

Bark = dict[str, Any]


async def run(step: Any) -> None:
    """Four times: hurt the system, bark, make it whole again, and print what became of the barks.

    A bark is lost if no reader was shown it, and late if it was shown only when all was whole.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINI_STATE"] = folder
        if "MINI_PORTS" not in os.environ:
            step.PORTS.update({kind: [free_port() for _ in ps] for kind, ps in step.PORTS.items()})
            os.environ["MINI_PORTS"] = json.dumps(step.PORTS)
        system = System(step)
        try:
            await system.start(*system.inboxes, *system.bizlogics, "outbox 1", *system.listeners)
            print(HEAD, flush=True)
            await kill_the_bizlogic_at_work(system)
            await kill_the_outbox(system)
            await keep_a_bizlogic_dead(system)
            await keep_an_inbox_dead(system)
        finally:
            await system.kill(*system.children)


async def kill_the_bizlogic_at_work(system: "System") -> None:
    """It has forwarded a hundred barks, which are shown, but it has not read one ack."""
    system.freeze(*system.inboxes)
    barks = await system.send(100)
    middle = system.children["bizlogic 1"]
    await until(lambda: all(f"passed on {bark['text']}" in middle.lines for bark in barks))
    system.freeze("bizlogic 1")
    system.thaw(*system.inboxes)
    await until(lambda: system.has_shown(barks))
    await system.kill("bizlogic 1")
    barks += await system.send(100)
    await system.report("kill -9 of a bizlogic at work", barks, "bizlogic 1")


async def kill_the_outbox(system: "System") -> None:
    """It holds a hundred barks that wait for a bizlogic."""
    await system.kill(*system.bizlogics)
    barks = await system.send(100)
    await system.kill("outbox 1")
    await system.report("kill -9 of a full outbox", barks, "outbox 1", *system.bizlogics)


async def keep_a_bizlogic_dead(system: "System") -> None:
    await system.kill("bizlogic 1")
    barks = await system.send(100)
    await system.report("the first bizlogic stays dead", barks, "bizlogic 1")


async def keep_an_inbox_dead(system: "System") -> None:
    await system.kill("inbox 1")
    barks = await system.send(100)
    await system.report("the first inbox stays dead", barks, "inbox 1")


class System:
    """The processes of a step, and the barks that were sent and shown."""

    def __init__(self, step: Any) -> None:
        self.step = step
        self.bizlogics = [f"bizlogic {i + 1}" for i in range(len(step.PORTS["bizlogic"]))]
        self.inboxes = [f"inbox {i + 1}" for i in range(len(step.PORTS["inbox"]))]
        self.listeners = [f"listen {reader}" for reader in step.FOLLOWERS.values()]
        self.children: dict[str, Child] = {}
        self.sent = 0

    # --- processes ---

    async def start(self, *names: str) -> None:
        """Start these, one after the other, each until all of its connections are there."""
        for name in names:
            child = Child(name, self.step)
            others = [(other, other.links(child.port)) for other in self.children.values()]
            await child.start()
            self.children[name] = child
            await until(self.are_ready)
            for other, before in others:
                if other.port in child.targets:
                    await child.until_linked(other.port)
                if child.port in other.targets:
                    await other.until_linked(child.port, before)

    def are_ready(self) -> bool:
        """Do all listen that others connect to?"""
        return all("ready" in child.lines for child in self.children.values() if child.port)

    async def kill(self, *names: str) -> None:
        for name in names:
            await self.children.pop(name).kill()

    def freeze(self, *names: str) -> None:
        for name in names:
            process = self.children[name].process
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # from here on it does nothing

    def thaw(self, *names: str) -> None:
        for name in names:
            self.children[name].process.send_signal(signal.SIGCONT)

    # --- barks ---

    async def send(self, count: int) -> list[Bark]:
        """Send so many barks, of all authors in turn; they are the outbox's when this returns."""
        users = list(self.step.FOLLOWERS)
        numbers = range(self.sent, self.sent + count)
        barks = [{"user": users[n % len(users)], "text": f"bark {n}"} for n in numbers]
        self.sent += count
        with contextlib.redirect_stdout(io.StringIO()):
            await self.step.send(*barks)
        return barks

    def shown(self) -> Counter[str]:
        """How often each text was shown."""
        lines = [line for name in self.listeners for line in self.children[name].lines]
        return Counter(line.partition(": ")[2] for line in lines)

    def has_shown(self, barks: list[Bark]) -> bool:
        shown = self.shown()
        return all(bark["text"] in shown for bark in barks)

    async def report(self, title: str, barks: list[Bark], *dead: str) -> None:
        """Print what has become of these barks, and start what is dead meanwhile."""
        if any(name in self.children for name in self.bizlogics):
            ports = [child.port for child in self.children.values()]
            followers, inbox_of = self.step.FOLLOWERS, self.step.inbox_of
            on_time = [bark for bark in barks if inbox_of(followers[bark["user"]]) in ports]
            await until(lambda: self.has_shown(on_time))  # there is a way through what still runs
        before = self.shown()
        await self.start(*dead)
        # A reader's barks come in their order: when the last ones are shown, all others were.
        last = await self.send(len(self.listeners))
        await until(lambda: self.has_shown(last))
        count = self.shown()
        texts = [bark["text"] for bark in barks]
        lost = sum(text not in count for text in texts)
        twice = sum(count[text] > 1 for text in texts)
        late = sum(text in count and text not in before for text in texts)
        print(f"{title:<41}{len(barks):7}{lost:7}{twice:7}{late:7}", flush=True)


class Child:
    """A program in a process of its own, and the lines that it has printed."""

    def __init__(self, name: str, step: Any) -> None:
        self.argv = [step.__file__, *name.split()]
        program, word = name.split()
        ports = step.PORTS.get(program)
        self.port = ports[int(word) - 1] if ports else 0
        # What it connects to.
        following = {"outbox": "bizlogic", "bizlogic": "inbox"}.get(program, "")
        self.targets = step.PORTS.get(following) or ([] if ports else [step.inbox_of(word)])
        self.lines: list[str] = []

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self.argv),
            stdout=asyncio.subprocess.PIPE,
            process_group=0,  # Ctrl-C is for us, and then we kill it
        )
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        assert self.process.stdout
        async for text in self.process.stdout:
            self.lines.append(text.decode().strip())

    def links(self, port: int) -> int:
        """How often it has connected to that port."""
        return self.lines.count(f"linked to {port}")

    async def until_linked(self, port: int, before: int = 0) -> None:
        await until(lambda: self.links(port) > before)

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            self.process.kill()
        await self.process.wait()
        await self.reading


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"did not happen in {PATIENCE_S:g} s")
        await asyncio.sleep(0.01)


def free_port() -> int:
    """One below those that systems give to outgoing connections."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port := random.randrange(10_000, 30_000)))
                return port
            except OSError:
                pass
