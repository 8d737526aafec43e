"""A consistent-hash ring: each key has an owner, and a new node takes only its own share.

After Karger et al., "Consistent Hashing and Random Trees" (STOC 1997), with virtual nodes as in
Amazon's Dynamo (SOSP 2007). Left out: weights and replicas; every node is worth the same and every
key has one owner.

            key of "ark3"
                 |
     ----o-------v----o---------o------o---->  0 .. 2**64, and round again
       blue         green      blue   red
                      ^ the first point at or after the key owns it
"""

import bisect
import hashlib
import struct
from collections.abc import Iterable

# Points per node. A node's share of the ring then varies by about 1/sqrt(256) = 6 %, and the
# largest of five nodes holds on average 7 % more than its fair fifth. Fewer points are less fair;
# more cost memory and time at every change, for no gain that can be seen.
POINTS_PER_NODE = 256

_SPACE = 2**64


def places(text: str, count: int) -> tuple[int, ...]:
    """So many places on the ring, the same in every process. (`hash(str)` differs between runs.)

    SHAKE-128 (FIPS 202) returns any number of bytes, so a node's points cost one hash.
    """
    return struct.unpack(f">{count}Q", hashlib.shake_128(text.encode()).digest(8 * count))


def position(text: str) -> int:
    """The place of a key on the ring."""
    return places(text, 1)[0]


class Ring:
    """An unchanging ring over node names; a change of members makes a new one."""

    def __init__(self, nodes: Iterable[str], points_per_node: int = POINTS_PER_NODE) -> None:
        self.nodes = tuple(sorted(set(nodes)))
        # Should two nodes ever land on one point, the smaller name has it, always.
        owners = {
            place: node for node in reversed(self.nodes) for place in places(node, points_per_node)
        }
        self._positions = sorted(owners)
        self._owners = [owners[place] for place in self._positions]

    def owner(self, key: str) -> str | None:
        """The node that owns `key`; None if the ring is empty. Costs O(log points)."""
        if not self._owners:
            return None
        i = bisect.bisect_left(self._positions, position(key))
        return self._owners[i % len(self._owners)]

    def shares(self) -> dict[str, float]:
        """The part of all keys that each node owns; the parts sum to 1."""
        shares = dict.fromkeys(self.nodes, 0.0)
        if self._owners:
            previous = [self._positions[-1] - _SPACE, *self._positions[:-1]]
            for node, here, before in zip(self._owners, self._positions, previous, strict=True):
                shares[node] += (here - before) / _SPACE
        return shares
