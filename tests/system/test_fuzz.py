"""Hostile input to a process: its memory does not grow."""

import contextlib
import pathlib
import unittest

from barker.disk import keys
from tests.tools.fleet import SLOW, Fleet
from tests.tools.wireclient import Wire, WireTest


@unittest.skipUnless(pathlib.Path("/proc/self/statm").exists(), "memory is told by Linux")
class MemoryTest(WireTest):
    """What strangers say is not remembered, however much of it there is."""

    async def test_what_was_refused_costs_no_memory(self) -> None:
        fleet = self.enterContext(Fleet())
        directory = fleet.directory()
        secret = keys.secret(fleet.state)
        connections = 400 if SLOW else 120

        async def visit(i: int, trusted: bool) -> None:
            async with await Wire.connect(directory.port) as connection:
                if trusted:
                    await connection.greet(secret)
                long = f"x/{i}" + "y" * 60_000
                connection.send({"op": "watch", "prefix": long})
                with contextlib.suppress(ConnectionError):
                    await connection.rest()

        async def visits(numbers: range) -> float:
            for i in numbers:
                await visit(i, trusted=bool(i % 2))
            return directory.rss_bytes

        before = await visits(range(40))
        after = await visits(range(40, 40 + connections))
        self.assertLess(after - before, 40_000 * connections, "a quarter of what was said stays")
