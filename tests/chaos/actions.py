"""What is done to one instance, and its undoing."""

import asyncio
import contextlib
import pathlib
import random
import shutil
import tempfile

from barker.laboratory.blows import Blow, Victim
from barker.laboratory.lab import Child, Lab
from tests.chaos.plan import KINDS, command
from tests.chaos.scene import Scene
from tests.tools.children import SCALE
from tests.tools.fleet import DEADLINE_S, until

# More events than a receiver's window of counters is wide: 8,192.
BURST = 10_000
# With these nobody can ask it for a while.
AWAY = ("kill", "stop", "freeze", "restore")
# How long barks gather for a frozen inbox before the burst.
GATHER_S = 0.3


def victim(lab: Lab, kind: str, number: int, flags: str = "") -> Victim:
    """A place in the system of the laboratory, where nothing runs yet."""

    async def start() -> Child:
        child, _ = lab.start(f"{command(kind, number)} {flags}")
        await child.until_ready(DEADLINE_S)
        return child

    return Victim(kind, number, start, DEADLINE_S)


class Instance:
    """One place in the system, and the process that is there now, if one is."""

    def __init__(self, lab: Lab, kind: str, number: int) -> None:
        self.kind = kind
        self.number = number
        self._lab = lab
        self._port = KINDS[kind].port + number + lab.shift
        self._lock = asyncio.Lock()
        self._victim = victim(lab, kind, number)
        self.start = self._victim.start

    @property
    def name(self) -> str:
        return f"{self.kind}-{self._port}"

    @property
    def process(self) -> Child | None:
        process = self._victim.process
        assert process is None or isinstance(process, Child)
        return process

    async def suffer(self, blow: Blow, scene: Scene) -> None:
        """The blow and its undoing. A spare that does not run yet is added instead."""
        gate: contextlib.AbstractAsyncContextManager[None] = contextlib.nullcontext()
        if self.kind == "followers":
            gate = scene.followers.inside(alone=blow.action == "restore")
        async with self._lock, gate:
            process = self.process
            if process is None:
                scene.done["add"] += 1
                await self.start()
                return
            scene.done[blow.action] += 1
            takes_away = self.kind == "followers" and blow.action in AWAY
            if takes_away and not scene.others_serve(self.name):
                scene.go_alone()
            if blow.action == "burst":
                await self._burst(blow.hold_s, scene)
            elif blow.action == "unread":
                await self._leave_unread(process, blow, scene)
            elif blow.action == "restore":
                await self._restore(blow, scene)
            else:
                long = SCALE if blow.action == "freeze" else 1.0
                await self._victim.suffer(blow.action, blow.hold_s * long)

    async def _burst(self, hold_s: float, scene: Scene) -> None:
        """Barks wait for an inbox that is frozen, and their outbox stamps events meanwhile."""
        frozen = asyncio.create_task(self._victim.freeze(hold_s * SCALE))
        await asyncio.sleep(GATHER_S)
        await scene.crowd.burst(BURST)
        await frozen

    async def _leave_unread(self, process: Child, blow: Blow, scene: Scene) -> None:
        """Whoever has started it reads its lines no longer, and it has many to write."""
        process.stop_reading()
        try:
            refused, strangers = await scene.strangers.visit(self._port, blow.hold_s)
        finally:
            process.read_again()
        scene.refused.append((blow, refused))
        await asyncio.gather(*strangers)

    async def _restore(self, blow: Blow, scene: Scene) -> None:
        """A copy of its journal is put back when the journal has gone on."""
        dice = random.Random(str(blow))
        journal = self._lab.state / "journal" / self.name
        with tempfile.TemporaryDirectory(prefix="barker copy ") as folder:
            copy = pathlib.Path(folder) / "journal"
            await self._victim.end(dice.choice(["stop", "stop", "kill"]))
            await asyncio.to_thread(shutil.copytree, journal, copy)
            await self.start()
            await asyncio.sleep(blow.hold_s)
            if self.kind == "followers":
                await self._serving(scene, but=self.name)
            else:
                await scene.shown_so_far()
            await self._victim.end(dice.choice(["stop", "kill"]))
            await scene.excuse(self.kind, journal, copy)
            await asyncio.to_thread(shutil.rmtree, journal)
            await asyncio.to_thread(shutil.copytree, copy, journal)
        await self.start()
        if self.kind == "followers":
            await self._serving(scene, name=self.name)

    async def _serving(self, scene: Scene, *, name: str = "", but: str = "") -> None:
        """Wait until this followers service, or any but this, has what the others have."""

        def there() -> bool:
            graphs = scene.crowd.graphs
            if name:
                return name in graphs.complete and name in graphs.peers
            return scene.others_serve(but)

        what = f"{name} serves" if name else f"another one than {but} serves"
        await until(there, what, 3 * DEADLINE_S)
