"""A crowd of strangers: each says something that is no greeting, and is refused."""

import asyncio
import time

# So many fill a pipe of 64 KiB, and what its reader has buffered, with a line of 80 bytes for each.
MANY = 1_200
PER_S = 300.0
LATER_PER_S = 10.0
# Long enough for a service to be read again.
PATIENCE_S = 30.0


async def stranger(port: int) -> None:
    """One comes, and is refused."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"nonsense\n")
                await reader.read(1)
            finally:
                writer.transport.abort()
    except OSError:  # also a time-out
        pass


class Strangers:
    """All of them, wherever they go: at no time more than `PER_S` come."""

    def __init__(self) -> None:
        self._one_crowd = asyncio.Lock()

    async def visit(self, port: int, seconds: float) -> tuple[int, list[asyncio.Task[None]]]:
        """`MANY` of them, then a few for so long: how many are refused in its second half.

        On a busy machine it may be the crowd that is refused even then; by a service that waits to
        be read, it is nobody. To be awaited afterwards are all of them.
        """
        tasks: list[asyncio.Task[None]] = []
        async with self._one_crowd:
            await self._come(port, tasks, PER_S, MANY / PER_S)
        await self._come(port, tasks, LATER_PER_S, seconds / 2)
        before = sum(task.done() for task in tasks)
        await self._come(port, tasks, LATER_PER_S, seconds / 2)
        return sum(task.done() for task in tasks) - before, tasks

    async def _come(
        self, port: int, tasks: list[asyncio.Task[None]], per_s: float, seconds: float
    ) -> None:
        begun, before = time.monotonic(), len(tasks)
        while (passed_s := time.monotonic() - begun) < seconds:
            due = before + int(per_s * passed_s)
            tasks += [asyncio.create_task(stranger(port)) for _ in range(len(tasks), due)]
            await asyncio.sleep(0.01)
