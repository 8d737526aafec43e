"""Agents: the last sample of every service that runs."""

from typing import Any

from barker.links.link import Link
from barker.process.node import Node
from barker.process.peers import Peers
from barker.wire import messages, strictjson
from barker.wire.ops import Moved, Sample, Subscribe


class Agents(Peers):
    """A link to every agent, which sends a sample each second; `samples` has the last, by name."""

    def __init__(self, node: Node) -> None:
        super().__init__(node, "agent")
        self.add_handler(Sample, self.on_sample)
        self.add_handler(Moved, self.on_moved)
        self.samples: dict[str, dict[str, Any]] = {}

    def ask(self, name: str) -> None:
        """Forget the last sample of that service, and request one: an agent answers at once."""
        self.samples.pop(name, None)
        self._subscribe(self.peers[name])

    def link_up(self, link: Link) -> None:
        super().link_up(link)
        self._subscribe(link)

    def _subscribe(self, link: Link) -> None:
        link.send(messages.encode(Subscribe(f"agent/{link.name}")))

    def on_sample(self, link: Link, sample: Sample) -> None:
        self.samples[link.name] = strictjson.loads(sample.body)

    def on_moved(self, link: Link, moved: Moved) -> None:
        link.close()  # it has another name by now; the next link will show it
