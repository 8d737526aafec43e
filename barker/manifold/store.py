"""Store: all timelines of one inbox, and how entries are added."""

from collections.abc import Callable, Sequence
from itertools import repeat

from barker.manifold.timelines import Entry, Timeline
from barker.wire.fields import addresses_in
from barker.wire.ops import Put
from barker.wire.protocol import FULL, BadMessage

# Timelines of one inbox. An empty one costs some 300 bytes, one with a bark 900. Beyond it,
# new addresses are refused as full.
MAX_STREAMS = 2_000_000
# Addresses of entries of `to` whose timelines are remembered; beyond it, all are forgotten.
REMEMBERED_ADDRESSES = 500_000
# Authors whose newest `at` is known, of some 200 bytes; beyond it, all are forgotten.
REMEMBERED_AUTHORS = 500_000
# Bytes of an entry in a copy of its timeline, besides its body.
ENTRY_OVERHEAD = 100


class Group:
    """The timelines of one entry of `to`."""

    __slots__ = ("marks", "timelines")

    def __init__(self, timelines: Sequence[Timeline]) -> None:
        self.timelines = timelines
        self.marks = [timeline.mark for timeline in timelines]


class TimelineStore:
    """Timelines by address; each retains `keep` entries."""

    def __init__(self, keep: int) -> None:
        self.timelines: dict[str, Timeline] = {}
        self.ordered: list[Timeline] = []  # the same, to be looked through while it grows
        # New ones of the last put that was checked, until `append`.
        self._new: dict[str, Timeline] = {}
        self._keep = keep
        self._groups: dict[str, Group] = {}  # by entries of `to`
        self._remembered = 0  # addresses in `_groups`
        self._latest: dict[str, int] = {}  # by author, the newest `at`
        # Bytes of entries in a copy of their timeline: sums since the start, for the mean.
        self._entries = self._bytes = 1

    def timeline(self, address: str) -> Timeline:
        """The timeline of that address, new if need be. Raises BadMessage if there are too many."""
        timeline = self.timelines.get(address)
        if timeline is None:
            timeline = self.timelines[address] = self._made(address, len(self.timelines))
            self.ordered.append(timeline)
        return timeline

    def _made(self, address: str, others: int) -> Timeline:
        if others >= MAX_STREAMS:
            raise BadMessage(FULL, f"{MAX_STREAMS} streams are all that one manifold has")
        return Timeline(address, self._keep)

    def groups(self, entries: Sequence[str]) -> Sequence[Group]:
        """The timelines of each entry of a put's `to`; new ones count when that is `append`ed.

        Raises BadMessage if there are too many of them.
        """
        self._new = {}
        groups = {entry: self._groups.get(entry) or self._group(entry) for entry in {*entries}}
        return [groups[entry] for entry in entries]

    def _group(self, entry: str) -> Group:
        timelines = []
        for address in addresses_in(entry):
            timeline = self.timelines.get(address) or self._new.get(address)
            if timeline is None:
                timeline = self._new[address] = self._made(
                    address, len(self.timelines) + len(self._new)
                )
            timelines.append(timeline)
        group = Group(timelines)
        if not self._new or all(t.address not in self._new for t in timelines):
            self._remember(entry, group)
        return group

    def _remember(self, entry: str, group: Group) -> None:
        self._remembered += len(group.timelines)
        if self._remembered > REMEMBERED_ADDRESSES:
            self._groups.clear()
            self._remembered = len(group.timelines)
        self._groups[entry] = group

    def let_go(self, timeline: Timeline) -> None:
        """Another inbox has it now."""
        timeline.let_go()
        self._groups.clear()  # one of them may have its old mark
        self._remembered = 0

    def serials_before(self, segment: int, groups: Sequence[Group]) -> dict[str, int]:
        """The last serials of those timelines that have no entry in this segment yet."""
        return {
            timeline.address: timeline.last
            for group in dict.fromkeys(groups)
            for timeline in group.timelines
            if timeline.recorded_in != segment
        }

    def append(
        self,
        put: Put,
        groups: Sequence[Group],
        late: Sequence[bool] | None,
        segment: int,
        grown: Callable[[Entry, Group, Sequence[Timeline]], None],
    ) -> tuple[int, int]:
        """Append the entries of a put, which that segment has, each to its group of timelines.

        `late` marks the entries that are late by their counters, if some are. An entry is late,
        too, if a later one of its author has been here. `grown` is called with each entry, its
        group, and those of its timelines that have live readers without room. Returns how many
        entries the timelines have got, and how many late barks there were.
        """
        if self._new:
            self.timelines |= self._new
            self.ordered += self._new.values()
            self._new = {}
        origin, old, latest = put.origin or "", put.old, self._latest
        count = count_late = size = 0
        columns = (groups, put.bodies, put.n or (), put.users or (), put.at or ())
        rows = zip(*columns, late or repeat(False), put.trace or repeat(""), strict=False)
        for group, body, n, user, at, is_late, trace in rows:
            before = latest.get(user, -1)
            if at < before:
                is_late = True
            else:
                if before < 0 and len(latest) >= REMEMBERED_AUTHORS:
                    latest.clear()
                latest[user] = at
            entry = Entry(body, origin, n, is_late, old, segment, trace)
            timelines = group.timelines
            full = [timeline for timeline in timelines if timeline.take(entry)]
            count += len(timelines)
            size += len(timelines) * (len(body) + ENTRY_OVERHEAD)
            grown(entry, group, full)
            count_late += is_late
        self._entries += count
        self._bytes += size
        return count, count_late

    @property
    def mean_bytes(self) -> float:
        """About how many bytes an entry takes in a fresh copy of its timeline."""
        return self._bytes / self._entries
