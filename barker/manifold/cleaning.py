"""Cleaning: a journal is kept at a multiple of what its owner has to retain.

A segment can go when no record in it is needed any more, and segments go oldest first. A quiet
timeline, or one event that waits, would keep its segment for ever, and so all behind it:

    oldest  [ . x . . . ]  [ . . . . . ]  [ . . . x . ]  ...  [ . x x ]  newest
                  |                                                   ^
                  +---------------- written anew ---------------------+

So when the journal has grown beyond that multiple, its owner writes the records that it still needs
of the oldest segments anew, at the end, and these are dropped. (The *cleaner* of log-structured
file systems: Rosenblum and Ousterhout, 1991.) It is done in slices, one for each batch.

* Beyond the multiple a journal keeps a constant, and on a small disk a share of that disk.
* Segments count by their bytes: small ones, as starts leave them, go together.
* A segment is dropped when the last copy of its records is on the disk itself: they may have been
  acked long ago. A kill before that leaves both copies, and recovery takes them for one.

Left out: room on the disk for the copies. On a full disk, only segments without needed records go.
"""

import asyncio
from collections.abc import Generator, Iterator
from typing import NamedTuple, Protocol

from barker.disk.nojournal import AnyJournal
from barker.process.node import Node

# A journal keeps this much even if none of it is needed for its content: by the keys in it we
# recognise a repeated bark, and these are the keys of about 100 000 barks.
KEPT_BYTES = 32 * 1024 * 1024
# On a small disk: this part of the room for the journal.
KEPT_SHARE = 4
# The journal may be larger than the retained records by this factor. A larger factor costs disk; a
# smaller one has more records written anew.
JOURNAL_FACTOR = 2
# Work of one slice, in records that are written anew, so that no batch takes much longer than
# others; and the work of deleting a file, in that measure.
WORK_AT_ONCE = 1000
DROP_WORK = 100
# Entries that are written anew in one write.
COPIED_AT_ONCE = 250


class Needed(NamedTuple):
    """The needed part of a journal: `size` in bytes, and the oldest segment with any of it."""

    size: int
    oldest: int


class Owner(Protocol):
    """The part of a service that knows which records of its journal are needed.

    Both methods yield the work that each piece was.
    """

    def needed(self, journal: AnyJournal) -> Generator[int, None, Needed]:
        """Find the part that is needed."""
        ...

    def rewrite(self, journal: AnyJournal, last: int) -> Iterator[int]:
        """Write the needed records of the segments up to `last` anew. Raises OSError."""
        ...


class Cleaner:
    """Cleans one journal."""

    def __init__(self, owner: Owner, kept_bytes: int, *, whole: bool = False) -> None:
        """With `whole`, the owner writes all its records anew, whichever segments have them."""
        self._owner = owner
        self._kept_bytes = kept_bytes
        self._whole = whole
        self._checked_segment = 0
        self._cycle: Iterator[int] | None = None

    def clean(self, journal: AnyJournal) -> bool:
        """Do a slice of the work, if there is any; is there more?

        Call it between batches only: its copies replace all earlier records, and in the middle of a
        batch the journal is ahead of its owner.
        """
        if self._cycle is None:
            if journal.current == self._checked_segment and not journal.trouble:
                return False  # segments are dropped only when one is full, or the disk
            self._checked_segment = journal.current
            self._cycle = self._clean(journal)
        done = 0
        try:
            for work in self._cycle:
                done += work
                if done >= WORK_AT_ONCE:
                    return True
        except OSError:
            pass  # another turn comes with the next segment
        self._cycle = None
        return False

    def _clean(self, journal: AnyJournal) -> Iterator[int]:
        newest = journal.current  # no record is written anew twice in one cycle
        while True:
            kept = min(self._kept_bytes, journal.room // KEPT_SHARE)
            if journal.size <= kept:
                return
            size, oldest = yield from self._owner.needed(journal)
            for number in list(journal.segments):
                if number >= min(oldest, newest) or journal.size <= kept:
                    break
                journal.drop(number)
                yield DROP_WORK
            excess = journal.size - kept - JOURNAL_FACTOR * size
            last = self._last_to_go(journal, excess, newest)
            if not last:
                return
            yield from self._owner.rewrite(journal, last)
            synced = journal.sync_from(newest)
            while not synced.done():
                yield WORK_AT_ONCE
            synced.result()
            for number in [n for n in journal.segments if n <= last]:
                journal.drop(number)
                yield DROP_WORK

    def _last_to_go(self, journal: AnyJournal, excess: int, newest: int) -> int:
        """The last of the oldest segments that go together: the size of a large one, or more.

        It is more if the work has fallen behind: to find the needed records takes time as well.
        """
        if excess <= 0:
            return 0
        most, gone, last = max(*journal.segments.values(), excess // 4), 0, 0
        for number, size in journal.segments.items():
            if number >= newest or (last and not self._whole and gone + size > most):
                break
            gone += size
            last = number
        return last


async def clean_up(node: Node, cleaner: Cleaner, journal: AnyJournal) -> None:
    """All the work that a start finds, unless the node is stopped meanwhile."""
    while cleaner.clean(journal) and not node.is_stopping:
        await asyncio.sleep(0)
