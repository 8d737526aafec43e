"""Push: an outbox's queue towards one service behind it.

Barks have one such queue and events have another, each with counters of its own. The journal now
and then records up to which counter a queue is settled; after a restart the rest goes again, in
order.
"""

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Collection, Container, Sequence

from barker.delivery.batches import Batch, fitting
from barker.delivery.sender import Sender
from barker.disk.deadletters import Letter
from barker.manifold.owed import Held, Owed
from barker.process.node import Node
from barker.wire import messages
from barker.wire.ops import Put, Refuse
from barker.wire.records import Settled

# Time between two marks. An agent takes a sample once a second.
GRAIN_S = 0.1
# Marks at most; beyond it every other one goes and the grain doubles. So the age of a queue after a
# day's halt is known to within half a minute, and costs no more than after an hour.
MAX_MARKS = 4096
# Authors with a count of settled entries. Beyond it, these counts are subtracted from the put ones,
# in a few milliseconds, and authors without waiting entries are forgotten.
MAX_DONE_AUTHORS = 10_000


class Ages:
    """Since when the oldest entry of a queue waits, and how deep it was, for next to nothing.

    A time for each entry would cost a clock call and an object per bark. A queue is emptied in the
    order in which it was filled, so a few *marks* are enough: "entries from 5 000 on came at
    12:00:01 or later". The answer is too old by one grain at most.

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
        """Entries up to number `newest` have come; one call for a batch is enough."""
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
        """The first `count` entries have gone; one call for a batch is enough."""
        marks, self._settled = self._marks, count
        if count >= self._newest:
            marks.clear()
            self._grain = self._first_grain
        while len(marks) > 1 and marks[1][0] <= count + 1:
            marks.popleft()

    def new_second(self) -> None:
        """A sample has the peak; from here on another one counts."""
        self.peak = max(0, self._newest - self._settled)

    @property
    def oldest(self) -> float | None:
        """Since when the oldest entry has been waiting; None if none does."""
        return self._marks[0][1] if self._marks else None


class Push:
    """An outbox's queue towards one service behind it. Its sender knows entries by their authors.

    `n` is the last counter that was given out.
    """

    def __init__(
        self,
        node: Node,
        service: str,
        settled: Callable[[], None],
        park: Callable[[Letter, Callable[[], None]], None],
    ) -> None:
        """`settled` is called whenever entries were; `park` is `Parking.park`."""
        self.service = service
        self.sender: Sender[str] = Sender(node, service, self._done, self._refused)
        self.ages = Ages()
        self.n = 0
        self.noted = 0  # the journal records that all of this queue up to this counter is settled
        self._given = 0  # the last counter of `numbers`
        self._node = node
        self._bytes = 0  # of the lines that wait
        self._count = self._done_count = 0  # all entries that were ever put, and those settled
        self._put_by_author: Counter[str] = Counter()  # of those that were put,
        self._done_by_author: Counter[str] = Counter()  # ... and of those settled
        self.held: dict[int, Held] = {}  # by segment of the journal
        # The journal's batches, a heap: the first and the last counter of each, how many came
        # before it, its origin. Copies that were written anew come behind newer batches.
        self._recovered: list[tuple[int, int, int, str, Batch[str]]] = []
        self._rows = itertools.count()
        self._unparked: dict[int, None] = {}  # counters that are refused for good, in no file yet
        self._settled = settled
        self._park = park

    def __len__(self) -> int:
        """Entries that wait, are on their way, or are refused for good and in no file yet."""
        return self._count - self._done_count

    def numbers(self, count: int, *, undone: bool) -> range:
        """Counters for so many entries. `add` makes them final, when the journal has them.

        Until then they are free: behind too wide a hole, an inbox would mark repetitions as late.
        But if a write has failed and was not `undone`, the file may have the last counters, and two
        barks must not share one.
        """
        if not undone:
            self.n = max(self.n, self._given)
        self._given = self.n + count
        return range(self.n + 1, self._given + 1)

    def add(self, put: Put, segment: int, tail: bytes) -> None:
        """That segment of the journal has these entries: they go out with the next `pump`.

        With their stamps, they may need more lines than they came in.
        """
        assert put.n and put.users
        self.recorded(put.n, segment)
        for batch in fitting(put, put.users, tail):
            self._add(batch)

    def _add(self, batch: Batch[str]) -> None:
        self.sender.add(batch)
        self._put_by_author.update(batch.jobs)
        self._count += batch.size
        self._bytes += len(batch.tail)

    def pump(self) -> None:
        """Send as many as may be sent."""
        self.sender.pump()
        self.ages.added(self._count, self._node.now())

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes the waiting entries take."""
        return max(0, self._bytes)

    @property
    def authors(self) -> Collection[str]:
        """The authors with waiting entries, as they are at this moment."""
        return self._put_by_author.keys()

    def waiting_of(self, author: str) -> int:
        """How many entries of that author wait."""
        return self._put_by_author[author] - self._done_by_author[author]

    # --- the journal ---

    def recorded(self, n: Sequence[int], segment: int) -> None:
        """That segment has these counters, which rise."""
        self.n = max(self.n, n[-1])
        held = self.held.get(segment)
        if held is None:
            held = self.held[segment] = Held(n[0])
        held.add(n)

    def owed(self) -> Owed:
        """The counters whose records are needed."""
        return Owed(sorted(self._unparked), self._oldest_waiting(self.n + 1))

    def dropped_but(self, segments: Container[int]) -> None:
        """All segments but these are gone."""
        self.held = {number: held for number, held in self.held.items() if number in segments}

    def note(self, settled: int) -> None:
        """The journal records that all up to this counter is settled."""
        self.noted = settled

    def settled_line(self, n: int) -> bytes:
        """A record for the journal: all of this queue up to `n` is settled."""
        return messages.encode(Settled(self.service, n))

    def given(self, n: int) -> None:
        """The journal records that counters up to this one were given out."""
        self.n = max(self.n, n)

    def recover(self, put: Put, segment: int) -> None:
        """During playback: that segment has this put."""
        assert put.n and put.users
        self.recorded(put.n, segment)
        done, origin = 0, put.origin or ""
        for batch in fitting(put._replace(to=[self.service]), put.users):
            first, done = put.n[done], done + batch.size
            row = (first, put.n[done - 1], next(self._rows), origin, batch)
            heapq.heappush(self._recovered, row)

    def was_settled(self, n: int) -> None:
        """During playback: a record has all up to `n` as settled."""
        self.noted = max(self.noted, n)
        self.n = max(self.n, n)  # the record of its put may be damaged
        while self._recovered and self._recovered[0][1] <= self.noted:
            heapq.heappop(self._recovered)

    def take_recovered(self) -> None:
        """Put the recovered entries that are not settled, each counter once."""
        taken: dict[str, int] = {}  # by origin
        while self._recovered:
            first, last, _, origin, batch = heapq.heappop(self._recovered)
            done = taken.get(origin, self.noted)
            if first > done:
                self._add(batch)
            elif last > done:
                numbers = batch.put().n or ()
                self._add(batch.select([i for i, n in enumerate(numbers) if n > done]))
            taken[origin] = max(done, last)
        self.ages.added(self._count, self._node.now())  # their true age is not known

    def oldest_n(self, default: int) -> int:
        """The counter of the oldest entry that is neither acked nor parked yet."""
        return min([*self._unparked, self._oldest_waiting(default)])

    def _oldest_waiting(self, default: int) -> int:
        return min((batch.first_n for batch in self.sender.oldest()), default=default)

    # --- the answers ---

    def _done(self, batches: Sequence[Batch[str]]) -> None:
        for batch in batches:
            self._done_by_author.update(batch.jobs)
            self._done_count += batch.size
            self._bytes -= len(batch.tail)  # of a line that was cut, a little too much
        if self._done_count == self._count:
            self._bytes = 0
        if len(self._done_by_author) > MAX_DONE_AUTHORS:
            self._forget_done()
        self.ages.settled(self._done_count)
        self._settled()

    def _forget_done(self) -> None:
        put = self._put_by_author
        for author, count in self._done_by_author.items():
            if put[author] > count:
                put[author] -= count
            else:
                del put[author]
        self._done_by_author.clear()

    def _refused(self, one: Batch[str], refusal: Refuse) -> None:
        """We have acked it, so it is not dropped: it becomes a dead letter."""
        put = one.put()
        assert put.n
        n = put.n[0]

        def parked() -> None:
            del self._unparked[n]
            self._done([one])

        self._unparked[n] = None
        self._park(Letter(put.bodies[0], refusal.addresses, refusal.code, refusal.reason), parked)
