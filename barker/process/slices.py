"""Slices: long work, a little of it in each turn of the loop.

Such work is a generator that yields between two small steps. Other code may change its data while
it rests. So after a `yield` it assumes nothing about what it read before.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from barker.process.faults import contained

Steps = Iterator[None]

# Seconds of one turn, for all such work together.
SLICE_S = 0.005


class Timed(Protocol):
    """What this needs of a node."""

    def later(self, delay_s: float, work: Callable[[], None]) -> None: ...


class Slices:
    """All such work of one process; each piece has a slice in its turn."""

    def __init__(self, node: Timed) -> None:
        self._node = node
        self._works: deque[Steps] = deque()
        self._timed = self._running = False

    def __len__(self) -> int:
        """How many pieces are not done yet."""
        return len(self._works)

    def add(self, steps: Steps) -> None:
        """Add this work. If there is no other, it has its first slice now."""
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
    """Empty it step by step: to free very many objects takes long, too."""
    while held:
        held.popitem()
        yield
