"""Tracked: a sender that remembers of each put whether it was acked or refused.

A sender notifies its owner of acks and refusals as they come (`barker.delivery.sender`). Here they
are written into the put's `Outcome`, and the owner waits for the outcomes that it needs. Many puts
may share one outcome, if only the number of those without an answer matters.

Left out: time-outs. After one of them nothing is known: the receiver may have taken the put.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from barker.delivery.batches import Batch
from barker.delivery.sender import Sender
from barker.process.node import Node
from barker.routing.routes import Target
from barker.wire.ops import Item, Refuse


class Outcome:
    """The answer to one put, or to the last of those that share it."""

    def __init__(self) -> None:
        self.pending = 0
        self.acked_at: float | None = None  # by the node's clock
        self.refused = ""  # with this code,
        self.reason = ""  # and these words

    @property
    def acked(self) -> bool:
        return self.acked_at is not None

    @property
    def answered(self) -> bool:
        return self.acked or bool(self.refused)


class TrackedSender:
    """Puts to one service, each of them with an `Outcome`.

    `on_refused` is called with the outcome of each refused put, after the refusal was written into
    it. With `only` there is a link to the owner of that user's share, and to no other instance.
    """

    def __init__(
        self,
        node: Node,
        service: str = "outbox",
        on_refused: Callable[[Any], None] = lambda outcome: None,
        *,
        only: str | None = None,
    ) -> None:
        self.sender: Sender[Outcome] = Sender(
            node,
            service,
            self._done,
            self._refused,
            wanted=self._wanted,
            changed=lambda: self._progress.set(),
        )
        self.unanswered = 0  # puts
        self._node = node
        self._on_refused = on_refused
        self._only = only
        self._progress = asyncio.Event()

    def __len__(self) -> int:
        """Puts that no receiver has taken over yet."""
        return len(self.sender)

    def _wanted(self, target: Target) -> bool:
        return self._only is None or target == self.sender.route.owner(self._only)

    def track(self, address: str, item: Item, outcome: Outcome) -> None:
        """One put, which leaves with the next `pump`."""
        self.unanswered += 1
        outcome.pending += 1
        self.sender.put(address, item, outcome)

    def pump(self) -> None:
        """Send the puts since the last call, as far as windows allow."""
        self.sender.pump()

    def _done(self, batches: Sequence[Batch[Outcome]]) -> None:
        now = self._node.now()
        for batch in batches:
            for outcome in batch.all_jobs:
                outcome.pending -= 1
                outcome.acked_at = now
            self.unanswered -= batch.size
        self._progress.set()

    def _refused(self, one: Batch[Outcome], refusal: Refuse) -> None:
        (outcome,) = one.jobs
        outcome.pending -= 1
        outcome.refused, outcome.reason = refusal.code, refusal.reason
        self.unanswered -= 1
        self._progress.set()
        self._on_refused(outcome)

    async def progress(self) -> None:
        """Wait until another put is acked or refused, or links have changed."""
        self._progress.clear()
        await self._progress.wait()

    async def linked(self) -> None:
        """Wait until a link to a receiver was up."""
        while not self.sender.had_link:
            await self.progress()

    async def all_answered(self) -> None:
        """Wait until each put is acked or refused."""
        while self.unanswered:
            await self.progress()
