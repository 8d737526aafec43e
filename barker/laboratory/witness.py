"""A witness: says numbered barks, reads everybody's inbox, and knows what became of each bark.

It is an author, a reader and a watcher of agents in one process, over the same links as everybody
else. `verdict` holds what was acknowledged against what was shown: lost, twice, out of order. It is
what a promise can be checked with while the system is being hurt.
"""

import argparse
import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from barker.client.reader import Reader
from barker.client.speaker import new_id, now_ms
from barker.delivery.sender import Delivery, Job, Queued
from barker.disk import files
from barker.disk.users import PEOPLE
from barker.laboratory.lab import until
from barker.links.link import Link
from barker.process.node import Node
from barker.process.peers import Peers
from barker.wire import bodies, messages, protocol, strictjson
from barker.wire.bodies import Bark
from barker.wire.ops import Item, Moved, Refuse, Sample, Subscribe

# Barks a second while it talks: enough to be interrupted in the middle, few enough to be watched.
RATE = 40


class Said:
    """One bark; a `Job`. `shown_at` is when the first reader had it."""

    void = False

    def __init__(self, bark: Bark, at: float) -> None:
        self.bark = bark
        self.said_at = at
        self.pending = 0
        self.acked_at: float | None = None
        self.shown_at: float | None = None
        self.refused: str | None = None


class Witness(Node):
    """Reads every inbox from its first moment on; talks when it is told to."""

    kind = "witness"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.world = files.world(args.state)
        self.said: dict[str, Said] = {}  # by the bark's id
        self.shown: dict[str, Counter[str]] = {}  # id -> reader -> how often
        self.disorder: list[str] = []
        self._numbers: Counter[str] = Counter()  # author -> the last number said
        self._last: Counter[tuple[str, str]] = Counter()  # (reader, author) -> the last one shown

    async def started(self) -> None:
        self._mouth = Mouth(self)
        # All of the past, too: a bark may be there before an inbox has heard that we read it.
        readers = self.world.names
        self._reader = Reader(self, readers, self._show, self._refused, history=protocol.MAX_COUNT)
        self._agents = Agents(self)
        self.watch("bizlogic", lambda: None)  # only to know its routes

    # --- talking ---

    @contextlib.asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        """Dogs bark, `RATE` times a second, for as long as the block lasts."""
        task = self.start(self._keep_talking(), name="talk")
        try:
            yield
        finally:
            task.cancel()

    async def _keep_talking(self) -> None:
        dogs = itertools.cycle(u for u in self.world.names if u not in PEOPLE)
        begun, count = self.now(), 0
        while True:
            count += 1
            self.say(next(dogs))
            await asyncio.sleep(max(0.0, begun + count / RATE - self.now()))

    def say(self, user: str) -> Said:
        """One more bark of that user, on its way at once."""
        self._numbers[user] += 1
        bark = Bark(new_id(), user, f"Bark {self._numbers[user]}", now_ms())
        said = self.said[bark.id] = Said(bark, self.now())
        self._mouth.put((f"outbox/{user}",), Item(bodies.encode_bark(bark)), said)
        self._mouth.pump()
        return said

    @property
    def acked(self) -> int:
        return sum(said.acked_at is not None for said in self.said.values())

    @property
    def unanswered(self) -> int:
        return sum(said.acked_at is None and not said.refused for said in self.said.values())

    # --- reading ---

    def _show(self, reader: str, fields: dict[str, Any], late: bool) -> None:
        self.shown.setdefault(fields["id"], Counter())[reader] += 1
        said = self.said.get(fields["id"])
        if said is None:
            return  # somebody else's
        if said.shown_at is None:
            said.shown_at = self.now()
        author, number = said.bark.user, int(said.bark.content.split()[1])
        if number < self._last[reader, author] and not late:
            self.disorder.append(f"{author}'s number {number} to {reader}")
        self._last[reader, author] = max(number, self._last[reader, author])

    def _refused(self, user: str, reason: str) -> None:
        self.disorder.append(f"nothing to read for {user}: {reason}")

    def due(self, author: str) -> set[str]:
        """Who is to be shown what `author` says, if nobody is mentioned in it."""
        return {author, *self.world.followers(author)}

    def missing(self) -> int:
        """Acknowledged barks that somebody has not been shown yet."""
        return sum(
            said.acked_at is not None and self.due(said.bark.user) != set(self.shown.get(id_, ()))
            for id_, said in self.said.items()
        )

    async def all_shown(self) -> None:
        """Wait for the last of what was said. Raises Broken."""
        await until(lambda: not self.unanswered, "all that was said is acknowledged")
        await until(lambda: not self.missing(), "all that was acknowledged is shown")

    def verdict(self) -> dict[str, int]:
        """How many barks are lost, were shown twice, or out of order."""
        twice = sum(max(readers.values()) > 1 for readers in self.shown.values())
        return {"lost": self.missing(), "twice": twice, "out of order": len(self.disorder)}

    # --- watching ---

    async def ask(self, role: str) -> dict[str, dict[str, Any]]:
        """A sample, taken now, of every service in that role: name -> sample. Raises Broken."""
        agents = self._agents
        asked = {name: link for name, link in agents.peers.items() if name.startswith(f"{role}-")}
        for name, link in asked.items():
            agents.samples.pop(name, None)
            agents.ask(link)
        await until(
            lambda: all(name in agents.samples for name in asked if name in agents.peers),
            f"the agents of {', '.join(asked)} answer",
        )
        return {name: agents.samples[name] for name in asked if name in agents.samples}

    async def backlog(self) -> int:
        """Barks that wait in all outboxes together."""
        samples = await self.ask("outbox")
        return sum(sample["backlog"] for sample in samples.values())


class Mouth(Delivery):
    """All its barks on their way to outboxes."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness, "outbox")

    def settled(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            assert isinstance(job, Said)
            job.pending -= 1
            job.acked_at = self.node.now()

    def refused(self, queued: Queued, refusal: Refuse) -> None:
        assert isinstance(queued.job, Said)
        queued.job.refused = refusal.reason


class Agents(Peers):
    """A link to every agent; `samples` has the last one of each."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness, "agent")
        self.samples: dict[str, dict[str, Any]] = {}

    def ask(self, link: Link) -> None:
        """An agent answers each subscription with a sample at once."""
        link.send(messages.encode(Subscribe(f"agent/{link.name}")))

    def on_sample(self, link: Link, sample: Sample) -> None:
        self.samples[link.name] = strictjson.loads(sample.body)

    def on_moved(self, link: Link, moved: Moved) -> None:
        link.close()  # it has another name by now; the next link will tell
