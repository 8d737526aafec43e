"""Following: a client's event about the graph, and the list of one user, which shows it."""

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

from barker.client.speaker import Speaker
from barker.graph.feed import GRAPH
from barker.links.link import Link
from barker.process import terminal
from barker.process.node import Node
from barker.process.peers import READ_AGAIN_S, Peers
from barker.process.running import run_node
from barker.wire import bodies, messages, protocol, strictjson
from barker.wire.bodies import FOLLOW, Event
from barker.wire.ops import Message, Subscribe, Unreadable
from barker.wire.protocol import BarkerError, ProtocolError


class List(Peers):
    """The list of one user, and again whenever it changes; `show` is called with its fields.

    The list holds: every service that decides by the graph knows it.
    """

    def __init__(self, node: Node, user: str, show: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(node, GRAPH)
        self.add_handler(Message, self.on_message)
        self.add_handler(Unreadable, self.on_unreadable)
        self._user = user
        self._show = show
        self._asked: Link | None = None
        self.why_waiting = ""  # the service's reason, if it has no room for us

    def peers_changed(self) -> None:
        first = self.route.first(lambda t: t.name in self.peers)
        link = self.peers[first.name] if first else None
        if link is not self._asked:
            self._asked = link
            if link:
                link.send(messages.encode(Subscribe(f"{GRAPH}/{self._user}")))

    def on_message(self, link: Link, message: Message) -> None:
        if link is self._asked:
            for body in message.bodies:
                self._show(strictjson.loads(body))

    def on_unreadable(self, link: Link, answer: Unreadable) -> None:
        if answer.code not in protocol.READABLE_LATER:
            raise ProtocolError(protocol.PROTOCOL, answer.reason)
        self.why_waiting = answer.reason
        self._asked = None
        self.node.later(READ_AGAIN_S, self.peers_changed)


class Follower(Speaker):
    """Puts one event; with ``--wait``, runs until it holds."""

    kind = "follow"

    def __init__(self, args: argparse.Namespace, event: Event) -> None:
        super().__init__(args, event.user, event.id, bodies.encode_event(event))
        self._event = event
        self._holds = asyncio.Event()

    async def started(self) -> None:
        if self.args.wait:
            self._list = List(self, self.user, self._look)
        await super().started()

    def _look(self, fields: dict[str, Any]) -> None:
        self._holds.set() if self.in_force(fields) else self._holds.clear()

    def in_force(self, fields: dict[str, Any]) -> bool:
        """Does this list of our user show our event?"""
        return (self._event.whom in fields["follows"]) == (self._event.kind == FOLLOW)

    async def taken(self) -> None:
        if self.args.wait:
            await self._holds.wait()

    def too_late(self, acked: bool) -> str:
        if acked:
            return f"the outbox has taken it; it is not in force within {self.args.timeout:g} s"
        return super().too_late(acked)


def say(
    args: argparse.Namespace,
    event: Event,
    speaker: Callable[[argparse.Namespace, Event], Node],
) -> int:
    """Put one event; the exit status. Refuses an event whose form an outbox would refuse."""
    try:
        body = bodies.encode_event(event)
        bodies.check_event(strictjson.loads(body))
    except BarkerError as fault:
        terminal.complain(event.kind, fault.reason)
        return 1
    return run_node(lambda args: speaker(args, event), args)
