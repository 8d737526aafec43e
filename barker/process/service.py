"""A service: a node that listens, and that the directory lists for others.

Construct, bind, announce: `READY host:port` goes to standard output once others can connect. The
service registers the host of `--advertise` (or `--host`) and the port that it really got. It
listens for other machines only with a secret that its operator has chosen.
"""

import argparse
import asyncio
import errno
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from barker.disk import files, keys
from barker.links import hosts
from barker.links.accepting import Acceptor
from barker.links.connection import Connection
from barker.links.link import Conversation, Link
from barker.process import agent, logs
from barker.process.agent import Agent
from barker.process.arguments import DEFAULT_HOST, common_arguments, port_number, quick_parser
from barker.process.node import Node
from barker.process.running import run_node
from barker.routing.routes import ORDERED, split
from barker.wire import messages, protocol
from barker.wire.ops import Register, Subscribe, Unreadable, Unregister, Watch
from barker.wire.rights import SERVICE

log = logging.getLogger("barker.process.service")

# Names of followed entries, and when they came. Older ones are forgotten.
MAX_TRACES = 100


class Service(Node, Conversation):
    """One instance. It is itself the conversation of every link that others open to it."""

    default_port: ClassVar[int] = 0
    loopback_only: ClassVar[bool] = False  # whatever its flags
    is_service = True
    role = SERVICE

    def __init__(self, args: argparse.Namespace) -> None:
        Node.__init__(self, args)
        Conversation.__init__(self)
        self.add_handler(Subscribe, self.on_subscribe)
        self.since = time.time_ns() // 1_000_000
        self.acceptor = Acceptor(
            identity=lambda: self.identity,
            context=self.tls.accepting,
            start=self.start,
            links=lambda: len(self.links),
            serve=self._serve,
        )
        self._serves: list[tuple[str, str]] = []
        self._looked_for: set[str] = set()  # our addresses whose routes we watch
        self._agent = Agent(self)
        self.traces: deque[tuple[str, float]] = deque(maxlen=MAX_TRACES)

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Flags of this service alone."""

    def serve(self, address: str, policy: str) -> None:
        """Register this instance at `address`, now or as soon as the directory is there.

        The routes of that address are watched, too: if they lack this service, it registers again.
        """
        self._serves.append((address, policy))
        self.announce()
        # All services serve an agent: that list is long, and changes often.
        if address != agent.ADDRESS and address not in self._looked_for:
            self._looked_for.add(address)
            self.watch(address, lambda: self._look_for_us(address))
            self.tell_directory(messages.encode(Watch(address)))

    def _look_for_us(self, address: str) -> None:
        """Called when the routes of an address of ours have changed."""
        is_served = any(served == address for served, _ in self._serves)
        names = [target.name for target in self.routes.route(address).targets]
        if is_served and self.name not in names:
            log.debug("the directory does not know that we serve %s; registering again", address)
            self.announce()

    def unserve(self, address: str) -> None:
        """Unregister this instance from `address`."""
        self._serves = [(a, policy) for a, policy in self._serves if a != address]
        self.tell_directory(messages.encode(Unregister(address, self.name)))

    def registrations(self) -> list[Register]:
        """The registrations for the directory."""
        place = (self.name, self.host, self.port)
        return [Register(a, *place, policy, self.kind, self.since) for a, policy in self._serves]

    def announcements(self) -> list[bytes]:
        return list(map(messages.encode, self.registrations()))

    async def started(self) -> None:
        if not await self._bind():
            return
        try:
            await self.prepare()
        except files.StateError:
            self.acceptor.close()
            raise
        if self._stop.is_set():
            return
        try:
            self.acceptor.listen()
        except OSError as fault:  # two have bound one port before either of them listened
            self.give_up(self._why_not(fault))
            return
        self.serve(agent.ADDRESS, ORDERED)
        await self.ready()
        logs.say(self.kind, f"READY {hosts.spell(self.args.host, self.port)}")

    async def _bind(self) -> bool:
        """Take the port, at every address of `--host`; then our name is known. Or `give_up`."""
        host, advertise = self.args.host, self.args.advertise
        try:
            at = await asyncio.to_thread(hosts.addresses, host, self.args.port)
            why = hosts.why_closed(host, at, self.args.secret_file, advertise)
            if self.loopback_only and (advertise or not hosts.are_loopback(at)):
                why = f"it is for this machine alone, and {advertise or host} is for others"
            if why:
                self.give_up(why, status=2)
                return False
            self.key = keys.secret(self.args.state, self.args.secret_file)
            sockets = hosts.bind(at)
            names = {*hosts.OWN_NAMES, host.lower(), (advertise or host).lower()}
            self.acceptor.bind(sockets, names)
        except (OSError, UnicodeError) as fault:  # the latter: a host that can't be a name
            self.give_up(self._why_not(fault))
            return False
        if not self.tls.accepting and not hosts.are_loopback(at):
            log.warning("without --tls-cert, others on the network can read all but the secret")
        self.port = sockets[0].getsockname()[1]
        self.host = advertise or host
        self.name = self.args.name or f"{self.kind}-{self.port}"
        return True

    def give_up(self, why: str, status: int = 1) -> None:
        """Print why on stderr, and end with that status."""
        logs.complain(self.kind, why)
        self.stop(status)

    async def prepare(self) -> None:
        """Called when our name and port are known, and before any connection: recover."""

    async def ready(self) -> None:
        """Called when others can connect: `serve` addresses, begin your own work."""

    # --- being watched ---

    def note_traces(self, traces: Sequence[str]) -> None:
        """Called with the names of a put's followed entries; "" is none."""
        now_ms = round(time.time_ns() / 1_000_000, 2)  # a hop takes less than 1 ms
        self.traces += [(trace, now_ms) for trace in traces if trace]

    def gauges(self) -> dict[str, Any]:
        """What this kind of service adds to its agent's samples, or counts in another way.

        `in` and `out` count the messages of a service's purpose, from the start of its process.
        By default they are all messages of all links.
        """
        return {
            "in": self.messages_in + sum(link.messages_in for link in self.links),
            "out": self.messages_out + sum(link.messages_out for link in self.links),
        }

    def sampled(self) -> None:
        """Called after each second's sample: figures that are counted by the second begin anew."""

    def on_subscribe(self, link: Link, wish: Subscribe) -> None:
        if split(wish.address)[0] == agent.ADDRESS:
            self._agent.subscribe(link, wish)
        else:
            self.subscribe(link, wish)

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        """Called for a subscription to any address but the agent's."""
        reason = f"{self.kind} has nothing to read"
        link.send(messages.encode(Unreadable(wish.address, protocol.BAD_MESSAGE, reason)))

    async def stopping(self) -> None:
        """Send a last sample, and accept no new links; a subclass goes on from here."""
        self._agent.stop()
        self.acceptor.close()

    def _why_not(self, fault: Exception) -> str:
        place = hosts.spell(self.args.host, self.args.port)
        if getattr(fault, "errno", None) == errno.EADDRINUSE:
            return f"{place} is in use by another process; --port takes another one"
        return f"can't listen at {place}: {getattr(fault, 'strerror', None) or fault}"

    async def _serve(self, connection: Connection) -> None:
        if self._stop.is_set():
            await connection.let_go()  # its messages would be handled by a process that ends
        else:
            await self.attend(connection, self)


