"""Cleaning: an inbox's journal is kept at a multiple of what its timelines retain.

An old segment can go when no timeline refers to it any more. A quiet timeline would hold on to its
segment for ever; so when the journal has grown beyond that multiple, such timelines are written
anew, whole, at its end, a few for each batch. Then the oldest segment is dropped.
"""

from collections.abc import Iterator

from barker.disk.journal import Journal, NoJournal
from barker.manifold.intake import KEPT_BYTES
from barker.manifold.store import TimelineStore
from barker.manifold.timelines import Timeline

# The journal may be larger than a fresh copy of all timelines by this factor. A larger one costs
# disk; a smaller one has timelines written anew more often.
JOURNAL_FACTOR = 2
# Entries that are written anew for each batch, so that no batch takes much longer than others.
REWRITTEN_AT_ONCE = 500


class Cleaner:
    """Cleans one journal, of which all that is not in the timelines of this store may go."""

    def __init__(self, store: TimelineStore) -> None:
        self._store = store
        self._checked_segment = 0
        self._rewriting: Iterator[Timeline] | None = None

    def clean(self, journal: Journal | NoJournal) -> None:
        """Drop the oldest segment if the journal is too large, after freeing it from references.

        Call it between batches only: a timeline's record stands for all that is in the journal
        before it, and in the middle of a batch the journal is ahead of the timelines.
        """
        if self._rewriting is None:
            if journal.current == self._checked_segment:
                return  # nothing is dropped but when a segment is full
            self._checked_segment = journal.current
            oldest = next(iter(journal.segments), journal.current)
            most = KEPT_BYTES + JOURNAL_FACTOR * self._store.retained_bytes
            if journal.size <= most or oldest == journal.current:
                return
            timelines = self._store.timelines.values()
            self._rewriting = iter([t for t in timelines if _needs(t, oldest)])
        done = 0
        try:
            for timeline in self._rewriting:
                segment = journal.append([timeline.record()])
                rewritten = [entry.copied_to(segment) for entry in timeline.entries]
                timeline.restore(timeline.last, rewritten)
                timeline.recorded(segment)
                done += len(rewritten) + 1
                if done > REWRITTEN_AT_ONCE:
                    return
        except OSError:
            pass  # the journal has logged why; another turn comes with the next segment
        else:
            journal.drop(next(iter(journal.segments)))
        self._rewriting = None


def _needs(timeline: Timeline, segment: int) -> bool:
    entries = timeline.entries
    # Also of one that is empty: its last serial must not be given away again.
    return (
        timeline.last > 0 and (entries[0].segment if entries else timeline.recorded_in) <= segment
    )
