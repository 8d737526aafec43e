"""Duplicates: has this bark been here before, and for which addresses?

Idempotent receivers: an entry that comes again is recognised and acked again. The rules:

1. The key of a bark is (user, id). A key remembers for which addresses it was accepted, so that a
   `put` that comes again for some other addresses (they were refused as `moved` elsewhere) is
   accepted for just those.
2. Every `put` carries its first manifold's stamp: that manifold's epoch (`origin`) and a counter
   (`n`). A manifold has at most ``protocol.UNACKED_WINDOW`` barks unacked at one receiver. So
   nearly every repeated bark lies within that window behind the highest counter. It is recognised
   by its own counter, however many barks of others have come meanwhile.
3. Out of the window, the counter decides nothing: a bark may have waited for an inbox that was
   away, while its outbox went on with thousands for the others. There the key decides: a known bark
   was accepted before, and an unknown one is accepted now, as late. The keys of the last so many
   barks of all origins are remembered. A bark that comes again after its key was forgotten is kept
   twice, and its readers recognise it by its id: that is the lesser evil.
4. A question changes nothing. An entry is remembered when it is `add`ed: the journal has it then.
"""

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence

from barker.wire.protocol import UNACKED_WINDOW

# Keys remembered at least, whatever the number of origins; a client that repeats a bark after a
# lost ack does so within seconds, and this is minutes at a thousand barks a second.
MIN_REMEMBERED_KEYS = 65_536
# Twice the sender's window, because refused barks leave holes in its counters.
COUNTER_WINDOW = 2 * UNACKED_WINDOW
# Origins are epochs of manifolds: a few live ones, and those that they replaced. The highest
# counter is remembered of so many origins ...
MAX_ORIGINS = 100
# ... and every counter of the window of so many, the latest ones: some 2 MiB each. A repeated bark
# of another origin is known by its key alone. Every kill of a manifold makes an origin.
MAX_TABLES = 16
# Addresses in the records of a generation of keys, and in those of all counters, of 8 to 40 bytes
# each. Beyond it less is remembered: a generation ends sooner, and the counters of the longest
# unused origins are forgotten.
MAX_REMEMBERED_ADDRESSES = 5_000_000
# The addresses for which a bark was accepted. Most barks have a few, and a list takes least memory.
# A celebrity's has a hundred thousand, in hundreds of puts, and searching a list for each of them
# would take longer than all other work. So a longer list is one set. It stays the same list object,
# for it is in several tables.
Addresses = list[str | set[str]]
MAX_LISTED = 50


def _addresses(some: Sequence[str]) -> Addresses:
    return [*some] if len(some) <= MAX_LISTED else [set(some)]


def _among(record: Addresses) -> Collection[object]:
    """The collection to search with `in`."""
    first = record[0] if len(record) == 1 else ""
    return first if isinstance(first, set) else record


def _size(record: Addresses) -> int:
    return len(_among(record))


def _extend(record: Addresses, more: Sequence[str]) -> None:
    if record and isinstance(record[0], set):
        record[0].update(more)
    else:
        record += more
        if len(record) > MAX_LISTED:
            record[:] = [{address for address in record if isinstance(address, str)}]


class Keys:
    """The latest keys, at least `min_keys`, each with a hash of its text.

    The hash tells a repetition from another text under the same key.
    """

    def __init__(self, min_keys: int = MIN_REMEMBERED_KEYS) -> None:
        self._min_keys = min_keys
        # Two generations: when the young one is full it becomes the old one, which is forgotten. It
        # bounds the memory without an eviction for each key.
        self._young: dict[tuple[str, str], int] = {}
        self._old: dict[tuple[str, str], int] = {}

    def are_new(self, keys: Iterable[tuple[str, str]]) -> bool:
        """Is none of them known?"""
        return self._young.keys().isdisjoint(keys) and self._old.keys().isdisjoint(keys)

    def said(self, key: tuple[str, str]) -> int | None:
        """The hash of the text under this key; None if the key is unknown."""
        return self._young.get(key, self._old.get(key))

    def add(self, keys: Mapping[tuple[str, str], int]) -> None:
        """The journal has these: remember them."""
        self._young.update(keys)
        if len(self._young) >= self._min_keys:
            self._old, self._young = self._young, {}


class _Origin:
    """One manifold's stamps: the highest counter, and by counter the addresses that have it."""

    __slots__ = ("heard", "highest", "stamped")

    def __init__(self) -> None:
        self.heard = 0
        self.highest = -1
        self.stamped: dict[int, Addresses] = {}


