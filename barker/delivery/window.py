"""A window: entries that were sent and are not acked yet, and those that wait behind them.

TCP promises that bytes arrive in order while a connection lives, and nothing once it has broken. A
window adds what a sender needs: it keeps every batch until the other side has acked it, lets at
most `limit` entries be on the way, and after a break sends all of them again, in order
("go-back-N"). Sequence numbers count entries and belong to one connection: they start at 1.

    acked, forgotten | unacked: sent on this connection | waiting: not sent yet
                     ^ seq of the first

An ack may cover a part of a batch, and a refusal concerns one entry of it. Only then is it cut.

An entry that the other side has no room for is *put off*: it stays in its place. No newer entry
goes out before it has gone again, when every sent entry has an answer.
"""

import bisect
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, islice
from typing import Generic, TypeVar

from barker.delivery.batches import Batch

J = TypeVar("J")


class _Sent(Generic[J]):
    """A batch on its way, the number of its first entry, and the entries with an answer."""

    __slots__ = ("batch", "put_off", "refused", "seq")

    def __init__(self, seq: int, batch: Batch[J]) -> None:
        self.seq = seq
        self.batch = batch
        self.refused: set[int] = set()  # places of the refused entries
        self.put_off: set[int] = set()  # ... and of those that are to go again

    @property
    def end(self) -> int:
        """The number behind its last entry."""
        return self.seq + self.batch.size

    def left(self) -> Batch[J] | None:
        """The entries that were not refused."""
        return self._without(self.refused)

    def acked(self) -> Batch[J] | None:
        """The entries that an ack of the whole batch settles."""
        return self._without(self.refused | self.put_off)

    def _without(self, places: set[int]) -> Batch[J] | None:
        if not places:
            return self.batch
        rest = [i for i in range(self.batch.size) if i not in places]
        return self.batch.select(rest) if rest else None

    def cut(self, seq: int) -> "tuple[_Sent[J], _Sent[J]]":
        """The entries before that number, and those from there on."""
        at, size = seq - self.seq, self.batch.size
        parts = []
        for first, places in ((0, range(at)), (at, range(at, size))):
            part = _Sent(self.seq + first, self.batch.select(places))
            part.refused = {i - first for i in self.refused if i in places}
            part.put_off = {i - first for i in self.put_off if i in places}
            parts.append(part)
        return parts[0], parts[1]


def _size(batches: Iterable[Batch[J]]) -> int:
    return sum(batch.size for batch in batches)


