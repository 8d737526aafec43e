"""Placing: each entry goes to the lane of its receiver, at once or in slices.

Under the policy ``ordered`` there is one lane for the service; under ``consistent`` there is one
for each owner, and an entry for several owners is cut. Without targets all entries wait in one lane
without a link. That lane is also the one of ``ordered``: so a long queue there is never placed
anew.

An entry for very many addresses *waits*, and so do all that are placed anew because the ring has
changed. They are placed in slices (`barker.process.slices`), in order; later entries wait behind.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from barker.delivery.batches import Batch, fitting
from barker.delivery.lanes import Lane
from barker.links.link import Link
from barker.process.node import Node
from barker.process.slices import Steps, drain
from barker.routing.routes import CONSISTENT, Route, split
from barker.wire import protocol
from barker.wire.ops import Item, Put

J = TypeVar("J")

# Addresses in entries of `to` whose lanes are remembered, so that a busy one is not split again.
# Each costs some 80 bytes, and so does an entry. Beyond it, all are forgotten.
REMEMBERED_ADDRESSES = 500_000
# Characters of one put's addresses whose owners are looked up at once: some 3,000 addresses.
PLACED_AT_ONCE_CHARS = 32 * 1024
# The same if their owners are remembered.
KNOWN_AT_ONCE_CHARS = 512 * 1024
# Addresses of one entry that are placed together, if it has more.
ADDRESSES_AT_ONCE = 2000
# Entries that are placed at once in front of all others; with more, all others wait.
FIRST_AT_ONCE = 512


def once(to: Sequence[str]) -> Sequence[str]:
    """One entry for all, if they are the same."""
    return to[:1] if to.count(to[0]) == len(to) else to


# A celebrity barks more than once.
@functools.lru_cache(maxsize=16)
def _parts(to: str) -> tuple[str, ...]:
    own = to.split(" ")
    size = ADDRESSES_AT_ONCE
    return tuple(" ".join(own[i : i + size]) for i in range(0, len(own), size))


class Placing(Generic[J]):
    """The lanes of one sender, by the name of the target; "" for the one without."""

    def __init__(
        self,
        node: Node,
        service: str,
        link_for: Callable[[str], Link | None],
        is_void: Callable[[J], bool] | None,
        again: Callable[[], None],
    ) -> None:
        """`link_for` returns the link of a lane. Entries of a job that `is_void` need not be sent.

        `again` is called after a fault: it must call `go_on` again in a moment.
        """
        self.lanes: dict[str, Lane[J]] = {}
        self.is_split = False  # there is a lane for each owner
        self._node = node
        self._service = service
        self._link_for = link_for
        self._is_void = is_void
        self._again = again
        self._waiting: deque[Batch[J]] = deque()
        self._runs = False
        self._pieces: dict[str, list[tuple[Lane[J], str]]] = {}
        self._whole: dict[str, Lane[J]] = {}  # ... the entries of these that go to one lane
        self._remembered = 0  # addresses in `_pieces`

    def __len__(self) -> int:
        """Entries that no receiver has taken over yet."""
        lanes = sum(map(len, self.lanes.values()))
        return lanes + sum(batch.size for batch in self._waiting)

    @property
    def waiting(self) -> Iterator[Batch[J]]:
        """The batches that wait for their place, in order."""
        return iter(self._waiting)

    @property
    def route(self) -> Route:
        return self._node.routes.route(self._service)

    # --- new entries ---

    def put(self, to: str, item: Item, job: J) -> None:
        """One entry, to addresses with spaces between them."""
        if self._waiting:
            self._waiting.append(Batch.of(Put.of(0, [to], [item]), [job]))
            return
        for lane, some in self._pieces.get(to) or self._split(to):
            lane.rows.append((some, item, job))

    def put_all(self, put: Put, to: Sequence[str], job: J, tail: bytes = b"") -> None:
        """All entries of a put; `to` has the new addresses of each. `tail` is as for `Batch.of`."""
        if self._waiting or self._takes_long(to):
            self._waiting += fitting(put._replace(to=once(to)), [job], tail)
            self.go_on()
        else:
            self._spread(put, to, [job], tail)

    def add(self, batch: Batch[J]) -> None:
        """A finished batch, for the addresses that it has."""
        if self._waiting:
            self._waiting.append(batch)
        else:
            self._place(batch)

    def put_first(self, batches: Sequence[Batch[J]]) -> None:
        """Place these in front of all that was not sent yet."""
        if not self.is_split:
            for batch in reversed(batches):
                self._lane("").window.add_first(batch)
            return
        if not self._waiting and sum(batch.size for batch in batches) <= FIRST_AT_ONCE:
            for batch in reversed(batches):
                self._place_first(batch)
            return
        for lane in self.lanes.values():
            lane.seal()
            self._waiting.extendleft(reversed(lane.window.take_waiting()))
        self._waiting.extendleft(reversed(batches))
        self.go_on()

    # --- where entries go ---

    def _lane(self, name: str) -> Lane[J]:
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = Lane()
            lane.use(self._link_for(name))
        return lane

    def _pieces_of(self, to: str) -> list[tuple[Lane[J], str]]:
        """For each owner, its lane and its part of the addresses."""
        return self._pieces.get(to) or self._split(to)

    def _split(self, to: str) -> list[tuple[Lane[J], str]]:
        if not self.is_split:
            return [(self._lane(""), to)]
        groups: dict[str, list[str]] = {}
        for address in to.split(" "):  # they may be more than a put has
            owner = self.route.owner(split(address)[1])
            groups.setdefault(owner.name if owner else "", []).append(address)
        pieces = [
            (self._lane(name), " ".join(group[i : i + protocol.MAX_ADDRESSES]))
            for name, group in groups.items()
            for i in range(0, len(group), protocol.MAX_ADDRESSES)
        ]
        self._remembered += sum(map(len, groups.values())) + 1
        if self._remembered > REMEMBERED_ADDRESSES:
            self._forget_places()
        self._pieces[to] = pieces
        if len(pieces) == 1:
            self._whole[to] = pieces[0][0]
        return pieces

    def _forget_places(self) -> None:
        self._node.slices.add(drain(self._pieces))
        self._node.slices.add(drain(self._whole))
        self._pieces, self._whole, self._remembered = {}, {}, 0

    def _spread(self, put: Put, to: Sequence[str], jobs: Sequence[J], tail: bytes = b"") -> None:
        """Give each lane the entries that have addresses there, with these addresses."""
        if not self.is_split:
            self._add(self._lane(""), put._replace(to=once(to)), jobs, tail)
            return
        only = {*map(self._whole.get, to)}
        if len(only) == 1 and (one := only.pop()) is not None:
            self._add(one, put._replace(to=once(to)), jobs, tail)
            return
        lanes: dict[Lane[J], tuple[list[int], list[str]]] = {}
        for place, entry in enumerate(to):
            for lane, some in self._pieces_of(entry):
                found = lanes.get(lane)
                if found is None:
                    found = lanes[lane] = ([], [])
                found[0].append(place)
                found[1].append(some)
        for lane, (places, entries) in lanes.items():
            if places == [*range(len(to))]:
                self._add(lane, put._replace(to=once(entries)), jobs, tail)
            else:
                some_jobs = jobs if len(jobs) == 1 else [jobs[place] for place in places]
                self._add(lane, put.select(places)._replace(to=once(entries)), some_jobs)

    @staticmethod
    def _add(lane: Lane[J], put: Put, jobs: Sequence[J], tail: bytes = b"") -> None:
        for batch in fitting(put, jobs, tail):
            lane.add(batch)

    def _place(self, batch: Batch[J]) -> None:
        if not self.is_split:
            self._lane("").add(batch)
            return
        lane = self._whole.get(batch.to[0]) if len(batch.to) == 1 else None
        if lane is not None:
            lane.add(batch)
        elif left := self._not_void(batch):
            put = left.put()
            self._spread(put, put.entries(), left.jobs)

    def _place_first(self, batch: Batch[J]) -> None:
        put = batch.put()
        for place, entry in reversed([*enumerate(put.entries())]):
            if self._is_void is not None and self._is_void(batch.job(place)):
                continue
            for lane, some in reversed(self._pieces_of(entry)):
                one = put.select([place])._replace(to=[some])
                lane.window.add_first(Batch.of(one, [batch.job(place)]))

    # --- in slices ---

    def _takes_long(self, to: Sequence[str]) -> bool:
        """Would it take too long to place these at once?"""
        if sum(map(len, to)) <= PLACED_AT_ONCE_CHARS or not self.is_split:
            return False
        new = [entry for entry in {*to} if entry not in self._pieces]
        return (
            sum(map(len, new)) > PLACED_AT_ONCE_CHARS
            or max(map(len, to)) > PLACED_AT_ONCE_CHARS
            or sum(map(len, to)) > KNOWN_AT_ONCE_CHARS
        )

    def go_on(self) -> None:
        """Place the waiting batches, if there are any."""
        if self._waiting and not self._runs:
            self._runs = True
            self._node.slices.add(self._place_waiting())

    def _place_waiting(self) -> Steps:
        try:
            while self._waiting:
                self._place_next()
                yield
        finally:
            self._runs = False
            if self._waiting:
                self._again()

    def _place_next(self) -> None:
        """Place the next batch. It leaves the queue only then."""
        batch = self._waiting[0]
        parts: Iterable[Batch[J]] = ()
        if self._all_void(batch):
            pass
        elif self._takes_long(batch.to):
            parts = self._cut(batch)
        else:
            self._place(batch)
            for lane in self.lanes.values():
                lane.pump()
        self._waiting.popleft()
        self._waiting.extendleft(parts)

    def _cut(self, batch: Batch[J]) -> list[Batch[J]]:
        """The batch in smaller ones, the last one first."""
        if batch.size > 1:
            half = batch.size // 2
            return [batch.select(range(half, batch.size)), batch.select(range(half))]
        put = batch.put()
        parts = (put._replace(to=[some]) for some in reversed(_parts(batch.to[0])))
        return [Batch.of(part, batch.jobs) for part in parts]

    # --- changes ---

    def route_changed(self) -> int:
        """Place the unsent entries by the new route: those whose owner has changed move.

        Returns how many entries had no answer yet and go out again.
        """
        self.is_split = self.route.policy == CONSISTENT and bool(self.route.targets)
        self._forget_places()
        waiting: list[Batch[J]] = []
        again = 0
        for name, lane in list(self.lanes.items()):
            lane.seal()
            if not self.is_split and not name:
                continue  # one queue, with a link or without
            if not self.is_split or name not in self.route.by_name:
                again += lane.window.rewind()
                del self.lanes[name]
            # All of them: if a part of a batch moves, no entry may overtake its other part.
            waiting += lane.window.take_waiting()
        self._waiting.extendleft(reversed(waiting))
        self.go_on()
        return again

    def forget_void(self) -> None:
        """Drop the unsent entries that are void by now."""
        if self._is_void is not None:  # else this would take long for a long queue
            for lane in self.lanes.values():
                lane.seal()
                lane.window.discard_waiting(self._all_void)
            kept = [batch for batch in self._waiting if not self._all_void(batch)]
            self._waiting.clear()
            self._waiting += kept

    def _not_void(self, batch: Batch[J]) -> Batch[J] | None:
        is_void = self._is_void
        if is_void is None:
            return batch
        places = [i for i in range(batch.size) if not is_void(batch.job(i))]
        return batch.select(places) if places else None

    def _all_void(self, batch: Batch[J]) -> bool:
        return self._is_void is not None and all(map(self._is_void, batch.jobs))
