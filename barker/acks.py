"""Acks: when a manifold says what it has taken over. Nobody waits for an ack as for a bark.

An ack passes all puts before it, so that one can stand for many. The first after a pause goes out
at once. The others of the same link keep a distance, and each is for all that has come meanwhile:

    puts    1 . . . . . . 2 3 . 4 5 . . 6 7 . 8 . . . . . . . 9
    acks    1 . . . . . . 2 . . . . . . 6 . . . . . . 8 . . . 9
                          |--- 4 ms ----|--- 4 ms ----|

What a bark alone costs at a hop is that a process is woken for it, twice if the ack comes alone as
well. At 2,000 barks a second this saves a tenth of the whole pipeline's work.
"""

from barker import wire
from barker.link import Link
from barker.node import Node

# The distance between two acks of one link.
APART_S = 0.004
# Unless so many puts wait for one: their sender must not come near the end of its window.
AT_ONCE = wire.UNACKED_WINDOW // 4


class Acks:
    """What one node owes on all its links."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._not_before: dict[Link, float] = {}
        self._owed: set[Link] = set()  # those who get theirs with the next round

    def owe(self, link: Link) -> None:
        """Everything that the link has received is taken over or refused; the ack is due."""
        unacked = link.received - link.acked
        if not unacked:
            return
        now = self._node.now()
        if unacked >= AT_ONCE or now >= self._not_before.get(link, now):
            self._say(link, now)
        elif link not in self._owed:
            if not self._owed:
                self._node.later(APART_S, self.say_all)
            self._owed.add(link)

    def say_all(self) -> None:
        """Ack whatever is owed."""
        owed, self._owed = self._owed, set()
        now = self._node.now()
        for link in owed:
            self._say(link, now)

    def _say(self, link: Link, now: float) -> None:
        if link.received != link.acked:
            link.acked = link.received
            self._not_before[link] = now + APART_S
            link.write((wire.ack_line(link.received),))

    def forget(self, link: Link) -> None:
        """It is closed."""
        self._not_before.pop(link, None)
        self._owed.discard(link)
