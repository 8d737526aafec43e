"""Agents: the last sample of every service that runs."""

from typing import Any

from barker.links.link import Link, Message
from barker.process.node import Node
from barker.process.peers import Peers
from barker.wire import messages


class Agents(Peers):
    """A link to every agent, which sends a sample each second; `samples` has the last, by name."""

    def __init__(self, node: Node) -> None:
        super().__init__(node, "agent")
        self.samples: dict[str, dict[str, Any]] = {}

    def ask(self, name: str) -> None:
        """Forget the last sample of that service, and request one: an agent answers at once."""
        self.samples.pop(name, None)
        self._subscribe(self.peers[name])

    def link_up(self, link: Link) -> None:
        super().link_up(link)
        self._subscribe(link)

    def _subscribe(self, link: Link) -> None:
        link.send(messages.encode("subscribe", address=f"agent/{link.peer['name']}"))

    def on_sample(self, link: Link, message: Message) -> None:
        self.samples[link.peer["name"]] = message["parsed"]

    def on_moved(self, link: Link, message: Message) -> None:
        link.close()  # it has another name by now; the next link will tell
