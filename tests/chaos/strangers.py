"""A crowd of strangers: each says something that is no greeting, and is refused."""

import asyncio
import time

# So many fill a pipe of 64 KiB with the lines that a service logs of them.
MANY = 800
PER_S = 250.0
LATER_PER_S = 10.0
# Long enough for a service to be read again.
PATIENCE_S = 30.0


async def stranger(port: int) -> float:
    """How long one waits until it is refused."""
    begun = time.monotonic()
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
    return time.monotonic() - begun


async def strangers(port: int, seconds: float) -> list[asyncio.Task[float]]:
    """`MANY` of them, and a few more until the time is over; how long each waits."""
    begun = time.monotonic()
    tasks: list[asyncio.Task[float]] = []
    while (passed_s := time.monotonic() - begun) < seconds:
        due = min(PER_S * passed_s, MANY + LATER_PER_S * passed_s)
        tasks += [asyncio.create_task(stranger(port)) for _ in range(len(tasks), int(due))]
        await asyncio.sleep(0.01)
    return tasks
