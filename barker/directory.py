"""The directory: the instances of each service, sent to all that watch it.

A registration lives as long as the link it came over, or until it is taken back; nothing expires
and no registration is stored. All its state can be sent again by the services, and so it comes
back: after a restart it has a new *epoch*, and most services have not registered again yet; after a
freeze, the services that have closed their link have not. So it sends no routes until the *settling
time* is over, and meanwhile all others go on with their last routes. Without that, the first
service to come back would own the whole ring for a moment.

Each start settles, for a directory can't know whether there was one before it. A launcher, which
starts a system as a whole, knows that there was none: it gives its directory ``--no-settle``. A
service that greets with an older epoch shows that it was wrong, and then this one settles, too.

Left out: replication. Routes survive the directory in every node that has seen them, and a node
that starts while it is away waits.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import functools
import secrets
import sys
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from barker.links.greeting import Identity
from barker.links.link import Link
from barker.process.arguments import DIRECTORY_PORT
from barker.process.dialing import BACKOFF_MAX_S, CONNECT_TIMEOUT_S
from barker.process.faults import contained
from barker.process.service import Service, log, run_service
from barker.routing.routes import CONSISTENT, Route, Target, matches, split
from barker.wire import messages, ops, protocol
from barker.wire.ops import Instance, Register, Resolve, Routes, Unregister, Watch
from barker.wire.protocol import ProtocolError
from barker.wire.rights import SERVICE

# A service that knew our predecessor dials again within the longest back-off, or else is in a
# connect that runs into its time-out first.
SETTLE_S = BACKOFF_MAX_S + 0.5 * CONNECT_TIMEOUT_S

# Instances of one service, and of all together, since each is an agent, too. Their list is one
# message, and has to fit a line.
MAX_INSTANCES = 300
# Different addresses that are served; ours are a handful. After a restart of the directory, a
# watcher of everything requests each of them by its name.
MAX_SERVICES = 900
# Addresses that one link may watch, and may have resolved: a page that shows the owners of all
# users requests one for each.
MAX_ASKED = 1000
# The same of all links, of some 115 bytes.
MAX_ASKED_IN_ALL = 500_000


class Registration(NamedTuple):
    target: Target
    policy: str
    kind: str
    link: Link | None  # None: our own


ABOUT = """\
Run the directory, which knows the place of every service, and sends it to all processes that need
it. A system has one directory; other processes find it by --directory.
"""
EXAMPLES = (
    "",
    "--port 6672 -v",
)


class Directory(Service):
    """One instance, at an address that all others have on their command line."""

    kind = "directory"
    default_port = DIRECTORY_PORT
    is_directory = True

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.add_handler(Register, self.on_register)
        self.add_handler(Unregister, self.on_unregister)
        self.add_handler(Watch, self.on_watch)
        self.add_handler(Resolve, self.on_resolve)
        self.epoch = secrets.token_hex(8)
        self._begun = 0.0
        self._settling: float | None = None  # since then, if it is not over
        self._services: dict[str, dict[str, Registration]] = {}
        self._policies: dict[str, str] = {}
        self._routes: dict[str, Route] = {}  # made of the two above when they are requested
        self._watchers: dict[Link, set[str]] = {}
        self._resolvers: dict[Link, dict[str, Target | None]] = {}
        self._asked = 0  # addresses that watchers and resolvers have requested
        self._changed: set[str] = set()

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--no-settle",
            action="store_true",
            help="send routes at once: the whole system starts now, and no service runs yet",
        )

    @property
    def identity(self) -> Identity:
        return Identity(self.name, self.key, self.epoch, self.role)

    def thawed(self, ended: Sequence[Link]) -> None:
        """Services that have closed their link register again: send no routes before all could."""
        if any(link.role == SERVICE for link in ended):
            self._begun = self.now()
            self._settle()
        self._tell_changed()

    def announce(self) -> None:
        """Our own services need no registration over a link."""
        for registration in self.registrations():
            self._register(None, registration)

    def gauges(self) -> dict[str, Any]:
        watchers = len(self._watchers) + len(self._resolvers)
        return {**super().gauges(), "streams": len(self._services), "readers": watchers}

    async def prepare(self) -> None:
        self._begun = self.now()
        if not self.args.no_settle:
            self._settle()

    # --- the conversation ---

    def link_up(self, link: Link) -> None:
        before = link.peer.epoch if link.peer else None
        if before and before != self.epoch:
            self._settle()

    def _settle(self) -> None:
        """Others know more than we do: send no routes before all had the time to register."""
        left_s = self._begun + SETTLE_S - self.now()
        if left_s > 0 and self._settling != self._begun:
            log.info("services may have to register again: settling for %.1f s", left_s)
            self._settling = self._begun
            self.later(left_s, functools.partial(self._settled, self._begun))

    def on_register(self, link: Link, register: Register) -> None:
        self._register(link, register)

    def _register(self, link: Link | None, register: Register) -> None:
        address, name = register.address, register.name
        target = Target(name, register.host, register.port, register.since)
        new = Registration(target, register.policy, register.kind, link)
        members = self._services.get(address, {})
        policy = self._policies[address] if members else new.policy
        if policy != new.policy:
            raise ProtocolError(protocol.PROTOCOL, f"the policy of {address} is {policy}")
        old = members.get(name)
        if old and old.link is not link:  # also at the same address: it would end with that link
            raise ProtocolError(protocol.NAME_TAKEN, f"{name} is at {_place(old.target)}")
        if name not in members and len(members) >= MAX_INSTANCES:
            raise ProtocolError(
                protocol.TOO_MANY, f"{address} has {MAX_INSTANCES} instances already"
            )
        if not members and sum(map(bool, self._services.values())) >= MAX_SERVICES:
            raise ProtocolError(protocol.TOO_MANY, f"there are {MAX_SERVICES} services already")
        if address not in self._services and len(self._services) >= MAX_SERVICES:
            self._forget_unserved()
        self._services[address], self._policies[address] = members, policy
        members[name] = new
        self._tell(address)
        if len(self._routes_message(address)) > protocol.MAX_LINE_BYTES:
            del members[name]
            self._tell(address)
            raise ProtocolError(protocol.TOO_MANY, f"the list of {address} would not fit a line")

    def _forget_unserved(self) -> None:
        """Make room: watchers of these addresses have got an empty list."""
        for address in [a for a, members in self._services.items() if not members]:
            del self._services[address], self._policies[address]

    def on_unregister(self, link: Link, unregister: Unregister) -> None:
        members = self._services.get(unregister.address, {})
        old = members.get(unregister.name)
        if old and old.link is link:
            del members[unregister.name]
            self._tell(unregister.address)

    def on_watch(self, link: Link, watch: Watch) -> None:
        prefix = watch.prefix
        prefixes = self._watchers.setdefault(link, set())
        self._count(prefix, prefixes)
        prefixes.add(prefix)
        if self._settling is None:
            # Also about a service without instances: "none" is an answer.
            known = {a for a in self._services if matches(prefix, a)}
            for address in known | ({prefix} if prefix else set()):
                link.send(self._routes_message(address))

    def on_resolve(self, link: Link, resolve: Resolve) -> None:
        address = resolve.address
        wanted = self._resolvers.setdefault(link, {})
        self._count(address, wanted)
        if self._settling is None:
            wanted[address] = self._choose(address)
            link.send(_target(address, wanted[address]))
        else:
            wanted[address] = None

    def _count(self, address: str, asked: Collection[str]) -> None:
        """One more address is requested. Raises ProtocolError if there are too many."""
        if address in asked:
            return
        if len(asked) >= MAX_ASKED:
            raise ProtocolError(protocol.TOO_MANY, f"over {MAX_ASKED} addresses on one link")
        if self._asked >= MAX_ASKED_IN_ALL:
            raise ProtocolError(
                protocol.TOO_MANY, f"over {MAX_ASKED_IN_ALL} addresses of all links"
            )
        self._asked += 1

    def link_down(self, link: Link) -> None:
        self._asked -= len(self._watchers.pop(link, ())) + len(self._resolvers.pop(link, ()))
        for address, members in self._services.items():
            gone = [name for name, r in members.items() if r.link is link]
            for name in gone:
                del members[name]
                self._tell(address)

    # --- sending ---

    def _tell(self, address: str) -> None:
        """Send the routes to all watchers, once for all changes of this turn of the loop."""
        self._routes.pop(address, None)
        if not self._changed:
            self._loop.call_soon(self._tell_changed)
        self._changed.add(address)

    def _tell_changed(self) -> None:
        if self.is_looking:
            return  # `thawed` follows
        changed, self._changed = self._changed, set()
        if self._settling is not None:
            return
        for address in sorted(changed):
            routes = self._routes_message(address)
            for link, prefixes in self._watchers.items():
                if any(matches(prefix, address) for prefix in prefixes):
                    with contained(link, link.abort):
                        link.send(routes)
        for link, wanted in self._resolvers.items():
            with contained(link, link.abort):
                for address, last in wanted.items():
                    if split(address)[0] in changed or address in changed:
                        target = self._choose(address)
                        if target != last:
                            wanted[address] = target
                            link.send(_target(address, target))

    def _settled(self, since: float) -> None:
        if since != self._settling:
            return  # frozen meanwhile: it takes longer
        self._settling = None
        log.info("settled; services: %d", sum(map(bool, self._services.values())))
        for link, prefixes in self._watchers.items():
            with contained(link, link.abort):
                for prefix in prefixes:
                    self.on_watch(link, Watch(prefix))
        for link, wanted in self._resolvers.items():
            with contained(link, link.abort):
                for address in wanted:
                    self.on_resolve(link, Resolve(address))

    def _route(self, address: str) -> Route:
        route = self._routes.get(address)
        if route is None:
            members = self._services.get(address, {})
            policy = self._policies.get(address, CONSISTENT)
            route = Route(policy, [r.target for r in members.values()])
            if members:
                self._routes[address] = route
        return route

    def _choose(self, address: str) -> Target | None:
        service, key = split(address)
        return self._route(service).choose(key)

    def _routes_message(self, address: str) -> bytes:
        route = self._route(address)
        kinds = {name: r.kind for name, r in self._services.get(address, {}).items()}
        targets = [Instance(*target, kinds[target.name]) for target in route.targets]
        return messages.encode(Routes(address, route.policy, targets))


def _target(address: str, target: Target | None) -> bytes:
    name, host, port = target[:3] if target else (None, None, None)
    return messages.encode(ops.Target(address, name, host, port))


def _place(target: Target) -> str:
    return f"{target.host}:{target.port}"


def main(argv: list[str] | None = None) -> int:
    return run_service(Directory, "directory", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
