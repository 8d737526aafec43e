"""Deciding: which instance of the followers service gives names away, so that none is given twice.

* The *ruler* is the first instance in the route of those that were in the last reign. Before it
  gives a name away it begins a reign of its own, whenever that was another's or had other members:
  a record in its stream, which every instance that the directory knows has to ack.
* It begins one when it has had all that the others have, and if each member of the last reign is
  there. One may be missing if it has left before our eyes: it was known, as we were, and the
  directory has told us of its end over the same link. One that was away cannot know what the
  others gave away meanwhile, and waits for one that does.
* A claim is told yes when all have acked it, in a reign with just these members.

So the next ruler has every claim that was told yes, or waits. A replica that holds another claim
does not ack. So of two instances that take themselves for the ruler, one at most gives a name away.
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
        # By name, the directory's link over which we were told of one that was in sync with us.
        self._seen: dict[str, Link] = {}
        self._begun_at = 0  # the serial that all replicas have to have before our reign counts

    def began(self, serial: int) -> None:
        """Our reign has that serial, or a smaller one."""
        self._begun_at = serial

    @property
    def _members(self) -> tuple[str, ...]:
        return tuple(sorted({self._node.name, *self._replicas.others}))

    @property
    def _is_together(self) -> bool:
        """Do we have all that the others have, and they what we have?"""
        return self._replicas.in_sync and self._publisher.replicas.issuperset(self._replicas.others)

    @property
    def _ruler(self) -> str:
        """ "" if none that is there was in the last reign."""
        reign = self._claims.reign
        route = self._node.routes.route(FOLLOWERS)
        first = route.first(lambda t: not reign.n or t.name in reign.names)
        return first.name if first else ""

    @property
    def missing(self) -> list[str]:
        """Instances that may have given names away of which we don't know."""
        link = self._node.told_by(REPLICA)
        members = self._members
        return [
            name
            for name in self._claims.reign.names
            if name not in members and (link is None or self._seen.get(name) is not link)
        ]

    def look(self) -> Reign | None:
        """Something has changed; the reign that we have to begin now, if there is one."""
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
