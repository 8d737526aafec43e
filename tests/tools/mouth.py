"""A mouth: a sender that knows of all it was given to put whether it was acked or refused."""

import asyncio
from collections.abc import Callable
from typing import Any

from barker.delivery.sender import Delivery, Queued
from barker.process.node import Node
from barker.wire.ops import Item, Refuse


class Said:
    """What is put, once or more often; a `Job`."""

    void = False

    def __init__(self) -> None:
        self.pending = 0
        self.acked_at: float | None = None  # the last time
        self.refused = ""  # with this code,
        self.reason = ""  # and these words

    @property
    def acked(self) -> bool:
        return self.acked_at is not None


class Mouth(Delivery):
    """Puts to one service, each of them with a `Said`; `refused` is called with what is refused."""

    def __init__(
        self,
        node: Node,
        service: str = "outbox",
        on_refused: Callable[[Any], None] = lambda said: None,
    ) -> None:
        super().__init__(node, service)
        self.unanswered = 0
        self._on_refused = on_refused
        self._progress = asyncio.Event()

    def say(self, address: str, item: Item, said: Said) -> None:
        """One put, which leaves with the next `pump`."""
        self.unanswered += 1
        self.put((address,), item, said)

    def settled(self, jobs: list[Any]) -> None:
        now = self.node.now()
        for said in jobs:
            said.pending -= 1
            said.acked_at = now
        self.unanswered -= len(jobs)
        self._progress.set()

    def refused(self, queued: Queued, refusal: Refuse) -> None:
        said = queued.job
        assert isinstance(said, Said)
        said.pending -= 1
        said.refused, said.reason = refusal.code, refusal.reason
        self.unanswered -= 1
        self._progress.set()
        self._on_refused(said)

    async def progress(self) -> None:
        """Wait until something more is acked or refused."""
        self._progress.clear()
        await self._progress.wait()
