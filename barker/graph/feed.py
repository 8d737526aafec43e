"""A feed: a copy of the graph, kept up to date by the followers service that works.

The service ``graph`` is a stream like an inbox: ``subscribe`` with a place, get ``subscribed``,
then a `message` for every change. Old changes are not kept. So a subscriber without a place in the
stream (or with one of another epoch, or too far back) gets a *snapshot* first: the graph in pieces,
with a mark in the last. While it arrives the old copy stays in use, and the complete snapshot
replaces it. While no followers service works at all, the copy stays as it is.

When another instance comes first, the old stream is read until the new one has taken its place. For
an instance that does not serve yet answers later. Without a stream, all instances are requested,
and the first to answer is read: follows come into force meanwhile.
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

    def copy(self) -> "Place":
        place = Place()
        place.epoch, place.serial, place.in_snapshot = self.epoch, self.serial, self.in_snapshot
        return place

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


class Coming(Generic[Held]):
    """A stream that was requested; `copy` is its snapshot, as far as it has arrived."""

    __slots__ = ("copy", "link", "place")

    def __init__(self, link: Link, place: Place) -> None:
        self.link = link
        self.place = place
        self.copy: Held | None = None


class Feed(Peers, Generic[Held]):
    """Feeds one copy, `held`; `make` makes an empty one for the next snapshot."""

    def __init__(self, node: Node, make: Callable[[], Held], held: Held | None = None) -> None:
        super().__init__(node, GRAPH)
        self.add_handler(Subscribed, self.on_subscribed)
        self.add_handler(Message, self.on_message)
        self._make = make
        self.held: Held = make() if held is None else held
        self.complete = False  # `held` is the service's, not our first one
        self._link: Link | None = None  # `held` follows the stream that comes over it
        self._place = Place()
        self._coming: dict[Link, Coming[Held]] = {}

    # --- for subclasses ---

    def changed(self, changes: Sequence[Change]) -> None:
        """Called after changes of `held`."""

    def replaced(self) -> None:
        """Called when `held` is another one, complete."""

    @property
    def is_current(self) -> bool:
        """Does it have all that its stream had when we subscribed, and does that stream go on?"""
        return self._link is not None and self._place.caught_up

    @property
    def may_lack(self) -> bool:
        """Is there perhaps a change in force that `held` lacks?"""
        return not self.complete or bool(self.route.targets and not self.is_current)

    def renew(self) -> None:
        """Subscribe again, over another link."""
        for link in {*self._coming, *filter(None, [self._link])}:
            link.abort()

    # --- the conversation ---

    def peers_changed(self) -> None:
        links = self.peers.values()
        if self._link not in links:
            self._link = None
        self._coming = {link: coming for link, coming in self._coming.items() if link in links}
        needed = self._needed()
        for link in [link for link in self._coming if link not in needed]:
            del self._coming[link]
            link.abort()  # where we do not read, no acks of ours must be waited for
        for link in needed:
            if link not in self._coming:
                place = Place() if self._link else self._place.copy()
                self._coming[link] = Coming(link, place)
                place.ask(link, GRAPH)

    def _needed(self) -> list[Link]:
        """The links over which a stream is to come."""
        arriving = [link for link, coming in self._coming.items() if coming.copy is not None]
        if arriving:
            return arriving[:1]
        first = self.route.first(lambda t: t.name in self.peers)
        if not self._link:
            return [*self.peers.values()]
        link = self.peers[first.name] if first else self._link
        return [] if link is self._link else [link]

    def on_subscribed(self, link: Link, answer: Subscribed) -> None:
        coming = self._coming.get(link)
        if coming is None and link is self._link:  # we were too slow for it
            coming = self._coming[link] = Coming(link, self._place)
        if coming and coming.place.begin(answer):
            coming.copy = self._make()
            self.peers_changed()
        elif coming:
            self._follow(coming)

    def _follow(self, coming: Coming[Held]) -> None:
        """Its stream takes the place of the old one."""
        old, self._link, self._place = self._link, coming.link, coming.place
        del self._coming[coming.link]
        if old and old is not coming.link:
            old.abort()
        self.peers_changed()

    def on_message(self, link: Link, message: Message) -> None:
        for body in message.bodies:
            if coming := self._coming.get(link):
                self._take_piece(coming, body)
            elif link is self._link and (changes := self.held.apply(self._place.take(body))):
                self.changed(changes)

    def _take_piece(self, coming: Coming[Held], body: bytes) -> None:
        fields = coming.place.take(body)
        if coming.copy is not None:
            coming.copy.apply(fields)
            if not coming.place.in_snapshot:
                self.held, self.complete = coming.copy, True
                self._follow(coming)
                self.replaced()

    def batch_end(self, link: Link) -> None:
        place = self._place_of(link)
        if place and (credit := place.credit(GRAPH)):
            link.send(messages.encode(credit))

    def _place_of(self, link: Link) -> Place | None:
        if coming := self._coming.get(link):
            return coming.place
        return self._place if link is self._link else None

    def batch_failed(self, link: Link) -> None:
        if self._place_of(link) is self._place:
            self._place = Place()  # the copy may lack a change: it begins with a snapshot again
