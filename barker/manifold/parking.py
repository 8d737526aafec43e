"""Parking: an entry that we have acked and a receiver refused for good becomes a dead letter.

While the disk has no room for it, the write is retried, and the entry counts as not settled. With
`--fsync` it is settled only when the letter is on the disk, which a thread waits for.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from barker.disk.deadletters import DeadLetters, Letter
from barker.process.node import Node, log

# When a dead letter could not be written, it is tried again after this.
PARK_AGAIN_S = 1.0


class Parking:
    """The dead letters of one service, and those that wait for the disk."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.letters = DeadLetters(None)
        self._waiting: deque[tuple[Letter, Callable[[], None]]] = deque()

    def open(self, letters: DeadLetters) -> None:
        """Keep letters there from now on."""
        self.letters = letters

    def park(self, letter: Letter, parked: Callable[[], None]) -> None:
        """Keep this one; `parked` is called when that is done, at once unless the disk is full."""
        self._waiting.append((letter, parked))
        if len(self._waiting) == 1:
            self._park_all()

    def _park_all(self) -> None:
        while self._waiting:
            letter, parked = self._waiting[0]
            try:
                self.letters.park(letter, time.time_ns() // 1_000_000)
            except Exception as fault:
                log.error("a dead letter stays in its queue: %s", fault)
                self._node.later(PARK_AGAIN_S, self._park_all)
                return
            self._waiting.popleft()
            if self._node.args.fsync:
                self._node.start(self._sync(letter, parked), name="sync a dead letter")
            else:
                parked()

    async def _sync(self, letter: Letter, parked: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(self.letters.sync)
        except OSError as fault:
            log.error("a dead letter may not be on the disk, and stays in its queue: %s", fault)
            self._node.later(PARK_AGAIN_S, lambda: self.park(letter, parked))
        else:
            parked()
