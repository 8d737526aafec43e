"""Cast: a trial's processes: the program in one role, behind relays, and ours in all others."""

import asyncio
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

from barker.laboratory.blows import Victim
from barker.laboratory.lab import Child, Lab
from barker.laboratory.program import Output, Program
from barker.laboratory.relay import Relay, Ways
from barker.launching.fleet import PATIENCE_S
from barker.process.arguments import DEFAULT_HOST

PORTS = {"directory": 5672, "inbox": 5820, "followers": 5690, "bizlogic": 5680, "outbox": 5800}
# The port of a program that is the directory: the others reach it through a relay at the usual
# port.
BEHIND = 5673
# Instances of the program, and of every other service. One followers service of ours is enough.
INSTANCES, OTHERS = 2, {"directory": 1, "followers": 1}


class Wish(NamedTuple):
    """A reader's choices."""

    role: str
    command: Sequence[str]
    seconds: float
    seed: int
    instances: int


class Cast:
    """All of them. `victims` has them by kind and number; each started process has an `end`."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.complaints: list[str] = []
        self.logs = pathlib.Path(tempfile.mkdtemp(prefix="barker-judge-"))
        self.ways = Ways()
        self.victims: dict[tuple[str, int], Victim] = {}
        self._relays: dict[str, Relay] = {}
        self._outputs: dict[str, Output] = {}
        self._programs: list[Program] = []

    def places(self) -> list[tuple[str, int]]:
        role = self.wish.role
        counts = {kind: OTHERS.get(kind, INSTANCES) for kind in PORTS}
        if role in counts and role != "directory":
            counts[role] = self.wish.instances
        places = [(kind, PORTS[kind] + i) for kind, count in counts.items() for i in range(count)]
        return [*places, ("directory", BEHIND)] if role == "directory" else places

    async def assign(self, lab: Lab) -> None:
        """Give each its place; none is started yet."""
        if self.wish.role == "directory":
            behind = (DEFAULT_HOST, BEHIND + lab.shift)
            relay = self.relay("directory")
            await relay.port_for(behind, to_program=True, port=lab.place[1])
        for kind, port in self.places():
            if port != BEHIND:
                number = port - PORTS[kind]
                self.victims[kind, number] = self._victim(lab, kind, number)

    async def end(self) -> None:
        """Leave nothing of the program running: it has to end at a request."""
        for program in self._programs:
            program.thaw()
            program.stop()
        closing = (asyncio.to_thread(program.close, PATIENCE_S) for program in self._programs)
        await asyncio.gather(*closing)
        for relay in self._relays.values():
            await relay.close()

    def relay(self, name: str) -> Relay:
        if name not in self._relays:

            def complain(text: str) -> None:
                self.complain(name, text)

            self._relays[name] = Relay(name, self.ways, complain)
        return self._relays[name]

    def complain(self, name: str, text: str) -> None:
        """Once for each text; threads call it, too."""
        if (line := f"{name} {text}") not in self.complaints:
            self.complaints.append(line)

    def _victim(self, lab: Lab, kind: str, number: int) -> Victim:
        async def ours() -> Child:
            child, _ = lab.start(f"{kind} --port {PORTS[kind] + number}")
            await child.until_ready()
            return child

        async def theirs() -> Child:
            return await self._start(lab, kind, number)

        start = theirs if kind == self.wish.role else ours
        return Victim(kind, number, start, PATIENCE_S)

    async def _start(self, lab: Lab, kind: str, number: int) -> Program:
        """One process of the reader's program, where its predecessor was."""
        port = (BEHIND if kind == "directory" else PORTS[kind] + number) + lab.shift
        name = f"{kind}-{port}"
        flags = ["--port", str(port), "--name", name, *lab.flags]
        if kind == "directory":
            flags += ["--no-settle"] * (name not in self._outputs)  # at its first start
        else:
            host, relayed = await self.relay(name).begin(lab.place)
            flags += ["--directory", f"{host}:{relayed}"]
        program = self.program(name, flags, port)
        await program.until_ready()
        return program

    def program(
        self,
        name: str,
        flags: Sequence[str],
        port: int | None,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> Program:
        def complain(text: str) -> None:
            self.complain(name, text)

        output = self._outputs.setdefault(name, Output(self.logs / f"{name}.log", complain))
        program = Program(name, self.wish.command, flags, port, output, complain, on_line)
        self._programs.append(program)
        return program
