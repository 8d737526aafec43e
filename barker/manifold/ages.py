"""Ages: since when the oldest entry of a queue waits. Pure."""

from collections import deque

# Time between two marks. An agent looks once a second.
GRAIN_S = 0.1
# Marks at most; beyond it every other one goes and the grain doubles. So the age of a queue that
# stands still for a day is known to within half a minute, and costs no more than one of an hour.
MAX_MARKS = 4096


class Ages:
    """Since when the oldest entry of a queue waits, and how deep it was, for next to nothing.

    A time for each entry would cost a clock call and an object per bark. A queue is emptied in the
    order in which it was filled, so a few *marks* are enough: "whatever came from entry 5 000 on
    came at 12:00:01 or later". The answer is too old by one grain at most.

        entries    1 ............ 5000 ........ 9000 .....> newest
        marks      ^ 12:00:00      ^ 12:00:01    ^ 12:00:02
                      settled: 6200 -> the oldest waits since 12:00:01

    Entries are numbered from 1, in the order in which they come.
    """

    def __init__(self, grain: float = GRAIN_S, max_marks: int = MAX_MARKS) -> None:
        self._first_grain = self._grain = grain
        self._max_marks = max_marks
        self._newest = self._settled = 0
        self.peak = 0  # entries that waited at the same time, at most, since `new_second`
        self._marks: deque[tuple[int, float]] = deque()

    def added(self, newest: int, now: float) -> None:
        """Entries up to number `newest` have come; once a batch will do."""
        self.peak = max(self.peak, newest - self._settled)
        if newest <= self._newest:
            return
        first, self._newest = self._newest + 1, newest
        marks = self._marks
        if not marks or now - marks[-1][1] >= self._grain:
            marks.append((first, now))
            if len(marks) > self._max_marks:
                self._marks = deque(list(marks)[::2])
                self._grain *= 2

    def settled(self, count: int) -> None:
        """The first `count` entries have gone; once a batch will do."""
        marks, self._settled = self._marks, count
        if count >= self._newest:
            marks.clear()
            self._grain = self._first_grain
        while len(marks) > 1 and marks[1][0] <= count + 1:
            marks.popleft()

    def new_second(self) -> None:
        """The peak has been told; from here on another one counts."""
        self.peak = max(0, self._newest - self._settled)

    @property
    def oldest(self) -> float | None:
        """Since when the oldest entry has been waiting; None if none does."""
        return self._marks[0][1] if self._marks else None