class Duplicates:
    """The barks that were accepted before, by the rules at the top of this module."""

    def __init__(self, window: int = COUNTER_WINDOW, min_keys: int = MIN_REMEMBERED_KEYS) -> None:
        self._window = window
        self._min_keys = min_keys
        # Two generations, as in `Keys`. The lists of addresses are those of the origins' tables.
        self._young: dict[tuple[str, str], Addresses] = {}
        self._old: dict[tuple[str, str], Addresses] = {}
        self._origins: dict[str, _Origin] = {}
        self._keyed = 0  # addresses that were added in the young generation
        self._stamped = 0  # addresses in the tables of all origins
        self._now = 0  # counts uses of origins

    @property
    def highest(self) -> dict[str, int]:
        """For each origin the highest counter that was added; to be kept beyond this process."""
        return {name: of.highest for name, of in self._origins.items() if of.highest >= 0}

    def highest_of(self, origin: str) -> int | None:
        """The highest counter that was added of this origin; None if it is unknown."""
        of = self._origins.get(origin)
        return None if of is None or of.highest < 0 else of.highest

    def remember(self, highest: Mapping[str, int]) -> None:
        """Take up the counters of an earlier process."""
        for name, n in highest.items():
            origin = self._origin(name)
            origin.highest = max(n, origin.highest)

    # --- one ---

    def fresh(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> tuple[Sequence[str], bool]:
        """The `addresses` that lack this bark, and whether it comes late.

        It is late if a bark that the same origin stamped afterwards was here before. Without an
        origin, only the key counts.
        """
        record, late = self._look_up(key, self._origins.get(origin or ""), n)
        if record is None:
            return addresses, late
        had = _among(record)
        return [address for address in addresses if address not in had], late

    def _look_up(
        self, key: tuple[str, str], of: _Origin | None, n: int
    ) -> tuple[Addresses | None, bool]:
        """The addresses for which it was accepted, if known; and whether it comes late."""
        record, late = None, False
        if of is not None:
            late = n < of.highest
            if of.highest - self._window < n <= of.highest:
                record = of.stamped.get(n)
        if record is None:  # did it come by another way?
            record = self._young.get(key)
            if record is None:
                record = self._old.get(key)
        return record, late

    def add(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> None:
        """These addresses have it now; none of them had it before."""
        of = self._origin(origin) if origin is not None else None
        record, late = self._look_up(key, of, n)
        if record is None:
            record = _addresses(addresses)
        else:
            _extend(record, addresses)
        if key not in self._young:
            self._make_room()
        self._keyed += len(addresses)
        self._young[key] = record
        if of is not None:
            if not late:
                of.highest = n
            if n > of.highest - self._window:
                of.stamped[n] = record
                self._stamped += len(addresses)
                self._trim(of)

    # --- many ---

    def are_new(
        self, keys: Sequence[tuple[str, str]], origin: str | None, numbers: Sequence[int]
    ) -> bool:
        """Is each of these, all of one origin, plainly new? If not, `fresh` has to decide.

        They are if their counters rise from above the highest on, and no key is known.
        """
        of = self._origins.get(origin or "")
        unknown = set(keys)
        return (
            (of is None or numbers[0] > of.highest)
            and all(map(operator.lt, numbers, numbers[1:]))
            and len(unknown) == len(keys)
            and self._young.keys().isdisjoint(unknown)
            and self._old.keys().isdisjoint(unknown)
        )

    def add_all(
        self,
        keys: Sequence[tuple[str, str]],
        origin: str | None,
        numbers: Sequence[int],
        addresses: Sequence[Sequence[str]],
    ) -> None:
        """Add many that `are_new`, with the addresses of each."""
        records = [*map(_addresses, addresses)]
        self._make_room()
        count = sum(map(len, addresses))
        self._keyed += count
        self._young.update(zip(keys, records, strict=True))
        if origin is not None:
            of = self._origin(origin)
            of.stamped.update(zip(numbers, records, strict=True))
            of.highest = numbers[-1]
            self._stamped += count
            self._trim(of)

    def _make_room(self) -> None:
        if len(self._young) >= self._min_keys or self._keyed > MAX_REMEMBERED_ADDRESSES:
            self._old, self._young = self._young, {}
            self._keyed = 0

    def _trim(self, of: _Origin) -> None:
        """Forget the counters that are out of the window, now and then."""
        if len(of.stamped) > self._window + self._window // 2:
            oldest = of.highest - self._window
            self._stamped -= sum(_size(r) for m, r in of.stamped.items() if m <= oldest)
            of.stamped = {m: r for m, r in of.stamped.items() if m > oldest}
        if self._stamped > MAX_REMEMBERED_ADDRESSES:
            self._forget_counters()

    def _count_stamped(self) -> int:
        return sum(sum(map(_size, of.stamped.values())) for of in self._origins.values())

    def _forget_counters(self) -> None:
        """If there are too many: keep the newest, up to half the limit."""
        self._stamped = self._count_stamped()  # without those that were withdrawn or dropped
        if self._stamped <= MAX_REMEMBERED_ADDRESSES:
            return
        room = MAX_REMEMBERED_ADDRESSES // 2
        for of in sorted(self._origins.values(), key=lambda of: of.heard, reverse=True):
            kept: dict[int, Addresses] = {}
            for n in sorted(of.stamped, reverse=True):
                room -= _size(of.stamped[n])
                if room < 0:
                    break
                kept[n] = of.stamped[n]
            of.stamped = kept
        self._stamped = self._count_stamped()

    def _origin(self, name: str) -> _Origin:
        """The origin, new if need be; then the longest unused one makes room."""
        if name not in self._origins:
            if len(self._origins) >= MAX_ORIGINS:
                del self._origins[min(self._origins, key=lambda o: self._origins[o].heard)]
            self._origins[name] = _Origin()
        of = self._origins[name]
        if not of.stamped:
            tables = [o for o in self._origins.values() if o.stamped]
            if len(tables) >= MAX_TABLES:
                min(tables, key=lambda o: o.heard).stamped = {}
        of.heard = self._now = self._now + 1
        return of
