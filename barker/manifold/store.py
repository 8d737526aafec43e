"""Store: all timelines of one inbox, and what goes into them."""

from collections.abc import Iterator, Sequence
from itertools import repeat

from barker.manifold.share import MAX_STREAMS
from barker.manifold.timelines import Entry, Timeline
from barker.wire.fields import addresses_in
from barker.wire.ops import Put
from barker.wire.protocol import FULL, BadMessage

# Addresses of entries of `to` whose timelines are remembered; beyond it, start over.
REMEMBERED_ADDRESSES = 500_000
# What an entry takes in a copy of its timeline, besides its body.
ENTRY_OVERHEAD = 100


class TimelineStore:
    """Timelines by address; each retains `keep` entries."""

    def __init__(self, keep: int) -> None:
        self.timelines: dict[str, Timeline] = {}
        self._keep = keep
        self._groups: dict[str, list[Timeline]] = {}  # by entries of `to`
        self._remembered = 0  # addresses in `_groups`
        self._latest: dict[str, int] = {}  # by author, the newest `at`
        # What entries take in a copy of their timeline: sums since the start, for the mean.
        self._entries = self._bytes = 1

    def timeline(self, address: str) -> Timeline:
        """The timeline of that address, a new one if need be. Raises BadMessage."""
        timeline = self.timelines.get(address)
        if timeline is None:
            if len(self.timelines) >= MAX_STREAMS:
                raise BadMessage(FULL, f"{MAX_STREAMS} streams are all that one manifold has")
            timeline = self.timelines[address] = Timeline(address, self._keep)
        return timeline

    def group(self, entry: str) -> list[Timeline]:
        """The timelines of an entry of `to`. Raises BadMessage if there are too many of them."""
        group = self._groups.get(entry)
        if group is None:
            addresses = addresses_in(entry)
            group = list(map(self.timeline, addresses))
            self._remembered += len(addresses)
            if self._remembered > REMEMBERED_ADDRESSES:
                self._groups.clear()
                self._remembered = len(addresses)
            self._groups[entry] = group
        return group

    def serials_before(self, segment: int, groups: Sequence[Sequence[Timeline]]) -> dict[str, int]:
        """The last serials of those timelines that this segment has nothing of yet."""
        return {
            timeline.address: timeline.last
            for group in {id(group): group for group in groups}.values()
            for timeline in group
            if timeline.recorded_in != segment
        }

    def append(
        self,
        put: Put,
        groups: Sequence[Sequence[Timeline]],
        late: Sequence[bool] | None,
        segment: int,
    ) -> Iterator[tuple[Entry, Sequence[Timeline]]]:
        """Append the entries of a put, which that segment has, each to its group of timelines.

        `late` tells which come late, if some do by their counters. Yields each entry with its
        group: all of that has to be used.
        """
        origin, old = put.origin or "", put.old
        stamps = zip(put.bodies, put.n or (), put.users or (), put.at or (), strict=True)
        rows = zip(groups, stamps, late or repeat(False), put.trace or repeat(""), strict=False)
        for group, (body, n, user, at), was_late, trace in rows:
            entry = Entry(body, origin, n, self._is_late(user, at) or was_late, old, segment, trace)
            for timeline in group:
                timeline.take(entry)
            self._entries += len(group)
            self._bytes += len(group) * (len(body) + ENTRY_OVERHEAD)
            yield entry, group

    def _is_late(self, user: str, at: int) -> bool:
        """Has something that the author said afterwards been here before?"""
        latest = self._latest.get(user, -1)
        if at < latest:
            return True
        if latest < 0 and len(self._latest) >= MAX_STREAMS:
            self._latest.clear()
        self._latest[user] = at
        return False

    @property
    def retained_bytes(self) -> int:
        """About what a fresh copy of all timelines would take."""
        entries = sum(len(timeline.entries) for timeline in self.timelines.values())
        return entries * self._bytes // self._entries
