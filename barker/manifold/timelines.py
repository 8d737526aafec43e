"""Timelines: the entries that an inbox holds for one reader.

A bark is kept once, however many timelines it is in: they hold references to one entry.
"""

import math
from collections.abc import Iterator, Sequence

from barker.streams.stream import Stream
from barker.wire import bodies, messages, records
from barker.wire.ops import Item


class Entry:
    """One bark in our timelines; the journal has it in `segment`."""

    __slots__ = ("body", "late", "n", "old", "origin", "segment", "trace")

    def __init__(
        self,
        body: bytes,
        origin: str,
        n: int,
        late: bool,
        old: bool,
        segment: int = 0,
        trace: str = "",
    ) -> None:
        self.body = body
        self.origin = origin
        self.n = n
        self.late = late
        self.old = old  # handed over by a former owner
        self.segment = segment
        self.trace = trace  # the name by which it is followed; live readers get it

    def copied_to(self, segment: int) -> "Entry":
        """The same bark in another record, for the one timeline of that record."""
        return Entry(self.body, self.origin, self.n, self.late, self.old, segment)

    def item(self) -> Item:
        """The entry in the form for the timeline's new owner. Raises BadMessage.

        Only the first hop looks into a body. So one may be here that no reader can read.
        """
        fields = bodies.check_object(self.body)
        key, at = bodies.check_key(fields), bodies.check_time(fields)
        return Item(self.body, self.origin, self.n, *key, at, old=True)


class Timeline(Stream[Entry]):
    """One reader's inbox."""

    __slots__ = ("address", "handed_over", "live_until", "mark", "moving", "recorded_in")

    def __init__(self, address: str, keep: int) -> None:
        super().__init__(keep)
        self.address = address
        self.mark = address  # duplicates know it by this
        self.recorded_in = 0  # the last segment of the journal with a record of it
        self.handed_over = 0  # entries up to this serial are another's: not here, but not lost
        self.moving: Moving | None = None
        self.live_until = math.inf  # the last serial for which all of its live readers have room

    def take(self, entry: Entry) -> bool:
        """Append an entry that the journal has; True if a live reader has no room for it."""
        self.recorded_in = entry.segment
        return self.append(entry, entry.old) > self.live_until

    def limit(self, live_until: float) -> None:
        """Its live readers have room up to there."""
        self.live_until = live_until

    def recorded(self, segment: int) -> None:
        """That segment of the journal is the last with a record of it."""
        self.recorded_in = segment

    def go_on_after(self, serial: int) -> None:
        """The next entry is numbered from there on."""
        self.last = max(serial, self.last)

    def begin_to_move(self) -> "Moving":
        """It has another owner: all entries in it now go there."""
        self.moving = Moving(self)
        return self.moving

    def stay(self) -> None:
        """It does not move, or no longer."""
        self.moving = None

    def let_go(self) -> None:
        """All its entries are another's: not here, but not lost.

        If their owner hands them back, all are new here. So it has another mark from now on.
        """
        self.restore(self.last, ())
        self.handed_over = self.last
        self.mark = f"{self.address} {self.last}"

    def replace(self, last: int, entries: Sequence[Entry]) -> None:
        """Replace its entries up to that serial; those that came later stay behind them."""
        newer = self.read(last, max(0, self.last - last))[1]
        self.restore(max(last, self.last) - len(newer), entries)
        for entry in newer:
            self.append(entry, entry.old)


def record_of(
    address: str, last: int, entries: Sequence[Entry], at: int = 0, left: int = 0
) -> bytes:
    """A timeline as a record of the journal, or the part of it from place `at` on."""
    return messages.encode(
        records.Timeline(
            address,
            last,
            tuple(entry.body for entry in entries),
            tuple(entry.origin for entry in entries),
            tuple(entry.n for entry in entries),
            tuple(i for i, entry in enumerate(entries) if entry.late),
            tuple(i for i, entry in enumerate(entries) if entry.old),
            at,
            left,
        )
    )


def entries_of(record: records.Timeline, segment: int) -> Iterator[Entry]:
    """The entries in a record of a timeline, which that segment has."""
    late, old = set(record.late), set(record.old)
    columns = zip(record.bodies, record.origins, record.n, strict=True)
    for i, (body, origin, n) in enumerate(columns):
        yield Entry(body, origin, n, i in late, i in old, segment)


class Moving:
    """A timeline on its way to its new owner: the job of all its entries."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.last = timeline.last
        self._left = 0

    def begin(self) -> Sequence[Entry]:
        """The timeline's entries at this moment. Call `one_has_gone` for each of them, and once
        more when all were put."""
        self.last = self.timeline.last
        entries = tuple(self.timeline.entries)
        self._left = len(entries) + 1
        return entries

    def one_has_gone(self) -> bool:
        """The new owner has one more, or all were put; was it the last?"""
        self._left -= 1
        return not self._left

    @property
    def void(self) -> bool:
        """The ring has given it back to us."""
        return self.timeline.moving is not self
