"""Replicas: the other instances of the followers service, and how far we have come in theirs.

Each instance replicates each other one: it reads the stream of its changes, from where it was or
from a snapshot on, takes over what is news to it, and acks what is in its own journal. Since it
makes no difference to a graph in which order it hears of things, no instance has to lead. Which one
the outboxes put to is for the route to say, and two at the same time do no harm.

Two registrations, because being there is one thing and serving another. An instance registers as
`REPLICA` at once, and serves when it has had all that the others have. Were there one, then after a
restart of the directory all would wait to be told of the others, be told of none, and take
themselves for the only one; also one that has just been started, and knows nothing.
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

# What every instance registers as, from its start on.
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
        """`keep` is called with what another has sent, bodies and what they mean; it says why not
        all of it holds here, or "". `changed` is called when `in_sync` may have changed. `durable`
        calls what it is given when the disk has what was kept."""
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
        """Have we had all that every other instance had when we asked it?"""
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
            link.abort(why)  # without an ack; it is asked again later, from a snapshot on
            place.forget()

    def batch_end(self, link: Link) -> None:
        if not link.closed:
            credit = self._places[link.name].credit(FOLLOWERS)
            if credit:
                self._durable(functools.partial(link.send, messages.encode(credit)))
            self._changed()

    def batch_failed(self, link: Link) -> None:
        self._places[link.name].forget()  # its place is behind what we have kept

    def on_unreadable(self, link: Link, answer: Unreadable) -> None:
        raise protocol.ProtocolError(protocol.PROTOCOL, answer.reason)
