"""Guest: a node that runs inside another program's process, for as long as a block lasts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

from barker.process.node import Node


class Guest(Node):
    """Signals stay its host's."""

    kind = "guest"

    def catch_signals(self) -> None:
        pass

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """It runs in this loop until the block ends; before that, `started` has been called."""
        run = asyncio.create_task(self.run())
        await asyncio.sleep(0)
        try:
            yield self
        finally:
            self.stop()
            await run
