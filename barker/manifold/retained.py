"""Retained: which records of an inbox's journal are still needed, by its timelines.

A quiet timeline would keep an old segment for ever. So it is written anew, whole, in one record or
in several (`barker.manifold.cleaning`).
"""

from collections.abc import Generator, Iterator, Sequence

from barker.disk.nojournal import AnyJournal
from barker.manifold.cleaning import COPIED_AT_ONCE, Needed
from barker.manifold.store import TimelineStore
from barker.manifold.timelines import Entry, Timeline, entries_of, record_of
from barker.wire import records
from barker.wire.protocol import MAX_NUMBER

# Timelines to look at in one piece, and the work that this counts as.
LOOKED_AT_ONCE = 1000
LOOK_WORK = 50


class RetainedTimelines:
    """A cleaner's view of an inbox."""

    def __init__(self, store: TimelineStore) -> None:
        self._store = store

    def needed(self, journal: AnyJournal) -> Generator[int, None, Needed]:
        """The size of a fresh copy of all timelines; it is larger than a record of many."""
        entries, oldest = 0, journal.current
        for some in self._chunks():
            entries += sum(len(timeline.entries) for timeline in some)
            oldest = min(oldest, *map(_held_in, some))
            yield LOOK_WORK
        return Needed(round(entries * self._store.mean_bytes), oldest)

    def rewrite(self, journal: AnyJournal, last: int) -> Iterator[int]:
        """Write anew each timeline that has entries in one of the segments up to `last`."""
        for some in self._chunks():
            group, work = list[Timeline](), 0
            for timeline in some:
                if _held_in(timeline) > last:
                    continue
                if len(timeline.entries) > COPIED_AT_ONCE:
                    yield from _rewrite_in_parts(journal, timeline)
                    continue
                group.append(timeline)
                work += 1 + len(timeline.entries)
                if work >= COPIED_AT_ONCE:
                    _rewrite_all(journal, group)
                    yield work
                    group, work = [], 0
            _rewrite_all(journal, group)
            yield work + LOOK_WORK

    def _chunks(self) -> Iterator[Sequence[Timeline]]:
        timelines = self._store.ordered
        for first in range(0, len(timelines), LOOKED_AT_ONCE):
            yield timelines[first : first + LOOKED_AT_ONCE]


def _held_in(timeline: Timeline) -> int:
    """The oldest segment that it needs."""
    if timeline.entries:
        return timeline.entries[0].segment
    # Also if it is empty: its last serial must not be given out again.
    return timeline.recorded_in if timeline.last else MAX_NUMBER


def _rewrite_all(journal: AnyJournal, timelines: Sequence[Timeline]) -> None:
    if timelines:
        lines = [record_of(t.address, t.last, t.entries) for t in timelines]
        segment = journal.copy(lines)
        for timeline in timelines:
            copies = [entry.copied_to(segment) for entry in timeline.entries]
            timeline.restore(timeline.last, copies)
            timeline.recorded(segment)


def _rewrite_in_parts(journal: AnyJournal, timeline: Timeline) -> Iterator[int]:
    last, entries = timeline.last, list(timeline.entries)
    copies: list[Entry] = []
    some: list[Entry] = []
    while len(copies) < len(entries):
        at = len(copies)
        some = entries[at : at + COPIED_AT_ONCE]
        left = len(entries) - at - len(some)
        segment = journal.copy([record_of(timeline.address, last, some, at, left)])
        copies += [entry.copied_to(segment) for entry in some]
        if left:
            yield len(some)
            if timeline.lost >= last:
                return  # it was handed over meanwhile, or all of it has been displaced
    timeline.replace(last, copies)
    yield len(some)


class Parts:
    """Joins the records of long timelines while a journal is played back."""

    def __init__(self) -> None:
        self._begun: dict[str, list[Entry]] = {}

    def add(self, record: records.Timeline, segment: int) -> list[Entry] | None:
        """All entries if this was the last record of the timeline. A kill may have come before."""
        entries = self._begun.pop(record.address, []) if record.at else []
        entries += entries_of(record, segment)
        if not record.left:
            return entries
        self._begun[record.address] = entries
        return None

    def clear(self) -> None:
        """Forget timelines without a last record."""
        self._begun.clear()
