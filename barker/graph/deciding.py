"""Deciding: which instance of the followers service gives names away, so that none is given twice.

* The *ruler* is the first instance in the route that was in the last reign. Before it gives a name
  away it begins a reign of its own, if the last one was another's or had other members. This is a
  record in its stream, and every instance that the directory knows has to ack it.
* It begins one when it has all changes of the others, and if each member of the last reign is
  there. One may be missing if it has left before our eyes: both of us were in sync, and the
  directory has notified us of its end over the same link. A member that was away cannot know which
  names the others gave away meanwhile, and waits for one that does.
* A claim is confirmed when all have acked it, in a reign with just these members.

So the next ruler has every confirmed claim, or waits. A replica that holds another claim does not
ack. So of two instances that take themselves for the ruler, at most one gives a name away.
"""

from barker.graph.claims import Claims, Reign
from barker.graph.feed import FOLLOWERS
from barker.graph.publisher import Publisher
from barker.graph.replicas import REPLICA, Replicas
from barker.graph.waited import Waited
from barker.links.link import Link
from barker.process.node import Node


class Decider:
    """May this instance give names away now?"""

    def __init__(
        self,
        node: Node,
        replicas: Replicas,
        publisher: Publisher,
        waited: Waited,
        claims: Claims,
    ) -> None:
        self._node = node
        self._replicas = replicas
        self._publisher = publisher
        self._waited = waited
        self._claims = claims
        # By name, the directory's link that listed an instance while it was in sync with us.
        self._seen: dict[str, Link] = {}
        self._begun_at = 0  # the serial that all replicas must have before our reign counts

    def began(self, serial: int) -> None:
        """Our reign has that serial, or a smaller one."""
        self._begun_at = serial

    @property
    def _members(self) -> tuple[str, ...]:
        return tuple(sorted({self._node.name, *self._replicas.others}))

    @property
    def _is_together(self) -> bool:
        """Do we have all changes of the others, and they all of ours?"""
        return self._replicas.in_sync and self._publisher.replicas.issuperset(self._replicas.others)

    @property
    def _ruler(self) -> str:
        """ "" if no instance of the last reign is there."""
        reign = self._claims.reign
        route = self._node.routes.route(FOLLOWERS)
        first = route.first(lambda t: not reign.n or t.name in reign.names)
        return first.name if first else ""

    @property
    def missing(self) -> list[str]:
        """Instances that may have given names away without our knowledge."""
        link = self._node.told_by(REPLICA)
        members = self._members
        return [
            name
            for name in self._claims.reign.names
            if name not in members and (link is None or self._seen.get(name) is not link)
        ]

    def look(self) -> Reign | None:
        """Called at any change; returns the reign that we have to begin now, if any."""
        if not self._is_together:
            return None
        members, reign = self._members, self._claims.reign
        if link := self._node.told_by(REPLICA):
            self._seen.update(dict.fromkeys(members, link))
        is_ours = reign.by == self._node.name and reign.names == members
        if is_ours or self._ruler != self._node.name or self.missing or self._node.is_stopping:
            return None
        return Reign(reign.n + 1, self._node.name, members)

    def why_not(self) -> str:
        """Why we can't give a name away now; "" if we can."""
        if missing := self.missing:
            return f"{', '.join(missing)} may have given it away, and is not there"
        reign, ruler = self._claims.reign, self._ruler
        if ruler != self._node.name:
            return f"{ruler or 'another'} decides about names"
        if (
            (reign.by, reign.names) != (self._node.name, self._members)
            or not self._is_together
            or self._waited.settled < self._begun_at
        ):
            return "not all instances of followers know yet that we decide"
        if laggards := self._waited.laggards:
            return f"{', '.join(laggards)} does not ack"
        return ""
