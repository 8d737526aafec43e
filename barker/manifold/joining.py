"""Joining: an outbox accepts a join when followers has given the name to it, and not before.

The outbox puts a join to ``followers`` without keeping it: nothing is promised yet. Until the
answer it refuses the join as ``undecided``, which holds up no other entry, and the client sends it
again. Then it is refused, or accepted like any other event. The event's id is the claim: under the
same id there is the same answer, whichever process has died meanwhile. If its client stops sending
a join before followers was asked, it is dropped: else the name would go to a client that has gone.
"""

from collections.abc import Sequence

from barker.delivery.batches import Batch
from barker.delivery.sender import Sender
from barker.graph.feed import FOLLOWERS
from barker.process.node import Node
from barker.wire.ops import Item, Refuse
from barker.wire.protocol import UNDECIDED, BadMessage

# Joins that wait for an answer, and answers that wait for their clients: an entry is some 500
# bytes. Beyond it, further joins are not put yet, and the oldest answers are forgotten: if its
# client is still there, a join is put again.
MAX_ASKED = 10_000
# A client that waits sends its join again sooner than this.
GIVEN_UP_S = 5.0

Key = tuple[str, str]


class Joining:
    """The joins that wait for followers."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._sender: Sender[Key] = Sender(
            node, FOLLOWERS, self._given, self._refused, is_void=self._is_given_up
        )
        self._asked: dict[Key, float] = {}  # when its client sent it last; the oldest first
        self._answers: dict[Key, BadMessage | None] = {}  # None: the name is theirs

    def __len__(self) -> int:
        """How many have no answer yet."""
        while self._asked and self._is_given_up(oldest := next(iter(self._asked))):
            del self._asked[oldest]
        return len(self._asked)

    def _is_given_up(self, key: Key) -> bool:
        return self._node.now() - self._asked.get(key, -GIVEN_UP_S) > GIVEN_UP_S

    def check(self, key: Key, body: bytes) -> None:
        """Returns if followers has given the name to this join; else the join is put, once.

        Raises BadMessage as long as there is no answer, and if the name is refused.
        """
        if key in self._answers:
            if answer := self._answers[key]:
                raise answer
            return
        has_room, is_new = len(self) < MAX_ASKED, key not in self._asked
        if has_room or not is_new:
            self._asked.pop(key, None)
            self._asked[key] = self._node.now()
            if is_new:
                self._sender.put(FOLLOWERS, Item(body), key)
                self._sender.pump()
        raise BadMessage(UNDECIDED, self.why)

    @property
    def why(self) -> str:
        """The reason why joins wait."""
        why = self._sender.why_deferred if self._sender.peers else ""
        return f"waiting for followers{why and ': '}{why}"

    def _given(self, batches: Sequence[Batch[Key]]) -> None:
        for batch in batches:
            for key in batch.all_jobs:
                self._answer(key, None)

    def _refused(self, one: Batch[Key], refusal: Refuse) -> None:
        self._answer(one.job(0), BadMessage(refusal.code, refusal.reason))

    def _answer(self, key: Key, answer: BadMessage | None) -> None:
        self._asked.pop(key, None)
        self._answers[key] = answer
        if len(self._answers) > MAX_ASKED:
            del self._answers[next(iter(self._answers))]
