"""A witness: puts barks, reads every inbox, and knows the fate of each bark.

It is a producer, an audience and a watcher of agents on one node, over the same links as any client
and service. `verdict` compares the acknowledged barks with the shown ones: lost, twice, out of
order. With it, a promise can be checked while the system is being hurt.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from barker.disk.users import PEOPLE, World
from barker.laboratory.agents import Agents
from barker.laboratory.audience import Audience
from barker.laboratory.lab import until
from barker.laboratory.producer import Producer, SaidBark
from barker.laboratory.verdict import Key, Verdict, judge
from barker.process.node import Node
from barker.wire import protocol
from barker.wire.bodies import mentions

# Barks a second while it talks: enough to be interrupted in the middle, few enough to be watched.
RATE = 40


class Witness:
    """A part of a node. It reads every inbox from its first moment on; puts barks on demand.

    With `others`, it reads none: another program has the readers, and reports to the audience.
    """

    def __init__(self, node: Node, world: World, others: Sequence[str] = ()) -> None:
        self.world = world
        self.producer = Producer(node)
        self.audience = Audience(node)
        self._agents = Agents(node)
        self._node = node
        # All of the past, too: a bark may be there before an inbox has our subscription.
        if others:
            self.audience.shown.update((reader, []) for reader in others)
        else:
            self.audience.read(world.names, history=protocol.MAX_COUNT)

    @contextlib.asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        """Dogs bark, `RATE` times a second, for as long as the block lasts."""
        dogs = [user for user in self.world.names if user not in PEOPLE]
        work = self.producer.say_at(RATE, None, dogs, "woof")
        task = self._node.start(work, name="talk")
        try:
            yield
        finally:
            task.cancel()

    @property
    def now(self) -> float:
        """By the node's clock, as all times here."""
        return self._node.now()

    # --- the fate of barks ---

    def said_since(self, begun: float) -> list[SaidBark]:
        """Barks that were put after that moment, by the node's clock."""
        return [said for said in self.producer.said if said.said_at > begun]

    def shown_at(self, said: SaidBark) -> float | None:
        """When the first reader was shown it; None if it was not shown yet."""
        return self.audience.first_shown.get(said.bark.id)

    def all_shown(self, barks: list[SaidBark]) -> bool:
        """Was each of these shown to a reader?"""
        return all(said.bark.id in self.audience.first_shown for said in barks)

    def due(self, author: str, text: str = "") -> set[str]:
        """The readers to whom a bark of `author` with this text is to be shown."""
        named = {name for name in mentions(text) if name in self.world}
        return {author, *self.world.followers(author), *named}

    def expected(self) -> set[Key]:
        """All keys to be shown: each acknowledged bark, to each of its readers."""
        return {
            (reader, said.bark.id)
            for said in self.producer.said
            if said.acked
            for reader in self.due(said.bark.user, said.bark.content)
            if reader in self.audience.shown
        }

    async def settled(self) -> None:
        """Wait for the last of the barks. Raises Broken."""
        await until(lambda: not self.producer.unanswered, "all that was said is acknowledged")
        due = self.expected()
        await until(lambda: due <= self.audience.got, "all that was acknowledged is shown")

    def found(self) -> Verdict:
        """The comparison of acknowledged and shown barks."""
        return judge(self.producer.numbers, self.audience.shown, self.expected())

    def astray(self) -> list[Key]:
        """Barks that were shown to readers for whom they were not."""
        numbers = self.producer.numbers
        return [
            (reader, bark.id)
            for reader, barks in self.audience.shown.items()
            for bark in barks
            if bark.id in numbers and reader not in self.due(bark.author, bark.content)
        ]

    def verdict(self) -> dict[str, int]:
        """How many barks are lost, were shown twice, out of order, or to a reader of others.

        Barks of other producers do not count, except that they must be shown once.
        """
        found = self.found()
        return {
            "lost": len({id_ for _, id_ in found.lost}),
            "twice": len({id_ for _, id_ in found.twice}),
            "out of order": len({disorder.id for disorder in found.out_of_order}),
            "astray": len({id_ for _, id_ in self.astray()}),
        }

    # --- watching ---

    async def ask(self, role: str) -> dict[str, dict[str, Any]]:
        """A sample, taken now, of every service in that role: name -> sample. Raises Broken."""
        agents = self._agents
        asked = [name for name in agents.peers if name.startswith(f"{role}-")]
        for name in asked:
            agents.ask(name)
        await until(
            lambda: all(name in agents.samples for name in asked if name in agents.peers),
            f"the agents of {', '.join(asked)} answer",
        )
        return {name: agents.samples[name] for name in asked if name in agents.samples}

    async def backlog(self) -> int:
        """Barks that wait in all outboxes together."""
        samples = await self.ask("outbox")
        return sum(sample["backlog"] for sample in samples.values())
