"""Turns: how much of one turn of the loop is for what has arrived.

All links of a process share it. What a link has read and not handled when the time is over comes in
one of the next turns, behind what others have read; and meanwhile nothing more is read of it. So a
turn does not grow with what peers send, nor with how many of them there are.
"""

import asyncio

# Of one turn, for all that was read; what has begun is finished. A heartbeat has fifty times that.
TURN_S = 0.02


class Turns:
    """The turns of one loop, which runs already."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end: float | None = None  # of this turn's time; None: it has not begun

    @property
    def over(self) -> bool:
        """Has this turn had its time? The first that asks in a turn begins it."""
        now = self._loop.time()
        if self._end is None:
            self._end = now + TURN_S
            self._loop.call_soon(self._next)  # first of all that the next turn does
        return now > self._end

    def _next(self) -> None:
        self._end = None
