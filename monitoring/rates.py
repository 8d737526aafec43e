"""Rates: how many a second, from counters that are read now and then.

A sliding mean: the counts of the last `WINDOW_MS`, divided by that time. Where the window begins
between two samples, the counter is taken to have risen evenly from one to the other. All times are
the counting process's own, so neither a late message nor another clock bends a rate.

No wrong numbers:

* A counter that starts again shows nothing about the time before. Another process, or a counter
  that has fallen, or a clock that was put back, begins a new series. There is no negative rate,
  and never a spike because a whole count was taken for one second's.
* A process that is younger than the window had counted nothing before it was there, so its window
  is as long as any other's. So the rate that one service sends and the rate that another receives
  stay the same number.
* Of an older one, whose past we have not seen, the mean begins with its first sample; and there is
  none for less than `MIN_SPAN_MS`. Half a second with one message in it is not two a second.
* Lost samples lose nothing: the counter went on counting. But after a silence of a whole window
  there is nothing to compare with, and a new series begins.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

WINDOW_MS = 10_000
# Timers are late by some milliseconds now and by others then; this still takes a second for one.
MIN_SPAN_MS = 900

# Samples that are compared at most; one comes in a second. With more, the window is shorter.
MAX_SAMPLES = 100

Rates = tuple[float | None, ...]


class Run(NamedTuple):
    """One life of some counters: all of them were 0 at `since_ms`."""

    pid: int
    since_ms: int


class Meter:
    """Rates of some counters that are read at the same time, for one source."""

    def __init__(self, window_ms: int = WINDOW_MS) -> None:
        self._window_ms = window_ms
        self._run: Run | None = None
        self._samples: deque[tuple[int, Sequence[float]]] = deque(maxlen=MAX_SAMPLES)

    def add(self, run: Run, at_ms: int, counters: Sequence[float]) -> Rates:
        """The rates as of this sample; None where there is none yet."""
        samples, begin_ms = self._samples, at_ms - self._window_ms
        if not (samples and self._goes_on(run, at_ms, counters)):
            samples.clear()
            if begin_ms < run.since_ms <= at_ms and run != self._run:
                nothing = [0] * len(counters)
                samples.extend([(begin_ms, nothing), (run.since_ms, nothing)])
        self._run = run
        samples.append((at_ms, counters))
        # The window begins between the first sample and the second.
        while len(samples) > 2 and samples[1][0] <= begin_ms:
            samples.popleft()
        (first_ms, first), (second_ms, second) = samples[0], samples[min(1, len(samples) - 1)]
        part = (
            max(0.0, (begin_ms - first_ms) / (second_ms - first_ms)) if second is not first else 0.0
        )
        span_ms = min(at_ms - first_ms, self._window_ms)
        if span_ms < MIN_SPAN_MS:
            return (None,) * len(counters)
        return tuple(
            1000 * (now - (a + part * (b - a))) / span_ms
            for now, a, b in zip(counters, first, second, strict=True)
        )

    def _goes_on(self, run: Run, at_ms: int, counters: Sequence[float]) -> bool:
        last_ms, last = self._samples[-1]
        return (
            run == self._run
            and len(counters) == len(last)
            and 0 < at_ms - last_ms <= self._window_ms
            and all(now >= then for now, then in zip(counters, last, strict=True))
        )
