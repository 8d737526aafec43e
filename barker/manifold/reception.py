"""Reception: which entries of a put an inbox accepts: those that its timelines lack.

Nearly all lines have only new entries. Their columns show that, all at once. Else each entry is
checked, for each of its addresses.
"""

from collections.abc import Sequence
from typing import NamedTuple

from barker.delivery.duplicates import Duplicates
from barker.manifold.intake import Faults
from barker.manifold.store import Group, TimelineStore
from barker.wire import bodies, strictjson
from barker.wire.ops import Put
from barker.wire.protocol import BAD_MESSAGE, BadMessage
from barker.wire.records import Segment

# The largest step of an origin's counter between two barks here: barks for other inboxes lie
# between. An outbox that gives out a million counters a second needs most of a day for so many.
MAX_LEAP = 2**36

Key = tuple[str, str]


class Accepted(NamedTuple):
    """The entries of one line to keep: of one origin, with the addresses that lack them."""

    put: Put
    keys: Sequence[Key]
    judge: str | None  # the origin whose counters show repetitions
    groups: Sequence[Group]  # of each entry
    late: Sequence[bool] | None  # which of them are late, by their counters; None: none


def _keys(put: Put) -> list[Key]:
    return list(zip(put.users or (), put.ids or (), strict=True))


class Reception:
    """Checks puts for one inbox, whose stamps have `epoch`. A check changes nothing.

    `n` is the last counter that was given to an entry without a stamp.
    """

    def __init__(self, store: TimelineStore) -> None:
        self.n = 0
        self.epoch = ""
        self._store = store
        self._duplicates = Duplicates()

    def begin(self, epoch: str) -> None:
        """Our stamps have this epoch from now on."""
        self.epoch = epoch

    @property
    def highest(self) -> dict[str, int]:
        """For each origin the highest counter that has come."""
        return self._duplicates.highest

    # --- new puts ---

    def check(self, put: Put) -> tuple[Accepted | None, Faults]:
        """The entries to keep, if there are any, and those to refuse."""
        if put.origin is None:
            put, places, faults = self._stamped(put)
        else:
            places, faults = range(len(put.bodies)), []
        if not places:
            return None, faults
        judge = self._judge(put)
        try:
            self._check_leap(put, judge)
            groups = self._store.groups(put.entries())
        except BadMessage as fault:  # it counts for all: later entries must not overtake it
            return None, [*faults, *((place, fault) for place in places)]
        keys = _keys(put)
        if self._duplicates.are_new(keys, judge, put.n or ()):
            return Accepted(put, keys, judge, groups, None), faults
        return self._unknown_of(put, keys, judge, groups), faults

    def _stamped(self, put: Put) -> tuple[Put, Sequence[int], list[tuple[int, BadMessage]]]:
        """We are its first manifold: the put with our stamp, and the places of its entries."""
        rows, places, faults = [], [], []
        meanings = strictjson.objects(put.bodies)
        for place, (body, fields) in enumerate(zip(put.bodies, meanings, strict=True)):
            try:
                body = bodies.admitted(body, fields)
                assert fields is not None
                rows.append((body, *bodies.check_key(fields), bodies.check_time(fields)))
                places.append(place)
            except BadMessage as fault:
                faults.append((place, fault))
        if not rows:
            return put, places, faults
        texts, users, ids, at = zip(*rows, strict=True)
        n = range(self.n + 1, self.n + 1 + len(rows))
        return (
            put.select(places)._replace(
                bodies=texts, origin=self.epoch, n=n, users=users, ids=ids, at=at
            ),
            places,
            faults,
        )

    def _check_leap(self, put: Put, judge: str | None) -> None:
        """Raises BadMessage for a counter after which all barks of its origin would be late."""
        highest = None if judge is None else self._duplicates.highest_of(judge)
        if highest is not None and max(put.n or ()) > highest + MAX_LEAP:
            raise BadMessage(BAD_MESSAGE, f"a counter that leaps by over {MAX_LEAP}")

    def _judge(self, put: Put) -> str | None:
        """The origin whose counters show repetitions; None: the keys alone do.

        Handed over entries may be older than any window, and entries without stamp had no counter.
        """
        return None if put.old or put.origin == self.epoch else put.origin

    def _unknown_of(
        self, put: Put, keys: Sequence[Key], judge: str | None, groups: Sequence[Group]
    ) -> Accepted | None:
        """The entries that we lack, for the addresses that lack them."""
        numbers = put.n or ()
        places: list[int] = []
        to: list[str] = []
        late: list[bool] = []
        # By the entries before it in this line: which addresses have it then; the highest counter.
        had: dict[tuple[str, str], set[str]] = {}
        highest = -1
        for place, (group, key, n) in enumerate(zip(groups, keys, numbers, strict=True)):
            fresh, is_late = self._fresh(key, judge, n, group)
            if key in had:
                fresh = [address for address in fresh if address not in had[key]]
            if fresh:
                had.setdefault(key, set()).update(fresh)
                places.append(place)
                to.append(" ".join(fresh))
                late.append(is_late or (judge is not None and n < highest))
                highest = max(highest, n)
        if not places:
            return None
        some = put.select(places)._replace(to=to)
        return Accepted(some, _keys(some), judge, self._store.groups(to), late)

    def _fresh(
        self, key: Key, origin: str | None, n: int, group: Group
    ) -> tuple[Sequence[str], bool]:
        """The addresses of the timelines that lack it, and whether it is late."""
        fresh, is_late = self._duplicates.fresh(key, origin, n, group.marks)
        if fresh is group.marks:
            return [timeline.address for timeline in group.timelines], is_late
        lacking = set(fresh)
        return [t.address for t in group.timelines if t.mark in lacking], is_late

    def accept(self, accepted: Accepted) -> None:
        """The journal has it: its entries are known from now on."""
        put, keys, judge, groups, late = accepted
        numbers = put.n or ()
        marks = [group.marks for group in groups]
        if late is None:
            self._duplicates.add_all(keys, judge, numbers, marks)
        else:
            for key, n, own in zip(keys, numbers, marks, strict=True):
                self._duplicates.add(key, judge, n, own)
        if put.origin == self.epoch and numbers:
            self.n = max(self.n, numbers[-1])

    # --- the journal's records ---

    def recover(self, put: Put, groups: Sequence[Group]) -> None:
        """During playback: a put, and the groups of its entries."""
        keys, origin, numbers = _keys(put), self._judge(put), put.n or ()
        marks = [group.marks for group in groups]
        if self._duplicates.are_new(keys, origin, numbers):
            self._duplicates.add_all(keys, origin, numbers, marks)
        else:
            for key, n, own in zip(keys, numbers, marks, strict=True):
                self._recover(key, origin, n, own)

    def recover_entry(self, key: Key, mark: str) -> None:
        """During playback: an entry of a whole timeline, which has that mark."""
        self._recover(key, None, 0, [mark])

    def recover_counters(self, header: Segment) -> None:
        """During playback: the header of a segment."""
        self._duplicates.remember(header.highest)
        self.n = max(self.n, header.n)

    def _recover(self, key: Key, origin: str | None, n: int, marks: Sequence[str]) -> None:
        fresh, _ = self._duplicates.fresh(key, origin, n, marks)
        self._duplicates.add(key, origin, n, fresh)
