"""People: who exists, for services that ask nothing else of the graph.

A join is told to every copy of the graph within a moment. So a name that is unknown here may be a
user all the same, and a subscription waits that moment before it is refused.
"""

from collections.abc import Callable, Iterable

from barker.graph.feed import Feed
from barker.graph.graph import Names
from barker.links.link import Link
from barker.process.faults import contained
from barker.process.node import Node
from barker.wire import messages, protocol
from barker.wire.ops import Subscribe, Unreadable
from barker.wire.protocol import BarkerError

# A join is known everywhere within this after its ack; so who is unknown for longer does not exist.
NEWS_WITHIN_S = 1.0
LOOK_AGAIN_S = 0.1


class People(Feed[Names]):
    """Who exists, for those who ask nothing else of the graph."""

    def __init__(self, node: Node, seed: Iterable[str]) -> None:
        """`seed` are users whom we know without being told."""
        super().__init__(node, Names)
        self._known = set(seed)

    def __contains__(self, user: object) -> bool:
        return user in self.held or user in self._known

    def add(self, user: str) -> None:
        """This one has just joined with us; `held` will have the name when it has gone round."""
        self._known.add(user)

    def ask_later(
        self,
        user: str,
        link: Link,
        wish: Subscribe,
        subscribe: Callable[[Link, Subscribe], None],
        looks: int = 0,
    ) -> None:
        """A subscription to something of a user whom we don't know: of who has just joined we hear
        within a moment. Then it goes to `subscribe`; and if we hear nothing, it is refused."""
        if link.closed:
            return
        if user in self:
            subscribe(link, wish)
        elif self.complete and looks > NEWS_WITHIN_S / LOOK_AGAIN_S:
            reason = f"there is no user {user}"
            link.send(messages.encode(Unreadable(wish.address, protocol.UNKNOWN_USER, reason)))
        else:
            looks = looks + 1 if self.complete else 0

            def look_again() -> None:
                # A fault ends the link, as one that comes out of what the link itself has read.
                with contained(link, link.abort):
                    try:
                        self.ask_later(user, link, wish, subscribe, looks)
                    except BarkerError as fault:
                        link.close(fault)

            self.node.later(LOOK_AGAIN_S, look_again)