class Window(Generic[J]):
    """Batches in order of arrival; at most `limit` entries are unacked at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._first = self._next = 1  # the numbers of the oldest unacked entry, and of a new one
        self._unacked: deque[_Sent[J]] = deque()
        self.waiting: deque[Batch[J]] = deque()  # not sent on this connection; read only
        self._passed: list[Batch[J]] = []  # put off, and behind an ack
        self._size = 0  # entries that no receiver has taken over or refused
        self._put_off = 0  # of the unacked: entries that are to go again

    def __len__(self) -> int:
        """How many entries no receiver has taken over yet."""
        return self._size

    @property
    def unacked(self) -> int:
        """How many numbers have had no ack."""
        return self._next - self._first

    @property
    def holds_back(self) -> bool:
        """Is any entry put off?"""
        return bool(self._put_off or self._passed)

    def head(self, count: int) -> Iterator[Batch[J]]:
        """The first `count` batches that are not settled, in the order in which they go out."""
        sent = filter(None, (sent.left() for sent in self._unacked))
        return islice(chain(self._passed, sent, self.waiting), count)

    def add(self, batch: Batch[J]) -> None:
        """Append a batch to those that wait. Its size is at most `limit`."""
        self.waiting.append(batch)
        self._size += batch.size

    def add_first(self, batch: Batch[J]) -> None:
        """Place a batch in front of those that wait."""
        self.waiting.appendleft(batch)
        self._size += batch.size

    def send(self, most: int) -> list[tuple[int, Batch[J]]]:
        """The next batches with their numbers: unacked from now on.

        That is as many batches as have up to `most` entries together, and at least one.
        """
        batches: list[tuple[int, Batch[J]]] = []
        waiting = self.waiting
        if self._put_off or self._passed:
            return batches
        end = self._next + most
        while waiting and (not batches or self._next + waiting[0].size <= end):
            batch = waiting[0]
            if self._next + batch.size - self._first > self._limit:
                break
            waiting.popleft()
            batches.append((self._next, batch))
            self._unacked.append(_Sent(self._next, batch))
            self._next += batch.size
        return batches

    def ack(self, seq: int) -> list[Batch[J]]:
        """Forget all entries up to `seq` and return them, except those refused or put off before.

        A repeated ack returns nothing. Raises ValueError for a number that was never sent.
        """
        if seq >= self._next:
            raise ValueError(f"ack of {seq}, which was never sent")
        acked: list[Batch[J]] = []
        unacked = self._unacked
        while unacked and unacked[0].seq <= seq:
            sent = unacked.popleft()
            if sent.end > seq + 1:
                sent, rest = sent.cut(seq + 1)
                unacked.appendleft(rest)
            batch = sent.acked() if sent.refused or sent.put_off else sent.batch
            if batch:
                acked.append(batch)
                self._size -= batch.size
            if sent.put_off:
                self._passed.append(sent.batch.select(sorted(sent.put_off)))
                self._put_off -= len(sent.put_off)
        self._first = max(self._first, seq + 1)
        return acked

    def refuse(self, seq: int, addresses: Collection[str]) -> Batch[J] | None:
        """Take the entry `seq` out for these addresses, and return it: a batch of one.

        For its other addresses it stays. None if it was settled before. Raises ValueError for a
        number that was never sent.
        """
        found = self._find(seq)
        if found is None or found[1] in found[0].refused:
            return None
        sent, place = found
        if place in sent.put_off:  # it is refused once more: that counts
            sent.put_off.discard(place)
            self._put_off -= 1
        one, (refused, others) = sent.batch.select([place]), sent.batch.divided(place, addresses)
        if others:
            sent.batch = sent.batch.readdressed(place, others)
            return one.readdressed(0, refused)
        sent.refused.add(place)
        self._size -= 1
        return one

    def put_off(self, seq: int, addresses: Collection[str]) -> bool:
        """Send the entry `seq` again later; False if it is settled, or was refused for some only.

        Raises ValueError for a number that was never sent.
        """
        found = self._find(seq)
        if found is None or found[1] in found[0].refused:
            return False
        sent, place = found
        if sent.batch.divided(place, addresses)[1]:
            return False
        self._put_off += place not in sent.put_off
        sent.put_off.add(place)
        return True

    def _find(self, seq: int) -> tuple[_Sent[J], int] | None:
        if seq >= self._next:
            raise ValueError(f"refusal of {seq}, which was never sent")
        if seq < self._first:
            return None
        sent = self._unacked[bisect.bisect(self._unacked, seq, key=lambda s: s.seq) - 1]
        return sent, seq - sent.seq

    def take_put_off(self) -> list[Batch[J]]:
        """Take out the entries that were put off, in order; none while any lacks an answer."""
        if self._unacked:
            return []
        batches, self._passed = self._passed, []
        self._size -= _size(batches)
        return batches

    def rewind(self) -> int:
        """A new connection: all unacked batches wait again, in order, before any new one.

        Returns how many entries had no answer yet.
        """
        count = self.unacked - self._put_off - sum(len(sent.refused) for sent in self._unacked)
        left = [sent.left() if sent.refused else sent.batch for sent in self._unacked]
        self.waiting.extendleft(batch for batch in reversed(left) if batch)
        self.waiting.extendleft(reversed(self._passed))
        self._unacked.clear()
        self._passed.clear()
        self._put_off = 0
        self._first = self._next = 1
        return count

    def discard_waiting(self, unwanted: Callable[[Batch[J]], bool]) -> None:
        """Drop the `unwanted` ones, except those on their way (on this connection)."""
        self._passed = self._kept(self._passed, unwanted)
        if any(map(unwanted, self.waiting)):
            self.waiting = deque(self._kept(self.waiting, unwanted))

    def _kept(
        self, batches: Iterable[Batch[J]], unwanted: Callable[[Batch[J]], bool]
    ) -> list[Batch[J]]:
        kept = []
        for batch in batches:
            if unwanted(batch):
                self._size -= batch.size
            else:
                kept.append(batch)
        return kept

    def take_waiting(self) -> list[Batch[J]]:
        """Take out the unsent batches (on this connection), in order: to be placed elsewhere."""
        batches = list(self.waiting)
        self.waiting.clear()
        self._size -= _size(batches)
        return batches
