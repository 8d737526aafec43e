"""A window: what was handed over and is not acked yet, and what still waits behind it.

TCP says that bytes arrive in order while a connection lives, and nothing once it has broken. A
window is what a sender needs besides: it keeps every entry until the other side has acked it, lets
at most `limit` of them be on the way, and after a break sends all of them again, in order
("go-back-N"). Sequence numbers belong to one connection: they start at 1 and rise by one, so they
are never stored, only counted.

    acked, forgotten | unacked: sent on this connection | waiting: not sent yet
                     ^ seq == first                     ^ seq == first + len(unacked)
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Window(Generic[Entry]):
    """Entries in order of arrival; `limit` is how many may be unacked at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._first = 1
        # None stands where an entry was refused: settled, but its number is still to be passed.
        self._unacked: deque[Entry | None] = deque()
        self._waiting: deque[Entry] = deque()
        self._refused = 0  # how many of the unacked are None

    def __len__(self) -> int:
        """How many entries nobody has taken over yet."""
        return len(self._unacked) - self._refused + len(self._waiting)

    @property
    def unacked(self) -> int:
        return len(self._unacked)

    def head(self, count: int) -> Iterator[Entry]:
        """The first `count` entries that are not settled, in the order in which they go out."""
        entries = (e for e in chain(self._unacked, self._waiting) if e is not None)
        return islice(entries, count)

    def add(self, entry: Entry, *, first: bool = False) -> None:
        """Have it wait behind all others, or before them."""
        if first:
            self._waiting.appendleft(entry)
        else:
            self._waiting.append(entry)

    def send(self) -> Iterator[tuple[int, Entry]]:
        """Number and entry of all that may go out now; each is unacked as soon as it is yielded."""
        waiting, unacked = self._waiting, self._unacked
        seq = self._first + len(unacked)
        for _ in range(min(len(waiting), self._limit - len(unacked))):
            entry = waiting.popleft()
            unacked.append(entry)
            yield seq, entry
            seq += 1

    def ack(self, seq: int) -> list[Entry]:
        """Forget everything up to `seq` and return it, but for what was refused before.

        An ack of something already acked returns nothing. Raises ValueError for a number that was
        never sent.
        """
        count = seq - self._first + 1
        if count > len(self._unacked):
            raise ValueError(f"ack of {seq}, which was never sent")
        if count <= 0:
            return []
        self._first += count
        pop = self._unacked.popleft
        entries = [e for e in [pop() for _ in range(count)] if e is not None]
        self._refused -= count - len(entries)
        return entries

    def refuse(self, seq: int) -> Entry | None:
        """Take the entry `seq` out and return it; None if it was settled before.

        Raises ValueError for a number that was never sent.
        """
        i = seq - self._first
        if i >= len(self._unacked):
            raise ValueError(f"refusal of {seq}, which was never sent")
        if i < 0:
            return None
        entry, self._unacked[i] = self._unacked[i], None
        self._refused += entry is not None
        return entry

    def rewind(self) -> None:
        """A new connection: everything unacked waits again, in order, before anything new."""
        self._waiting.extendleft(e for e in reversed(self._unacked) if e is not None)
        self._unacked.clear()
        self._refused = 0
        self._first = 1

    def discard_waiting(self, unwanted: Callable[[Entry], bool]) -> None:
        """Drop what nobody wants any more and what has not been sent (on this connection)."""
        if any(map(unwanted, self._waiting)):
            self._waiting = deque(e for e in self._waiting if not unwanted(e))

    def take_waiting(self) -> list[Entry]:
        """Give up what has not been sent (on this connection), in order: to be placed elsewhere."""
        entries = list(self._waiting)
        self._waiting.clear()
        return entries
