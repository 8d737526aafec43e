"""Owed: which records of an outbox's journal are still needed, by the counters in them.

One queue may stand still while the other goes on. Then the entries for an absent service are few in
each old segment; they are written anew so that these segments can go (`barker.manifold.cleaning`).
"""

import bisect
import re
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from barker.disk.nojournal import AnyJournal
from barker.manifold.cleaning import COPIED_AT_ONCE, Needed
from barker.wire.messages import decode_record, encode
from barker.wire.ops import Put
from barker.wire.protocol import BarkerError

_PUT = b'{"op":"put",'
# In an outbox's own spelling.
_OURS = re.compile(_PUT + rb'"seq":0,"to":\["([^"\\]+)"\],"origin":"[0-9a-f]+","n":\[([0-9,]+)\],')


class Held:
    """A segment's part of a queue: the range of its counters, and how many."""

    __slots__ = ("count", "first", "last")

    def __init__(self, first: int) -> None:
        self.first = self.last = first
        self.count = 0

    def add(self, n: Sequence[int]) -> None:
        """Add counters, which rise. Records that are written anew may have lower ones."""
        self.first = min(self.first, n[0])
        self.last = max(self.last, n[-1])
        self.count += len(n)


class Owed(NamedTuple):
    """Counters that are neither acked nor parked: these, and all from the oldest that waits on.

    Later, only counters of new entries join them.
    """

    unparked: Sequence[int]
    oldest: int

    def among(self, n: Sequence[int]) -> list[int]:
        """The places of those that are owed."""
        unparked = {*self.unparked}
        return [place for place, one in enumerate(n) if one >= self.oldest or one in unparked]

    def in_segment(self, held: Held) -> int:
        """About how many a segment has; 0 only if it has none."""
        first, last = (bisect.bisect_left(self.unparked, n) for n in (held.first, held.last + 1))
        return min(held.count, last - first + max(0, held.last + 1 - self.oldest))


class Queue(Protocol):
    """What this needs of a `Push`."""

    service: str

    @property
    def held(self) -> Mapping[int, Held]:
        """By segment."""
        ...

    def owed(self) -> Owed:
        """The owed counters of the queue."""
        ...

    def recorded(self, n: Sequence[int], segment: int) -> None:
        """That segment has these counters."""
        ...

    def dropped_but(self, segments: Container[int]) -> None:
        """All segments but these are gone."""
        ...


class OwedRecords:
    """A cleaner's view of an outbox."""

    def __init__(self, queues: Sequence[Queue], queue_of: Callable[[str], Queue]) -> None:
        """`queue_of` returns the queue to the service of that name."""
        self._queues = queues
        self._queue_of = queue_of

    def needed(self, journal: AnyJournal) -> Generator[int, None, Needed]:
        """Of each segment, the share of its entries that are owed."""
        yield 0
        for queue in self._queues:
            queue.dropped_but(journal.segments)
        owed = [(queue.held, queue.owed()) for queue in self._queues]
        size, oldest = 0, journal.current
        for number, on_disk in journal.segments.items():
            here = [(held[number], what) for held, what in owed if number in held]
            if some := sum(what.in_segment(held) for held, what in here):
                size += on_disk * some // sum(held.count for held, _ in here)
                oldest = min(number, oldest)
        return Needed(size, oldest)

    def rewrite(self, journal: AnyJournal, last: int) -> Iterator[int]:
        """Write the owed entries of the segments up to `last` once more.

        Entries that are settled meanwhile may be written, too, which does no harm.
        """
        owed = {queue.service: queue.owed() for queue in self._queues}
        for number in [n for n in journal.segments if n <= last]:
            work, copies = 0, list[_Record]()
            for line in journal.read(number):
                work += 1
                record = _record(line)
                if record:
                    work += len(record.n)
                    places = owed[self._queue_of(record.to).service].among(record.n)
                    if places:
                        copies.append(record.select(places))
                if work >= COPIED_AT_ONCE:
                    self._copy(journal, copies)
                    copies.clear()
                    yield work
                    work = 0
            self._copy(journal, copies)
            yield work

    def _copy(self, journal: AnyJournal, records: Sequence["_Record"]) -> None:
        if records:
            segment = journal.copy([record.line for record in records])
            for record in records:
                self._queue_of(record.to).recorded(record.n, segment)


class _Record(NamedTuple):
    """A put in the journal: the service it is for, its counters, and the line."""

    to: str
    n: Sequence[int]
    line: bytes

    def select(self, places: Sequence[int]) -> "_Record":
        """Only the entries at these places."""
        if len(places) == len(self.n):
            return self
        put = decode_record(self.line)
        assert isinstance(put, Put)
        return _Record(self.to, [self.n[i] for i in places], encode(put.select(places)))


def _record(line: bytes | None) -> _Record | None:
    """The put in a line; None if it has none, or makes no sense."""
    if not line or not line.startswith(_PUT):
        return None
    if found := _OURS.match(line):  # it takes a tenth of the time
        to, n = found.groups()
        return _Record(to.decode(), list(map(int, n.split(b","))), line)
    try:
        put = decode_record(line)
    except BarkerError:  # it was reported at the start
        return None
    return _Record(put.to[0], put.n, line) if isinstance(put, Put) and put.n else None
