"""Streams: what one address has received, and who reads it from where.

A *stream* numbers its entries (``serial``: 1, 2, 3, ...) and retains the last so many of them. A
*cursor* is one reader's place in it, with a window of credit: a reader that does not ack gets
nothing more, and costs nothing more. When the history has moved on past a cursor the reader is told
how much it missed (a *gap*). A *timeline* settles nothing by being read.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")

# Twitter's home timelines held about 800 entries a user; no reader scrolls further.
DEFAULT_KEEP = 800
# The most that `--keep` takes; a larger number is a usage error. After a restart all of a timeline
# comes again, so a reader has to remember the keys of all of it: at this limit up to 45 MB for each
# instance that has served the inbox.
MAX_KEEP = 50_000


# More than any serial.
NO_LIMIT = 2**60


class Stream(Generic[Item]):
    """Entries of one address, numbered from 1, of which the last `keep` are retained."""

    __slots__ = ("_entries", "_keep", "last")

    def __init__(self, keep: int = DEFAULT_KEEP) -> None:
        self._entries: deque[Item] = deque(maxlen=2 * keep)
        self._keep = keep
        self.last = 0

    def append(self, entry: Item, is_old: bool = False) -> int:
        """Returns the entry's serial.

        What `is_old` was written elsewhere long ago and is only new here. It does not take the
        place of what is really new, up to twice the number that is retained otherwise.
        """
        entries = self._entries
        entries.append(entry)
        if not is_old and len(entries) > self._keep:
            entries.popleft()
            if len(entries) > self._keep:  # what was old goes sooner than it came
                entries.popleft()
        last = self.last = self.last + 1
        return last

    @property
    def lost(self) -> int:
        """The serial of the newest entry that is no longer retained; 0 if all are."""
        return self.last - len(self._entries)

    @property
    def entries(self) -> Sequence[Item]:
        """What is retained, oldest first."""
        return self._entries

    def restore(self, last: int, entries: Sequence[Item]) -> None:
        """Be a stream whose newest entry has the serial `last`, and which retains `entries`."""
        self._entries = deque(entries, self._entries.maxlen)
        self.last = last

    def read(self, after: int, count: int) -> tuple[int, list[Item]]:
        """Up to `count` retained entries behind serial `after`: (serial of the first, entries)."""
        start = max(after, self.lost)
        skip = start - self.lost
        behind = len(self._entries) - skip
        if behind <= skip:  # who keeps up reads at the new end: come from there
            entries = list(islice(reversed(self._entries), max(behind, 0)))
            entries.reverse()
            return start + 1, entries[:count]
        return start + 1, list(islice(self._entries, skip, skip + count))


class Cursor:
    """A reader's place in a stream: `sent` up to that serial, `window` beyond what it acked."""

    __slots__ = ("acked", "sent", "window")

    def __init__(self, after: int, window: int) -> None:
        self.sent = self.acked = after
        self.window = window

    @classmethod
    def start(
        cls,
        stream: Stream[Item],
        *,
        same_epoch: bool,
        new_reader: bool,
        after: int,
        history: int,
        window: int,
    ) -> "Cursor":
        """Where a reader begins.

        It goes on where it was if it knows this epoch; if it is new it gets the last `history`
        entries; and if its place is one in some other epoch, it gets everything retained, because
        that place does not tell which of it the reader has seen (it knows its barks by id).
        """
        if same_epoch and after <= stream.last:
            return cls(after, window)
        if new_reader:
            return cls(max(stream.lost, stream.last - history), window)
        return cls(stream.lost, window)

    def ack(self, serial: int) -> None:
        """The reader has shown everything up to `serial`; its window opens by that much."""
        self.acked = max(self.acked, min(serial, self.sent))

    @property
    def limit(self) -> int:
        """The last serial for which the reader has room."""
        return self.acked + self.window

    def sent_up_to(self, serial: int) -> None:
        """Everything up to there was sent otherwise."""
        self.sent = serial

    def take(self, stream: Stream[Item], most: int = 2**31) -> tuple[int, int, list[Item]]:
        """What to send now: (entries missed, serial of the first entry, up to `most` entries)."""
        room = self.limit - self.sent
        if room <= 0 or self.sent >= stream.last:
            # No gap without room for what follows it: only the ack of that opens the window again,
            # because what the reader has yet to ack lies before the gap.
            return 0, self.sent + 1, []
        missed = max(0, stream.lost - self.sent)
        if missed:
            # The credit for what was lost is given back: a gap is not a message.
            self.sent += missed
            self.acked += missed
        first, entries = stream.read(self.sent, min(room, most))
        self.sent += len(entries)
        return missed, first, entries
