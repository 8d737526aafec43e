"""Newcomers: subscriptions to users that this inbox does not know yet.

A join reaches every copy of the graph within a moment. So an unknown name may be a user all the
same, and a subscription waits for that news. If it does not come, the subscription is refused.

The news itself ends the wait. One timer, for all of them, looks for subscriptions that have waited
too long.
"""

from collections.abc import Callable, Collection

from barker.graph.people import People
from barker.links.link import Link
from barker.process.faults import Ticker, contained
from barker.process.node import Node
from barker.wire import messages, protocol
from barker.wire.ops import Subscribe, Unreadable
from barker.wire.protocol import BadMessage, BarkerError

# A join is known everywhere within this after its ack. A name that is unknown for longer is no
# user's.
NEWS_WITHIN_S = 1.0
LOOK_EVERY_S = 0.1
# Waiting subscriptions of one link, and of all; each costs some 500 bytes. Beyond it, too-many.
MAX_WAITING = 1000
MAX_WAITING_IN_ALL = 20_000
# Subscriptions that are refused or begun in one look: some milliseconds.
AT_ONCE = 1000


class Newcomers:
    """The subscriptions that wait, by link and user, oldest first, and since when they do."""

    def __init__(
        self, node: Node, people: People, subscribe: Callable[[Link, Subscribe], None]
    ) -> None:
        """`subscribe` is called with a subscription whose user is known by then."""
        self._node = node
        self._people = people
        self._subscribe = subscribe
        self._waiting: dict[Link, dict[str, tuple[float, Subscribe]]] = {}
        self._count = 0
        self._complete_since: float | None = None  # until then any name may be a user's
        self._is_new = False  # the graph: the names may be in it
        self._ticker = Ticker(node.later, self._delay_s, self._look)

    def __len__(self) -> int:
        """Subscriptions that wait."""
        return self._count

    def wait(self, link: Link, user: str, wish: Subscribe) -> None:
        """Have this one wait until its user is known. Raises BadMessage if too many do."""
        mine = self._waiting.get(link, {})
        if user in mine:
            self._forget(link, user)  # it is repeated: the new request counts
        elif len(mine) >= MAX_WAITING or self._count >= MAX_WAITING_IN_ALL:
            raise BadMessage(
                protocol.TOO_MANY, f"{self._count} others wait for users that are unknown here"
            )
        self._waiting.setdefault(link, {})[user] = self._node.now(), wish
        self._count += 1
        self._ticker.start()

    def link_down(self, link: Link) -> None:
        """The link is closed, and nothing of it waits any longer."""
        self._count -= len(self._waiting.pop(link, ()))

    # --- the news ---

    def known(self, users: Collection[str]) -> None:
        """Called when these users have joined."""
        for user in users:
            for link in [link for link, mine in self._waiting.items() if user in mine]:
                self._begin(link, user)

    def all_known(self) -> None:
        """Called when the graph is another one, complete."""
        self._is_new = True

    # --- the clock ---

    def _delay_s(self) -> float | None:
        return LOOK_EVERY_S if self._count else None

    def _look(self) -> None:
        """Begin those with a known user, refuse those that waited too long; a few at once."""
        now, left = self._node.now(), AT_ONCE
        if self._people.may_lack:
            return
        if self._complete_since is None:
            self._complete_since = now
        if self._is_new:
            waiting = [(link, user) for link, mine in self._waiting.items() for user in mine]
            known = [(link, user) for link, user in waiting if user in self._people]
            for link, user in known[:left]:
                self._begin(link, user)
            self._is_new = len(known) > left
            left = max(0, left - len(known))
        oldest = now - NEWS_WITHIN_S
        if self._complete_since > oldest:
            return
        for link, mine in list(self._waiting.items()):
            for user in [user for user, (since, _) in mine.items() if since <= oldest][:left]:
                left -= 1
                self._refuse(link, user)

    def _begin(self, link: Link, user: str) -> None:
        wish = self._forget(link, user)
        # A fault ends the link, as if a message of that link had raised it.
        with contained(link, link.abort):
            try:
                self._subscribe(link, wish)
            except BarkerError as fault:
                link.close(fault)

    def _refuse(self, link: Link, user: str) -> None:
        wish = self._forget(link, user)
        reason = f"there is no user {user}"
        link.send(messages.encode(Unreadable(wish.address, protocol.UNKNOWN_USER, reason)))

    def _forget(self, link: Link, user: str) -> Subscribe:
        mine = self._waiting[link]
        _, wish = mine.pop(user)
        self._count -= 1
        if not mine:
            del self._waiting[link]
        return wish
