"""Waited: the subscribers whose acks a followers service waits for, and for how long.

An event is acked when all replicas have it, and a list is sent when all copies act by it. Only
subscribers that the directory knows are waited for, and every registered bizlogic: one that reads
another instance, or is between two links, decides by an older graph. One that has not acked for
`WAIT_HEARTBEATS`, though there was something to ack, is a *laggard*: it is named, and not waited
for, until it acks again. Names are stricter: none is given away while a registered replica does not
know of it (`barker.graph.deciding`).
"""

from collections.abc import Mapping

from barker.graph.feed import FOLLOWERS, GRAPH
from barker.graph.publisher import NOTHING, Publisher
from barker.graph.replicas import Replicas
from barker.process import agent
from barker.process.node import Node

# The service that decides who is shown a bark.
DECIDES = "bizlogic"
WAIT_HEARTBEATS = 3.0


class Progress:
    """Of some subscribers: how far each has acked, and since when."""

    def __init__(self) -> None:
        self._stands: dict[str, tuple[int, float]] = {}
        self.laggards: frozenset[str] = frozenset()

    def look(self, behind: Mapping[str, int], now: float, patience_s: float) -> bool:
        """`behind` has the last serial of each that lacks one. Are there other laggards now?"""
        stands = {}
        for name, serial in behind.items():
            old = self._stands.get(name)
            stands[name] = old if old and old[0] == serial else (serial, now)
        self._stands = stands
        before = self.laggards
        self.laggards = frozenset(n for n, (_, t) in stands.items() if now - t > patience_s)
        return self.laggards != before


class Waited:
    """The subscribers that one instance waits for."""

    def __init__(self, node: Node, replicas: Replicas, publisher: Publisher) -> None:
        self._node = node
        self._replicas = replicas
        self._publisher = publisher
        self._replicating, self._copying = Progress(), Progress()
        for address in (agent.ADDRESS, DECIDES):  # all that are registered
            node.watch(address, publisher.tell_lists)

    def look(self) -> bool:
        """Find the laggards. Have they changed?"""
        now = self._node.now()
        patience_s = WAIT_HEARTBEATS * self._node.heartbeat_s
        replicas = self._replicating.look(self._behind(self._replicas_at()), now, patience_s)
        return self._copying.look(self._behind(self._copies_at()), now, patience_s) or replicas

    def _behind(self, stand_at: Mapping[str, int]) -> Mapping[str, int]:
        last = self._publisher.last
        return {name: serial for name, serial in stand_at.items() if serial < last}

    def _replicas_at(self) -> Mapping[str, int]:
        """Of each other instance that is registered, the serial up to which it has acked."""
        acked = self._publisher.acked(FOLLOWERS)
        return {name: acked.get(name, NOTHING) for name in self._replicas.others}

    def _copies_at(self) -> Mapping[str, int]:
        registered = self._node.routes.route(agent.ADDRESS).by_name
        deciding = self._node.routes.route(DECIDES).by_name
        stand_at = {
            name: serial
            for name, serial in self._publisher.acked(GRAPH).items()
            if name in registered or name in deciding or not registered
        }
        return {**dict.fromkeys(deciding, NOTHING), **stand_at}

    @property
    def laggards(self) -> list[str]:
        """Replicas that are not waited for now."""
        return sorted(self._replicating.laggards)

    @property
    def strangers(self) -> list[str]:
        """Registered replicas that do not replicate us yet, and are waited for."""
        known = {*self._publisher.acked(FOLLOWERS), *self._replicating.laggards}
        return [name for name in self._replicas.others if name not in known]

    @property
    def settled(self) -> int:
        """The serial up to which all replicas have all changes, laggards too."""
        return min(self._replicas_at().values(), default=self._publisher.last)

    @property
    def acked(self) -> int:
        """The same of all that are waited for."""
        stands = self._replicas_at().items()
        waited_for = (serial for n, serial in stands if n not in self._replicating.laggards)
        return min(waited_for, default=self._publisher.last)

    @property
    def holds(self) -> int:
        """The serial up to which all copies have all changes, except laggards."""
        stands = self._copies_at().items()
        waited_for = (serial for n, serial in stands if n not in self._copying.laggards)
        return min(waited_for, default=self._publisher.last)

    def words(self) -> str:
        """The laggards, or those that are waited for; "" if all have all changes."""
        lagging = sorted(self._replicating.laggards | self._copying.laggards)
        if lagging:
            return f"not waited for, since no ack has come for long: {', '.join(lagging)}"
        behind = self._behind(self._replicas_at())
        if behind:  # with the number, so that the text changes with it
            first = 1 + min(behind.values())
            return f"events wait since number {first} for {', '.join(sorted(behind))}"
        return ""
