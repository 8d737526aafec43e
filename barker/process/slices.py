"""Slices: work that grows with what is held, a little of it in each turn of the loop.

Such work is written as a generator that yields between two small steps. Others change what it goes
through while it rests: so it takes nothing for granted that it saw before a `yield`.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from barker.process.faults import contained

Steps = Iterator[None]

# Of one turn, for all such work together.
SLICE_S = 0.005


class Timed(Protocol):
    """What this asks of a node."""

    def later(self, delay_s: float, work: Callable[[], None]) -> None: ...


class Slices:
    """All such work of one process; of several, each has a slice in its turn."""

    def __init__(self, node: Timed) -> None:
        self._node = node
        self._works: deque[Steps] = deque()
        self._timed = self._running = False

    def __len__(self) -> int:
        """How much of such work is not done yet."""
        return len(self._works)

    def add(self, steps: Steps) -> None:
        """Do this, too. If nothing else is to be done, the first slice is now."""
        self._works.append(steps)
        if not self._timed and not self._running:
            self._go_on()

    def _go_on(self) -> None:
        self._timed, self._running = False, True
        try:
            end = time.perf_counter() + SLICE_S
            while self._works:
                steps = self._works.popleft()
                if not self._is_done(steps, end):
                    self._works.append(steps)
                if time.perf_counter() >= end:
                    break
        finally:
            self._running = False
        if self._works:
            self._timed = True
            self._node.later(0, self._go_on)

    @staticmethod
    def _is_done(steps: Steps, end: float) -> bool:
        with contained(steps):  # after a fault, it has no more steps
            for _ in steps:
                if time.perf_counter() >= end:
                    return False
        return True


def drain(held: dict[Any, Any]) -> Steps:
    """Free what it holds: to free very many objects takes long, too."""
    while held:
        held.popitem()
        yield
