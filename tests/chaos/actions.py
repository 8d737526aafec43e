"""What is done to one instance, and its undoing."""

import asyncio
import contextlib
import pathlib
import random
import shutil
import tempfile

from tests.chaos.plan import KINDS, Event
from tests.chaos.scene import Scene
from tests.tools.children import SCALE
from tests.tools.fleet import DEADLINE_S, Fleet, Service, free_port, until

# More events than a receiver's window of counters is wide: 8,192.
BURST = 10_000
# With these nobody can ask it for a while.
AWAY = ("kill", "stop", "freeze", "restore")
# How long barks gather for a frozen inbox before the burst.
GATHER_S = 0.3


class Instance:
    """One place in the system, and the process that is there now, if one is."""

    def __init__(self, fleet: Fleet, kind: str, number: int) -> None:
        self.kind = kind
        self.number = number
        self._fleet = fleet
        self._port = fleet.port if kind == "directory" else free_port()
        self._lock = asyncio.Lock()
        self.process: Service | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}-{self._port}"

    async def start(self) -> None:
        if self.process is None:
            start = KINDS[self.kind].start
            self.process = await asyncio.to_thread(start, self._fleet, self._port)

    async def suffer(self, event: Event, scene: Scene) -> None:
        """The event and its undoing. A spare that does not run yet is added instead."""
        gate: contextlib.AbstractAsyncContextManager[None] = contextlib.nullcontext()
        if self.kind == "followers":
            gate = scene.followers.inside(alone=event.action == "restore")
        async with self._lock, gate:
            process = self.process
            if process is None:
                scene.done["add"] += 1
                await self.start()
                return
            scene.done[event.action] += 1
            takes_away = self.kind == "followers" and event.action in AWAY
            if takes_away and not scene.others_serve(self.name):
                scene.go_alone()
            if event.action == "freeze":
                await self._freeze(process, event.hold_s)
            elif event.action == "burst":
                await self._burst(process, event.hold_s, scene)
            elif event.action == "unread":
                await self._leave_unread(process, event, scene)
            elif event.action == "restore":
                await self._restore(event, scene)
            else:
                await self._end(event.action)
                await asyncio.sleep(event.hold_s)
                await self.start()

    async def _end(self, action: str) -> None:
        process, self.process = self.process, None
        assert process
        if action == "kill":
            process.popen.kill()
        else:
            process.popen.terminate()
        await asyncio.to_thread(process.ended)
        process.close()

    async def _freeze(self, process: Service, hold_s: float) -> None:
        process.freeze()
        await asyncio.sleep(hold_s * SCALE)
        process.thaw()

    async def _burst(self, process: Service, hold_s: float, scene: Scene) -> None:
        """Barks wait for an inbox that is frozen, and their outbox stamps events meanwhile."""
        frozen = asyncio.create_task(self._freeze(process, hold_s))
        await asyncio.sleep(GATHER_S)
        await scene.crowd.burst(BURST)
        await frozen

    async def _leave_unread(self, process: Service, event: Event, scene: Scene) -> None:
        """Whoever has started it reads its lines no longer, and it has many to write."""
        process.stop_reading()
        try:
            refused, strangers = await scene.strangers.visit(self._port, event.hold_s)
        finally:
            process.read_again()
        scene.refused.append((event, refused))
        await asyncio.gather(*strangers)

    async def _restore(self, event: Event, scene: Scene) -> None:
        """A copy of its journal is put back when the journal has gone on."""
        dice = random.Random(str(event))
        journal = self._fleet.state / "journal" / self.name
        with tempfile.TemporaryDirectory(prefix="barker copy ") as folder:
            copy = pathlib.Path(folder) / "journal"
            await self._end(dice.choice(["stop", "stop", "kill"]))
            await asyncio.to_thread(shutil.copytree, journal, copy)
            await self.start()
            await asyncio.sleep(event.hold_s)
            if self.kind == "followers":
                await self._serving(scene, but=self.name)
            else:
                await scene.shown_so_far()
            await self._end(dice.choice(["stop", "kill"]))
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
