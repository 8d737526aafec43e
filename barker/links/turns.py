"""Turns: how much of one turn of the loop is for what has arrived.

All links of a process share it. What a link has read and not handled when the time is over waits,
behind what others have read; and meanwhile nothing more is read of that link. So a turn does not
grow with what peers send, nor with how many of them there are, and each has its part.
"""

import asyncio
from collections import deque
from collections.abc import Callable

# Of one turn, for all that was read; what has begun is finished. A heartbeat has fifty times that.
TURN_S = 0.02


class Turns:
    """The turns of one loop, which runs already."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end: float | None = None  # of this turn's time; None: it has not begun
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def over(self) -> bool:
        """Has this turn had its time? The first that asks in a turn begins it."""
        now = self._loop.time()
        if self._end is None:
            self._end = now + TURN_S
            self._loop.call_soon(self._next)  # first of all that the next turn does
        return now > self._end

    @property
    def taken(self) -> bool:
        """Has what arrives now to wait?"""
        return bool(self._waiting) or self.over

    def wait(self, work: Callable[[], None]) -> None:
        """Have this done, once, in a turn that is not over, after all that waits already."""
        self._waiting.append(work)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._go_on)

    def _next(self) -> None:
        self._end = None

    def _go_on(self) -> None:
        for _ in range(len(self._waiting)):
            if self.over:
                break
            self._waiting[0]()
            self._waiting.popleft()
        if self._waiting:
            self._loop.call_soon(self._go_on)
