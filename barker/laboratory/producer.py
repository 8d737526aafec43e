"""Producer: puts numbered barks, and knows which of them were acked or refused.

Numbers count the barks of one author, so their order can be checked where they are read.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from barker.client.speaker import new_id, now_ms
from barker.client.tracked import Outcome, TrackedSender
from barker.process.node import Node
from barker.wire import bodies
from barker.wire.bodies import Bark
from barker.wire.ops import Item

# A load is put at most so often: a higher rate puts several barks at once.
BEAT_S = 0.002


class SaidBark(Outcome):
    """One bark of a producer, and its outcome."""

    def __init__(self, bark: Bark, number: int, said_at: float) -> None:
        super().__init__()
        self.bark = bark
        self.number = number  # of its author's barks
        self.said_at = said_at  # by the node's clock


class Producer:
    """A part of a node. Its barks begin with their number, and have a text if one is given.

    `on_said` is called with each bark before it is put.
    """

    def __init__(self, node: Node, on_said: Callable[[SaidBark], None] = lambda said: None) -> None:
        self.said: list[SaidBark] = []
        self._node = node
        self._on_said = on_said
        self._sender = TrackedSender(node)
        self._numbers: Counter[str] = Counter()  # by author, of the last bark

    def say(self, users: Sequence[str], text: str = "") -> list[SaidBark]:
        """One bark of each of `users`, sent at once."""
        for user in users:
            self._numbers[user] += 1
            number = self._numbers[user]
            bark = Bark(new_id(), user, f"{number} {text}".rstrip(), now_ms())
            said = SaidBark(bark, number, self._node.now())
            self.said.append(said)
            self._on_said(said)
            self._sender.track(f"outbox/{user}", Item(bodies.encode_bark(bark)), said)
        self._sender.pump()
        return self.said[len(self.said) - len(users) :]

    async def say_at(
        self, rate: float, count: int | None, users: Sequence[str], text: str = ""
    ) -> None:
        """`count` barks in all at `rate` a second, by `users` in turn; None: until cancelled."""
        begun, done = self._node.now(), 0
        while count is None or done < count:
            due = int((self._node.now() - begun) * rate) + 1
            if count is not None:
                due = min(due, count)
            self.say([users[i % len(users)] for i in range(done, due)], text)
            done = due
            await asyncio.sleep(max(BEAT_S, begun + done / rate - self._node.now()))

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each bark, by its id."""
        return {said.bark.id: said.number for said in self.said}

    @property
    def acked(self) -> int:
        return sum(said.acked for said in self.said)

    @property
    def unanswered(self) -> int:
        """Barks that are neither acked nor refused yet."""
        return self._sender.unanswered
