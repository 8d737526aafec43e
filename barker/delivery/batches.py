"""Batches: entries that travel together. A batch is a line, and stays one from hop to hop.

A queue holds lines that are ready to go but for their number, and parses none of them:

    {"op":"put","seq":7,"to":["inbox/ark3 inbox/rdl"],"origin":...,"n":[3],...,"bodies":[...]}
               `seq` of a link     `to`               `tail`, the same bytes at every hop

Only when one entry is refused, moves elsewhere, or was known to the receiver is the line parsed,
and cut into two batches.
"""

import functools
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import repeat
from typing import Generic, NamedTuple, TypeVar

from barker.wire import protocol
from barker.wire.messages import decode, put_line, put_tail
from barker.wire.ops import Put

J = TypeVar("J")

# A line grows by addresses from one hop to the next. A longer one is cut: this is three quarters of
# the longest that a peer takes.
MAX_BATCH_BYTES = protocol.MAX_LINE_BYTES * 3 // 4
# The same for entries: a window has to have room for a whole batch.
MAX_BATCH = 512
# From so many characters of addresses on, an entry's are counted once and not for each bark.
LONG_CHARS = 64 * 1024
# In a tail only an epoch can stand before it, so this is the column.
_FIRST_N = re.compile(rb'"n":\[(\d+)')


class Batch(NamedTuple, Generic[J]):
    """Some entries of one origin on their way to one receiver.

    `to` and `jobs` have a value for each entry, or one for all. A job is the value by which the
    sender's owner knows the entries. `reach` counts addresses, those of all entries together.
    """

    to: Sequence[str]
    tail: bytes
    size: int
    reach: int
    jobs: Sequence[J]

    @classmethod
    def of(cls, put: Put, jobs: Sequence[J], tail: bytes = b"") -> "Batch[J]":
        """The entries of a put; `tail` is its `put_tail`, if that is known."""
        size = len(put.bodies)
        reach = reach_of(put.to)
        if len(put.to) < size:
            reach *= size
        return cls(put.to, tail or put_tail(put), size, reach, jobs)

    def line(self, seq: int) -> bytes:
        """As it is sent, its first entry with that number."""
        return put_line(seq, self.to, self.tail)

    def put(self) -> Put:
        """The entries as columns."""
        # `to` is checked when it is sent: until then, an entry may have any number of addresses.
        put = decode(put_line(0, ["x"], self.tail))
        assert isinstance(put, Put)
        return put._replace(to=self.to)

    @property
    def first_n(self) -> int:
        """The counter of the first entry, found without parsing the line."""
        found = _FIRST_N.search(self.tail)
        assert found, "it has a stamp"
        return int(found[1])

    def select(self, places: Sequence[int]) -> "Batch[J]":
        """Only the entries at these places, in order."""
        if len(places) == self.size:
            return self
        jobs = self.jobs
        if len(jobs) > 1:
            jobs = [jobs[i] for i in places]
        return Batch.of(self.put().select(places), jobs)

    def job(self, place: int) -> J:
        """The job of one entry."""
        return self.jobs[place if len(self.jobs) > 1 else 0]

    def divided(self, place: int, addresses: Collection[str]) -> tuple[list[str], list[str]]:
        """The addresses of one entry: those that are among `addresses` (or all), and the others."""
        own = self.to[place if len(self.to) > 1 else 0].split(" ")
        chosen = set(addresses)
        among = [address for address in own if address in chosen]
        if not among:
            return own, []
        return among, [address for address in own if address not in chosen]

    def readdressed(self, place: int, addresses: Sequence[str]) -> "Batch[J]":
        """One entry of it, for these addresses."""
        to = list(self.to) if len(self.to) > 1 else list(self.to) * self.size
        gone = to[place].count(" ") + 1 - len(addresses)
        to[place] = " ".join(addresses)
        return self._replace(to=to, reach=self.reach - gone)

    @property
    def all_jobs(self) -> Iterator[J]:
        """The job of each entry."""
        return iter(self.jobs) if len(self.jobs) == self.size else repeat(self.jobs[0], self.size)


def reach_of(to: Sequence[str]) -> int:
    """The number of addresses in these entries."""
    if sum(map(len, to)) < LONG_CHARS:
        return " ".join(to).count(" ") + 1
    return sum(map(_count, to))


# A celebrity barks more than once.
@functools.lru_cache(maxsize=16)
def _count(entry: str) -> int:
    return entry.count(" ") + 1


def fitting(put: Put, jobs: Sequence[J], tail: bytes = b"") -> list[Batch[J]]:
    """The entries of a put in as few batches as the length of a line allows."""
    batch = Batch.of(put, jobs, tail)
    length = len(batch.tail) + sum(map(len, batch.to)) + len('"",') * len(batch.to)
    is_long = length > MAX_BATCH_BYTES or batch.size > MAX_BATCH
    if not is_long or batch.size == 1:
        return [batch]
    batches: list[Batch[J]] = []
    half = batch.size // 2
    for places in (range(half), range(half, batch.size)):
        some = jobs if len(jobs) == 1 else [jobs[i] for i in places]
        batches += fitting(put.select(places), some)
    return batches
