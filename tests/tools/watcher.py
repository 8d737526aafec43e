"""A watcher: a node inside a test that is told the samples of every agent."""

import time
from typing import Any

from barker.links.link import Link
from barker.process.peers import Peers
from barker.wire import messages, strictjson
from barker.wire.ops import Sample, Subscribe, Unreadable
from tests.tools.fleet import DEADLINE_S, Guest, until


class Agents(Peers):
    """A link to every agent, and its samples by its name."""

    def __init__(self, node: Guest) -> None:
        super().__init__(node, "agent")
        self.samples: dict[str, list[dict[str, Any]]] = {}
        self.refused: list[Unreadable] = []

    def link_up(self, link: Link) -> None:
        super().link_up(link)
        link.send(messages.encode(Subscribe(f"agent/{link.name}")))

    def on_sample(self, link: Link, sample: Sample) -> None:
        self.samples.setdefault(link.name, []).append(strictjson.loads(sample.body))

    def on_unreadable(self, link: Link, answer: Unreadable) -> None:
        self.refused.append(answer)


class Watcher(Guest):
    kind = "watcher"

    async def started(self) -> None:
        self.agents = Agents(self)

    def latest(self, role: str) -> dict[str, Any]:
        """The last sample of an agent of that role; empty if there is none yet."""
        latest = [samples[-1] for samples in self.agents.samples.values()]
        some = [sample for sample in latest if sample["role"] == role]
        return max(some, key=lambda sample: int(sample["at"]), default={})

    async def figure(self, role: str, name: str, deadline_s: float = 30 * DEADLINE_S) -> Any:
        """Of a sample that is taken from now on."""
        asked = time.time_ns() // 1_000_000
        await until(lambda: self.latest(role).get("at", 0) > asked, "a sample", deadline_s)
        return self.latest(role)[name]
