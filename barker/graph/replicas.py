"""Replicas: the other instances of the followers service, and how far we have come in theirs.

Each instance replicates each other one: it reads the stream of its changes, from the last place or
from a snapshot on, applies those that are news to it, and acks those in its own journal. The
order of events makes no difference to a graph, so no instance has to lead. The route decides which
one the outboxes put to, and two at the same time do no harm.

There are two registrations, because being there and serving differ. An instance registers as
`REPLICA` at once, and serves when it has all changes of the others. With a single one, after a
restart of the directory all would wait for routes to the others, find none, and each would take
itself for the only instance: also one that has just been started, and knows nothing.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from barker.graph.feed import FOLLOWERS, Place
from barker.links.link import Link
from barker.process.node import Node
from barker.process.peers import Peers
from barker.routing.routes import Target
from barker.wire import messages, protocol
from barker.wire.ops import Message, Subscribed, Unreadable

# Every instance registers as this, from its start on.
REPLICA = "replica"


class Replicas(Peers):
    """Reads all others."""

    def __init__(
        self,
        node: Node,
        keep: Callable[[Sequence[tuple[bytes, dict[str, Any]]]], str],
        changed: Callable[[], None],
        durable: Callable[[Callable[[], None]], None],
    ) -> None:
        """`keep` is called with another's bodies and their fields; it returns why not all of them
        hold here, or "". `changed` is called when `in_sync` may have changed. `durable` gets a
        callback, and calls it when the disk has the kept records."""
        super().__init__(node, REPLICA)
        self.add_handler(Subscribed, self.on_subscribed)
        self.add_handler(Message, self.on_message)
        self.add_handler(Unreadable, self.on_unreadable)
        self._keep = keep
        self._changed = changed
        self._durable = durable
        self._places: dict[str, Place] = {}

    @property
    def others(self) -> list[str]:
        """The other instances that the directory knows."""
        return [t.name for t in self.route.targets if t.name != self.node.name]

    @property
    def in_sync(self) -> bool:
        """Do we have all that every other instance had when we subscribed?"""
        return REPLICA in self.node.told and all(
            name in self.peers and self._places[name].caught_up for name in self.others
        )

    def wanted(self, target: Target) -> bool:
        return target.name != self.node.name

    def peers_changed(self) -> None:
        self._changed()

    def link_up(self, link: Link) -> None:
        if link.name not in self._places:
            # Names that have gone for good are not remembered beside this one.
            known = {*self.peers, *self.route.by_name}
            self._places = {name: place for name, place in self._places.items() if name in known}
        self._places.setdefault(link.name, Place()).ask(link, FOLLOWERS)
        super().link_up(link)

    def on_subscribed(self, link: Link, answer: Subscribed) -> None:
        self._places[link.name].begin(answer)

    def on_message(self, link: Link, message: Message) -> None:
        place = self._places[link.name]
        if why := self._keep([(body, place.take(body)) for body in message.bodies]):
            link.abort(why)  # without an ack; we subscribe again later, from a snapshot on
            place.forget()

    def batch_end(self, link: Link) -> None:
        if not link.closed:
            credit = self._places[link.name].credit(FOLLOWERS)
            if credit:
                self._durable(functools.partial(link.send, messages.encode(credit)))
            self._changed()

    def batch_failed(self, link: Link) -> None:
        self._places[link.name].forget()  # its place is behind the records that we kept

    def on_unreadable(self, link: Link, answer: Unreadable) -> None:
        raise protocol.ProtocolError(protocol.PROTOCOL, answer.reason)
