"""Your own window: an inbox whose memory of duplicates is the class below.

    python docs/labs/window.py --port 5820

Two of its methods are left to you. Think of an outbox whose bizlogic was frozen: when that thaws,
barks that the inbox has come again, and newer ones have come meanwhile.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from barker import inbox
from barker.manifold import reception

Key = tuple[str, str]


class Duplicates:
    """The barks that were accepted before, and for which addresses.

    1. The key of a bark is (user, id). A key remembers for which addresses the bark was accepted:
       a bark that comes again is fresh for all others.
    2. An outbox stamps each bark with its epoch (the origin) and a counter that rises. A bark whose
       counter is within `window` of the highest one of its origin is recognised by its counter,
       however many barks of other origins have come since.
    3. Further back, the counter decides nothing. There the key decides: at least the last
       `min_keys` keys of all origins together are remembered. An unknown bark is accepted.
    4. A question changes nothing. A bark is remembered when it is added.

    And memory has a bound: so many keys (some factor times `min_keys`), so many counters for each
    origin (the same times `window`), so many origins (100 are enough).
    """

    def __init__(self, window: int = 8192, min_keys: int = 65_536) -> None:
        self._window = window
        self._min_keys = min_keys
        self._highest: dict[str, int] = {}

    # --- for you to write ---

    def fresh(
        self, key: Key, origin: str | None, n: int, addresses: Sequence[str]
    ) -> tuple[Sequence[str], bool]:
        """Those of `addresses` that lack this bark, and whether it comes late.

        It is late if a higher counter of its origin was added before. Without an origin, only the
        key counts, and it is not late.
        """
        raise NotImplementedError("fresh is yours to write")

    def add(self, key: Key, origin: str | None, n: int, addresses: Sequence[str]) -> None:
        """These addresses have it now; none of them had it before. There may be none."""
        raise NotImplementedError("add is yours to write")

    # --- done ---

    @property
    def highest(self) -> dict[str, int]:
        """For each origin the highest counter that was added; the journal keeps that."""
        return dict(self._highest)

    def highest_of(self, origin: str) -> int | None:
        """The highest counter of this origin; None if none was added."""
        return self._highest.get(origin)

    def remember(self, highest: Mapping[str, int]) -> None:
        """Take up the counters of an earlier process."""
        for origin, n in highest.items():
            self._highest[origin] = max(n, self._highest.get(origin, -1))

    def are_new(self, keys: Sequence[Key], origin: str | None, numbers: Sequence[int]) -> bool:
        """Is each of these plainly new? With False, `fresh` has to decide for each."""
        return False

    def add_all(
        self,
        keys: Sequence[Key],
        origin: str | None,
        numbers: Sequence[int],
        addresses: Sequence[Sequence[str]],
    ) -> None:
        """Add many that `are_new`."""
        for key, n, own in zip(keys, numbers, addresses, strict=True):
            self.add(key, origin, n, own)


if __name__ == "__main__":
    mine: Any = Duplicates
    reception.Duplicates = mine  # type: ignore[misc]  # of which each inbox makes one
    sys.exit(inbox.main())
