"""A stream: entries with serials (1, 2, 3, ...), of which the last so many are retained."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

# Entries of a young stream are a list. An empty deque takes 700 bytes, and most streams are quiet.
FEW = 32

# Twitter's home timelines held about 800 entries a user; no reader scrolls further.
DEFAULT_KEEP = 800
# The most that `--keep` takes; a larger number is a usage error. After a restart all of a timeline
# comes again, so a reader has to remember all its keys: at this limit up to 45 MB for each instance
# that has served the inbox.
MAX_KEEP = 50_000


class Stream(Generic[Item]):
    """Entries of one address, numbered from 1, of which the last `keep` are retained."""

    __slots__ = ("_entries", "_keep", "_room", "last")

    def __init__(self, keep: int = DEFAULT_KEEP) -> None:
        self._entries: list[Item] | deque[Item] = []
        self._keep = keep
        self._room = min(FEW, keep)  # entries that the list may have
        self.last = 0

    def append(self, entry: Item, is_old: bool = False) -> int:
        """Returns the entry's serial.

        An `is_old` entry was written elsewhere long ago and is only new here. It displaces no
        really new one, up to twice the number that is retained otherwise.
        """
        entries: Any = self._entries
        entries.append(entry)
        if len(entries) > self._room:
            if type(entries) is list:
                self._grow_up(is_old)
            elif not is_old:
                entries.popleft()
                if len(entries) > self._keep:  # old ones go sooner than they came
                    entries.popleft()
        last = self.last = self.last + 1
        return last

    @property
    def lost(self) -> int:
        """The serial of the newest entry that is no longer retained; 0 if all are."""
        return self.last - len(self._entries)

    @property
    def entries(self) -> Sequence[Item]:
        """The retained entries, oldest first."""
        return self._entries

    def restore(self, last: int, entries: Sequence[Item]) -> None:
        """Become a stream whose newest entry has the serial `last`, and which retains `entries`."""
        self._room = min(FEW, self._keep)
        self._entries = list(entries)
        if len(self._entries) > self._room:
            self._grow_up(is_old=True)
        self.last = last

    def _grow_up(self, is_old: bool) -> None:
        """Make its entries a deque from now on."""
        self._room = self._keep
        entries = self._entries = deque(self._entries, 2 * self._keep)
        if not is_old and len(entries) > self._keep:
            entries.popleft()

    def read(self, after: int, count: int) -> tuple[int, list[Item]]:
        """Up to `count` retained entries behind serial `after`: (serial of the first, entries)."""
        start = max(after, self.lost)
        skip = start - self.lost
        behind = len(self._entries) - skip
        if behind <= skip:  # a reader without a backlog reads at the new end: come from there
            entries = list(islice(reversed(self._entries), max(behind, 0)))
            entries.reverse()
            return start + 1, entries[:count]
        return start + 1, list(islice(self._entries, skip, skip + count))
