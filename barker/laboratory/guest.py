"""Guest: a node that runs inside another program's process, for as long as a block lasts."""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

from barker.disk import keys
from barker.process.node import Node
from barker.wire.rights import SERVICE


class Guest(Node):
    kind = "guest"

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


class Member(Guest):
    """A guest with the services' key: it may read all that services read, as the whole graph."""

    role = SERVICE

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.key = keys.secret(args.state, args.secret_file)
