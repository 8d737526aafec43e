"""Push: an outbox's queue towards one service behind it, and since when its oldest entry waits.

Barks have one such queue and events have another, each with counters of its own. The journal learns
now and then up to which counter a queue is settled; after a restart the rest goes again, in order.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain

from barker.delivery.sender import Delivery, Job, Queued
from barker.disk.deadletters import Letter
from barker.process.node import Node
from barker.wire import messages
from barker.wire.ops import Item, Refuse
from barker.wire.records import Settled


class Backlog:
    """One author's stream: `pending` barks that nobody has taken over yet."""

    __slots__ = ("pending", "user")
    void = False

    def __init__(self, user: str) -> None:
        self.user = user
        self.pending = 0


class Push(Delivery):
    """An outbox's queue towards one service behind it."""

    def __init__(
        self,
        node: Node,
        service: str,
        some_settled: Callable[[], None],
        park: Callable[[Letter, Callable[[], None]], None],
    ) -> None:
        """`some_settled` is called whenever something of it was; `park` is `Manifold.park`."""
        super().__init__(node, service)
        self.to = (service,)
        self.ages = Ages()
        self.put_count = 0  # all that were ever put, also those that are `done`
        self.n = 0  # the last counter that was given away
        self._kept_n = 0  # ... and the last one that the journal has
        self._last_in: dict[int, int] = {}  # by segment of the journal, the last counter in it
        self.noted = 0  # the journal knows that everything of this queue up to this one is settled
        self.recovered: deque[tuple[Item, Backlog]] = deque()
        self._unparked: list[int] = []  # counters of what is refused for good and in no file yet
        self._some_settled = some_settled
        self._park = park

    # --- counters ---

    def next_n(self) -> int:
        """The counter of the next entry, until `rollback`; `put_kept` makes it count."""
        self.n += 1
        return self.n

    def rollback(self) -> None:
        """The counters that were given away since `put_kept` are free again."""
        self.n = self._kept_n

    def put_kept(self, items: Sequence[Item], jobs: Sequence[Job]) -> None:
        """The journal has these: put them."""
        self._kept_n = items[-1].n
        self.put_all(self.to, items, jobs)
        self.put_count += len(items)

    def given(self, n: int) -> None:
        """The journal says that counters up to this one were given away."""
        self.n = max(self.n, n)

    def begin(self) -> None:
        """The journal was played back."""
        self._kept_n = self.n

    # --- the journal ---

    def recorded(self, n: int, segment: int) -> None:
        """That segment has this counter, and those after it have greater ones."""
        self.n = max(self.n, n)
        self._last_in[segment] = n

    def needs(self, segment: int) -> bool:
        """Has that segment something that is not settled, as far as the journal knows?"""
        return self._last_in.get(segment, 0) > self.noted

    def dropped(self, segment: int) -> None:
        """That segment is gone."""
        self._last_in.pop(segment, None)

    def note(self, settled: int) -> None:
        """The journal knows that everything up to there is settled."""
        self.noted = settled

    def settled_line(self, n: int) -> bytes:
        """For the journal: everything of this queue up to `n` is settled."""
        return messages.encode(Settled(self.service, n))

    def was_settled(self, n: int) -> None:
        """The journal says so, while it is played back."""
        self.noted = max(self.noted, n)
        self.n = max(self.n, n)  # its put may be what was damaged
        waiting = self.recovered
        while waiting and waiting[0][0].n <= self.noted:
            waiting.popleft()

    def take_recovered(self) -> None:
        """Put what the journal had and did not know to be settled."""
        waiting, self.recovered = self.recovered, deque()
        for item, backlog in waiting:
            if item.n > self.noted:
                self.put(self.to, item, backlog)
                self.put_count += 1

    def oldest_n(self, default: int) -> int:
        """The counter of the oldest bark that is neither acked nor parked yet."""
        return min(
            chain(self._unparked, (queued.item.n for queued in self.oldest())), default=default
        )

    def settled(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.pending -= 1
        self.ages.settled(self.done)
        self._some_settled()

    def refused(self, queued: Queued, refusal: Refuse) -> None:
        """We have acked it, so it is not given up: it becomes a dead letter."""

        def parked() -> None:
            self._unparked.remove(queued.item.n)
            self.settled([queued.job])

        self._unparked.append(queued.item.n)
        _, code, reason, addresses = refusal
        self._park(Letter(queued.item.body, addresses, code, reason), parked)


# Time between two marks. Nobody looks more closely than once a second.
GRAIN_S = 0.1
# Marks at most; beyond it every other one goes and the grain doubles. So a queue that nobody
# empties for a day is told to within half a minute, and costs no more than one of an hour.
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