def service_parser(
    service: type[Service], program: str, about: str, examples: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """The flags of a service: its own, then those of every service and every node."""
    return add_flags(service, quick_parser(program, about, examples))


def add_flags(service: type[Service], parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same for a parser that is there already."""
    service.arguments(parser)
    group = parser.add_argument_group("every service")
    group.add_argument(
        "--host", default=DEFAULT_HOST, help="address to listen at (default: %(default)s)"
    )
    group.add_argument(
        "--port",
        type=port_number,
        default=service.default_port,
        help="port to listen at; 0 takes any free one (default: %(default)s)",
    )
    group.add_argument(
        "--advertise", metavar="HOST", help="the host by which others reach us, if not --host"
    )
    group.add_argument("--name", help="stable name of this instance (default: kind and port)")
    common_arguments(parser)
    return parser


def run_service(
    service: type[Service],
    program: str,
    about: str,
    examples: Sequence[str],
    argv: list[str] | None,
    make: Callable[[argparse.Namespace], Service] | None = None,
) -> int:
    """`main` of every service; `make` constructs it, if it takes more than the arguments."""
    parser = service_parser(service, program, about, examples)
    args = parser.parse_args(argv)
    if args.name is not None and not protocol.INSTANCE_NAME.fullmatch(args.name):
        parser.error("--name takes letters, digits, '.', '_' and '-'")
    if not (args.port or args.name or getattr(args, "no_journal", True)):
        parser.error(
            "with --port 0 no later start finds what this one keeps: add --name NAME, which names"
            " the journal, or --no-journal"
        )
    return run_node(make or service, args)
