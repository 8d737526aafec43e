"""Routes: which instance an address leads to, under two policies.

An address is ``service`` or ``service/key``: ``bizlogic``, ``inbox/ark3``. The directory sends for
each service the policy and the targets, and this module chooses by them:

* ``consistent``: the ring over the targets' names owns every key. One owner, the same for all
  processes with the same targets. If the owner is dead, the key waits until the targets change.
* ``ordered``: the first target that works, in order of ``since``, then name. All traffic goes to
  it; the next one is the spare. That is failover.

Pure, without a clock or a socket: the caller answers whether a target works.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from barker.routing.ring import Ring

CONSISTENT, ORDERED = "consistent", "ordered"

# Known routes. Beyond it, those of services that no instance serves are forgotten.
MAX_ROUTES = 1000
# Owners that a route remembers so as not to hash a busy key again; beyond it, all are forgotten.
_REMEMBERED_OWNERS = 150_000


class Target(NamedTuple):
    """One instance: `since` is the start of its process in milliseconds, by its own clock."""

    name: str
    host: str
    port: int
    since: int


def split(address: str) -> tuple[str, str]:
    """``inbox/ark3`` -> ("inbox", "ark3"); ``bizlogic`` -> ("bizlogic", "")."""
    service, _, key = address.partition("/")
    return service, key


def matches(prefix: str, address: str) -> bool:
    """Is `address` the prefix itself or below it? The empty prefix matches everything."""
    return not prefix or address == prefix or address.startswith(prefix + "/")


class Route:
    """Policy and targets of one service. It never changes: a new one replaces it."""

    def __init__(self, policy: str = CONSISTENT, targets: Iterable[Target] = ()) -> None:
        self.policy = policy
        self.targets = tuple(sorted(targets, key=lambda t: (t.since, t.name)))
        self.by_name = {t.name: t for t in self.targets}
        self._ring: Ring | None = None
        self._owners: dict[str, Target | None] = {}

    @property
    def ring(self) -> Ring:
        if self._ring is None:
            self._ring = Ring(self.by_name)
        return self._ring

    def owner(self, key: str) -> Target | None:
        """Policy ``consistent``: the target that owns `key`, or None without targets."""
        try:
            return self._owners[key]
        except KeyError:
            if len(self._owners) >= _REMEMBERED_OWNERS:
                self._owners.clear()
            name = self.ring.owner(key)
            target = self._owners[key] = None if name is None else self.by_name[name]
            return target

    def first(self, works: Callable[[Target], bool]) -> Target | None:
        """Policy ``ordered``: the first target that `works`, or None."""
        return next((t for t in self.targets if works(t)), None)

    def choose(self, key: str, works: Callable[[Target], bool] = lambda _: True) -> Target | None:
        """The target for a message to `key`, by this route's policy."""
        return self.owner(key) if self.policy == CONSISTENT else self.first(works)


class RouteTable:
    """The last routes that the directory sent, by service."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}

    def update(self, service: str, policy: str, targets: Iterable[Target]) -> bool:
        """Take over a list from the directory; True if it changed anything."""
        route = Route(policy, targets)
        old = self._routes.get(service)
        if old and (old.policy, old.targets) == (route.policy, route.targets):
            return False
        if old is None and len(self._routes) >= MAX_ROUTES:
            self._routes = {name: self._routes[name] for name in self.served}
        self._routes[service] = route
        return True

    @property
    def services(self) -> list[str]:
        """Every service of which the directory sent a route, by name."""
        return sorted(self._routes)

    @property
    def served(self) -> list[str]:
        """Services that have an instance."""
        return [name for name, route in self._routes.items() if route.targets]

    def route(self, service: str) -> Route:
        """The route of a service; one without targets if the directory sent none."""
        return self._routes.get(service) or _NOWHERE

    def choose(
        self, address: str, works: Callable[[Target], bool] = lambda _: True
    ) -> Target | None:
        service, key = split(address)
        return self.route(service).choose(key, works)


_NOWHERE = Route()
