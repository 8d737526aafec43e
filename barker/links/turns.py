"""Turns: how much of one turn of the loop is for what has arrived.

All links of a process share it. When the time is over, the rest of what a link has read waits
behind what other links have read, and no more is read of that link meanwhile. So a turn does not
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
        self._now = self._loop.time
        self._since = 0.0  # when what is handled now was begun
        self._spent_s = 0.0  # of this turn, and perhaps a little of earlier ones
        self._ends = False  # the next turn begins anew
        self._waiting: deque[Callable[[], None]] = deque()

    def begin(self) -> None:
        """Something is handled from now on."""
        self._since = self._now()

    @property
    def over(self) -> bool:
        """Has what is handled now to stop?"""
        return self._spent_s + self._now() - self._since > TURN_S

    def end(self) -> None:
        """It is handled, or its time is over."""
        self._spent_s += self._now() - self._since
        # To be called by the next turn costs a turn. So nothing is said of turns that were short.
        if self._spent_s > TURN_S / 4 and not self._ends:
            self._ends = True
            self._loop.call_soon(self._next)

    @property
    def taken(self) -> bool:
        """Has what arrives now to wait?"""
        return bool(self._waiting) or self._spent_s > TURN_S

    def wait(self, work: Callable[[], None]) -> None:
        """Have this done, once, in a turn that is not over, after all that waits already."""
        self._waiting.append(work)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._go_on)

    def _next(self) -> None:
        self._spent_s = 0.0
        self._ends = False

    def _go_on(self) -> None:
        for _ in range(len(self._waiting)):
            if self._spent_s > TURN_S:
                break
            self._waiting[0]()
            self._waiting.popleft()
        if self._waiting:
            self._loop.call_soon(self._go_on)
