"""Share: which addresses of a service are this instance's. The ring is the same for all.

Addresses of others are refused as ``moved``.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from barker.process.node import Node
from barker.routing.routes import split
from barker.wire.fields import addresses_in
from barker.wire.ops import Put
from barker.wire.protocol import BAD_MESSAGE, BadMessage

# Addresses known to be ours, whether there is such a user or not, of some 115 bytes. Beyond it, all
# are forgotten.
REMEMBERED_ADDRESSES = 500_000


class Ours(NamedTuple):
    """Our part of a put: entries with our addresses alone.

    `places` are the places of these entries in the whole put; None: it is all of it. `moved` has,
    by place, addresses of other instances, and `faults` those that are none of this service.
    """

    put: Put | None
    places: Sequence[int] | None
    moved: dict[int, list[str]]
    faults: list[tuple[int, BadMessage]]


class Share:
    """Our share of the ring of one service."""

    def __init__(self, node: Node, service: str, changed: Callable[[], None]) -> None:
        """`changed` is called when the ring is another one; any address may have moved."""
        self._node = node
        self._service = service
        self._changed = changed
        self._ours: set[str] = set()  # addresses that are ours, until the ring changes
        node.watch(service, self._ring_changed)

    def is_ours(self, address: str) -> bool:
        """Does the ring give us this address? Raises BadMessage if it is none of our service."""
        if address in self._ours:
            return True
        service, key = split(address)
        if service != self._service or not key:
            raise BadMessage(BAD_MESSAGE, f"{address} is not below {self._service}/")
        owner = self._node.routes.route(service).owner(key)
        # Before a directory has sent us a ring, the sender knows better than we do.
        ours = owner is None or owner.name == self._node.name
        if ours:
            if len(self._ours) >= REMEMBERED_ADDRESSES:
                self._ours.clear()
            self._ours.add(address)
        return ours

    def of(self, put: Put) -> Ours:
        """Our part of a put."""
        if self._ours.issuperset(put.to) or all(
            self._ours.issuperset(addresses_in(entry)) for entry in {*put.to}
        ):
            return Ours(put, None, {}, [])
        places, to = [], []
        moved: dict[int, list[str]] = {}
        faults = []
        for place, entry in enumerate(put.entries()):
            addresses = addresses_in(entry)
            try:
                others = [address for address in addresses if not self.is_ours(address)]
            except BadMessage as fault:
                faults.append((place, fault))
                continue
            if others:
                moved[place] = others
            if len(others) < len(addresses):
                places.append(place)
                to.append(" ".join(filter(self.is_ours, addresses)) if others else entry)
        if len(places) == len(put.bodies):
            return Ours(put._replace(to=to), None, moved, faults)
        ours = put.select(places)._replace(to=to) if places else None
        return Ours(ours, places, moved, faults)

    def _ring_changed(self) -> None:
        self._ours.clear()
        self._changed()
