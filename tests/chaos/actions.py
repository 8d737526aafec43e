"""What is done to one instance, and its undoing."""

import asyncio

from tests.chaos.plan import KINDS, Event
from tests.fleet import Fleet, Service, free_port


class Instance:
    """One place in the system, and the process that is there now, if one is."""

    def __init__(self, fleet: Fleet, kind: str, number: int) -> None:
        self.kind = kind
        self.number = number
        self._fleet = fleet
        self._port = fleet.port if kind == "directory" else free_port()
        self._lock = asyncio.Lock()
        self.process: Service | None = None

    async def start(self) -> None:
        if self.process is None:
            start = KINDS[self.kind].start
            loop = asyncio.get_running_loop()
            self.process = await loop.run_in_executor(None, start, self._fleet, self._port)

    async def suffer(self, event: Event) -> None:
        """The event and its undoing. A spare that does not run yet is added instead."""
        async with self._lock:
            if self.process is None:
                await self.start()
            elif event.action == "freeze":
                self.process.freeze()
                await asyncio.sleep(event.hold_s)
                self.process.thaw()
            else:
                process, self.process = self.process, None
                if event.action == "kill":
                    process.child.kill()
                else:
                    process.child.terminate()
                await asyncio.get_running_loop().run_in_executor(None, process.ended)
                process.close()
                await asyncio.sleep(event.hold_s)
                await self.start()
