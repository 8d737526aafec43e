"""Tracked: a sender that remembers of each put whether it was acked or refused.

A sender tells its owner of acks and refusals as they come (`barker.delivery.sender`). Here they are
written into the put's `Outcome`, and the owner waits for the outcomes that it needs. Many puts may
share one outcome, if only the number of those without an answer matters.

Left out: time-outs. After one of them nothing is known: the receiver may have taken the put.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from barker.delivery.sender import Delivery, Put
from barker.links.link import Link, Message
from barker.process.node import Node
from barker.routing.routes import Target


class Outcome:
    """What became of one put, or of the last of those that share it; a `Job`."""

    void = False

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


class TrackedSender(Delivery):
    """Puts to one service, each of them with an `Outcome`.

    `on_refused` is called with the outcome of each put that is refused, when that is written into
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
        super().__init__(node, service)
        self.unanswered = 0  # puts
        self.had_link = False  # from then on, a time-out leaves open whether a put was taken
        self.put_off = ""  # why a receiver has last refused one for the moment
        self._on_refused = on_refused
        self._only = only
        self._progress = asyncio.Event()

    def wanted(self, target: Target) -> bool:
        return self._only is None or target == self.route.owner(self._only)

    def link_up(self, link: Link) -> None:
        self.had_link = True
        super().link_up(link)

    def on_refuse(self, link: Link, message: Message) -> None:
        self.put_off = message["reason"]
        super().on_refuse(link, message)

    def track(self, address: str, load: tuple[bytes, int, bytes], outcome: Outcome) -> None:
        """One put, which leaves with the next `pump`."""
        self.unanswered += 1
        self.put((address,), load, outcome)

    def settled(self, jobs: list[Any]) -> None:
        now = self.node.now()
        for outcome in jobs:
            outcome.pending -= 1
            outcome.acked_at = now
        self.unanswered -= len(jobs)
        self._progress.set()

    def refused(self, put: Put, code: str, reason: str, addresses: Sequence[str]) -> None:
        outcome = put.job
        assert isinstance(outcome, Outcome)
        outcome.pending -= 1
        outcome.refused, outcome.reason = code, reason
        self.unanswered -= 1
        self._progress.set()
        self._on_refused(outcome)

    async def progress(self) -> None:
        """Wait until something more is acked or refused."""
        self._progress.clear()
        await self._progress.wait()

    async def all_answered(self) -> None:
        """Wait until each put is acked or refused."""
        while self.unanswered:
            await self.progress()
