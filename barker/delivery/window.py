"""A window: what was handed over and is not acked yet, and what still waits behind it.

TCP says that bytes arrive in order while a connection lives, and nothing once it has broken. A
window is what a sender needs besides: it keeps every entry until the other side has acked it, lets
at most `limit` of them be on the way, and after a break sends all of them again, in order
("go-back-N"). Sequence numbers belong to one connection: they start at 1 and rise by one, so they
are never stored, only counted.

    acked, forgotten | unacked: sent on this connection | waiting: not sent yet
                     ^ seq == first                     ^ seq == first + len(unacked)

What the other side has no room for is *put off*: it stays in its place, and until it has gone
again, when everything that was sent has an answer, nothing newer goes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
        # Have one wait, or several, behind all others. There is a call of this for each bark.
        self.add: Callable[[Entry], None] = self._waiting.append
        self.extend: Callable[[Iterable[Entry]], None] = self._waiting.extend
        self._refused = 0  # how many of the unacked are None
        self._put_off: set[int] = set()  # numbers of the unacked that are to go again
        self._passed: list[Entry] = []  # the same, after an ack has passed them

    def __len__(self) -> int:
        """How many entries nobody has taken over yet."""
        sent = len(self._unacked) - self._refused
        return sent + len(self._waiting) + len(self._passed)

    @property
    def unacked(self) -> int:
        return len(self._unacked)

    @property
    def holds_back(self) -> bool:
        """Is there something that was put off?"""
        return bool(self._put_off or self._passed)

    def head(self, count: int) -> Iterator[Entry]:
        """The first `count` entries that are not settled, in the order in which they go out."""
        entries = chain(self._passed, self._unacked, self._waiting)
        return islice((e for e in entries if e is not None), count)

    def add_first(self, entry: Entry) -> None:
        """Have it wait before all others."""
        self._waiting.appendleft(entry)

    def send(self, most: int) -> tuple[int, list[Entry]]:
        """Up to `most` that may go out now, unacked from now on, and the number of the first."""
        waiting, unacked = self._waiting, self._unacked
        seq = self._first + len(unacked)
        if not waiting or self._put_off or self._passed:
            return seq, []
        pop = waiting.popleft
        entries = [pop() for _ in range(min(most, len(waiting), self._limit - len(unacked)))]
        unacked += entries
        return seq, entries

    def ack(self, seq: int) -> list[Entry]:
        """Forget everything up to `seq` and return it, but for what was refused or put off before.

        An ack of something already acked returns nothing. Raises ValueError for a number that was
        never sent.
        """
        count = seq - self._first + 1
        if count > len(self._unacked):
            raise ValueError(f"ack of {seq}, which was never sent")
        if count <= 0:
            return []
        pop = self._unacked.popleft
        passed = [pop() for _ in range(count)]
        if self._put_off:
            for i in sorted(n - self._first for n in self._put_off if n <= seq):
                self._put_off.remove(self._first + i)
                entry, passed[i] = passed[i], None
                if entry is not None:
                    self._passed.append(entry)
                    self._refused += 1
        self._first += count
        entries = [e for e in passed if e is not None]
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
        self._put_off.discard(seq)  # who refuses it once more has thought better of it
        return entry

    def put_off(self, seq: int, entry: Entry) -> None:
        """What was refused as `seq`, or what is left of it, is to go again.

        Call it with what `refuse` has returned for that number, before anything else.
        """
        self._unacked[seq - self._first] = entry
        self._refused -= 1
        self._put_off.add(seq)

    def take_put_off(self) -> list[Entry]:
        """Give up what was put off, in order; nothing as long as anything has no answer yet."""
        if self._unacked:
            return []
        entries, self._passed = self._passed, []
        return entries

    def rewind(self) -> int:
        """A new connection: everything unacked waits again, in order, before anything new.

        Returns how many entries had no answer yet.
        """
        count = len(self._unacked) - self._refused - len(self._put_off)
        self._waiting.extendleft(e for e in reversed(self._unacked) if e is not None)
        self._waiting.extendleft(reversed(self._passed))
        self._unacked.clear()
        self._passed.clear()
        self._put_off.clear()
        self._refused = 0
        self._first = 1
        return count

    def discard_waiting(self, unwanted: Callable[[Entry], bool]) -> None:
        """Drop what nobody wants any more, but for what is on its way (on this connection)."""
        self._passed = [e for e in self._passed if not unwanted(e)]
        if any(map(unwanted, self._waiting)):
            wanted = [e for e in self._waiting if not unwanted(e)]
            self._waiting.clear()
            self._waiting += wanted

    def take_waiting(self) -> list[Entry]:
        """Give up what has not been sent (on this connection), in order: to be placed elsewhere."""
        entries = list(self._waiting)
        self._waiting.clear()
        return entries
