"""Turns: how much of one turn of the loop may go to messages that have arrived.

All links of a process share that time. When it is over, the rest of a link's read waits behind the
reads of the others, and no more is read of that link meanwhile. So a turn does not grow with the
messages nor with the number of links, and each link has its part.
"""

import asyncio
from collections import deque
from collections.abc import Callable

# In one turn, for all reads; a message that has begun is finished. A heartbeat is fifty times that.
TURN_S = 0.02


class Turns:
    """The turns of one loop, which runs already."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._since = 0.0  # when the current work began
        self._spent_s = 0.0  # in this turn, and perhaps a little in earlier ones
        self._ends = False  # the next turn begins anew
        self._waiting: deque[Callable[[], None]] = deque()

    def begin(self) -> None:
        """Handling begins now."""
        self._since = self._now()

    @property
    def over(self) -> bool:
        """Must the current handler stop?"""
        return self._spent_s + self._now() - self._since > TURN_S

    def end(self) -> None:
        """The handler is done, or its time is over."""
        self._spent_s += self._now() - self._since
        # A call at the next turn costs a turn. So turns that were short are not reported.
        if self._spent_s > TURN_S / 4 and not self._ends:
            self._ends = True
            self._loop.call_soon(self._next)

    @property
    def taken(self) -> bool:
        """Must arriving messages wait?"""
        return bool(self._waiting) or self._spent_s > TURN_S

    def wait(self, work: Callable[[], None]) -> None:
        """Call this, once, in a turn that is not over, after all that waits already."""
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
