"""A feed: a copy of the graph, kept up to date by the followers service that works.

The service ``graph`` is a stream like an inbox: ``subscribe`` with a place, get ``subscribed``,
then a `message` for every change. Old changes are not kept. So a subscriber without a place in the
stream (or with one of another epoch, or too far back) gets a *snapshot* first: the graph in pieces,
with a mark in the last. While it arrives the old copy stays in use, and the complete snapshot
replaces it. While no followers service works at all, the copy stays as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from barker.graph.graph import PIECE, Change
from barker.links.link import Link
from barker.process.node import Node
from barker.process.peers import Peers
from barker.wire import messages, protocol, strictjson
from barker.wire.ops import Credit, Message, Subscribe, Subscribed
from barker.wire.protocol import BadMessage, ProtocolError

# The address of the graph, for its readers and for events.
GRAPH = "graph"
FOLLOWERS = "followers"


class Applies(Protocol):
    """A copy's type: `Graph`, or less of it."""

    def apply(self, fields: Mapping[str, Any]) -> list[Change]: ...


Held = TypeVar("Held", bound=Applies)


class Place:
    """A position in the graph's stream of one followers service."""

    __slots__ = ("epoch", "grown", "in_snapshot", "last", "serial")

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.serial = 0
        self.last = 0  # the stream's newest serial when we subscribed
        self.in_snapshot = False
        self.grown = False

    def ask(self, link: Link, address: str) -> None:
        # In the middle of a snapshot, there is no place to go on from.
        epoch = None if self.in_snapshot else self.epoch
        self.last = protocol.MAX_COUNT  # until the answer, there may be any number
        link.send(messages.encode(Subscribe(address, epoch, self.serial)))

    def forget(self) -> None:
        """Our copy differs from what was sent: the next answer begins with a snapshot."""
        self.epoch = None

    def begin(self, answer: Subscribed) -> bool:
        """Does a snapshot follow? It leads to the place that the answer names."""
        here = (answer.epoch, answer.serial)
        self.in_snapshot = here != (self.epoch, self.serial) or self.in_snapshot
        self.epoch, self.serial, self.last = answer.epoch, answer.serial, answer.last
        return self.in_snapshot

    def take(self, body: bytes) -> dict[str, Any]:
        """Take one entry more; returns its fields. Raises ProtocolError."""
        try:
            fields = strictjson.loads(body)
        except BadMessage as fault:
            raise ProtocolError(protocol.PROTOCOL, fault.reason) from None
        if type(fields) is not dict:
            raise ProtocolError(protocol.PROTOCOL, "what changes a graph is a JSON object")
        self.grown = True
        if not self.in_snapshot:
            self.serial += 1
        elif fields.get("kind") == PIECE and not fields.get("more"):
            self.in_snapshot = False
        return fields

    @property
    def caught_up(self) -> bool:
        return self.epoch is not None and not self.in_snapshot and self.serial >= self.last

    def credit(self, address: str) -> Credit | None:
        """The credit to send at the end of a batch."""
        if not self.grown:
            return None
        self.grown = False
        # A snapshot without its end counts for nothing.
        return Credit(address, 0 if self.in_snapshot else self.serial)


class Feed(Peers, Generic[Held]):
    """Feeds one copy, `held`; `make` makes an empty one for the next snapshot."""

    def __init__(self, node: Node, make: Callable[[], Held], held: Held | None = None) -> None:
        super().__init__(node, GRAPH)
        self.add_handler(Subscribed, self.on_subscribed)
        self.add_handler(Message, self.on_message)
        self._make = make
        self.held: Held = make() if held is None else held
        self.complete = False  # `held` is the service's, not our first one
        self._next: Held | None = None
        self._place = Place()
        self._asked: Link | None = None

    # --- for subclasses ---

    def changed(self, changes: Sequence[Change]) -> None:
        """Called after changes of `held`."""

    def replaced(self) -> None:
        """Called when `held` is another one, complete."""

    # --- the conversation ---

    def peers_changed(self) -> None:
        first = self.route.first(lambda t: t.name in self.peers)
        link = self.peers[first.name] if first else None
        if link is not self._asked:
            if self._asked:
                # Where we no longer read, no acks of ours must be waited for.
                self._asked.abort()
            self._asked = link
            if link:
                self._place.ask(link, GRAPH)

    def on_subscribed(self, link: Link, answer: Subscribed) -> None:
        if link is self._asked:
            self._next = self._make() if self._place.begin(answer) else None

    def on_message(self, link: Link, message: Message) -> None:
        if link is self._asked:
            for body in message.bodies:
                self._take(body)

    def _take(self, body: bytes) -> None:
        place = self._place
        in_snapshot = place.in_snapshot
        fields = place.take(body)
        if in_snapshot and self._next is not None:
            self._next.apply(fields)
            if not place.in_snapshot:
                self.held, self._next, self.complete = self._next, None, True
                self.replaced()
        else:
            changes = self.held.apply(fields)
            if changes:
                self.changed(changes)

    def batch_end(self, link: Link) -> None:
        if credit := self._place.credit(GRAPH):
            link.send(messages.encode(credit))

    def batch_failed(self, link: Link) -> None:
        if link is self._asked:
            self._place = Place()  # the copy may lack a change: it begins with a snapshot again
