"""Friends of friends: suggestions of users to follow.

If many of the users that you follow follow a user, too, that user may be worth following. The
number of those (*common*) is the only measure. A user is never suggested to themself, nor to their
own followers.

There are two ways to keep this up to date while the graph changes. One is a counter for each pair
of people that are two steps apart: exact at once, and large (a million edges at ten a user make
ten million counters). This is the other: a change *affects* only the users whose suggestions it can
change, and the suggestions to one user are counted anew from the graph when the turn comes. Both
the number of the affected and the steps of a count have a limit.
"""

from collections import Counter
from heapq import nsmallest
from itertools import islice
from typing import NamedTuple

from barker.graph.graph import Change, Graph

# Suggestions that one user has at a time.
FEW = 3
# Of a user's followers, those that a new follow of this user affects at once. The others see it
# when another change affects them.
MAX_AFFECTED = 50
# Of a user's follows, and of the follows of each of these, the latest so many are looked at: 10,000
# steps at most, some milliseconds.
MAX_FRIENDS = 100


class Suggestion(NamedTuple):
    """`whom` is followed by `common` of those that `user` follows, `some` of them by name."""

    user: str
    whom: str
    common: int
    some: tuple[str, ...]


class Suggester:
    """The suggestions to each user, by one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        # By user, the suggestions that are not followed yet: by name, how many in common then.
        self._open: dict[str, dict[str, int]] = {}
        self.open = 0  # how many of them there are

    def use(self, graph: Graph) -> None:
        """Suggest by this graph from now on."""
        self._graph = graph

    def affected(self, change: Change) -> list[str]:
        """The users whose suggestions this change may alter."""
        return [change.user, *islice(self._graph.followers(change.user), MAX_AFFECTED)]

    def suggest(self, user: str) -> list[Suggestion]:
        """New suggestions. Each stands until it is followed, or replaced by a far better one.

        Far better means twice as much in common. So the number of suggestions that a user gets over
        the years is bounded by the user's own follows, not by those of others.
        """
        graph = self._graph
        stand = {
            whom: common
            for whom, common in self._open.get(user, {}).items()
            if not graph.has(user, whom)
        }
        new = []
        for whom, common in self._best(user):
            if whom in stand:
                continue
            if len(stand) == FEW:
                weakest = min(stand, key=lambda name: stand[name])
                if common < 2 * stand[weakest]:
                    break
                del stand[weakest]
            stand[whom] = common
            new.append(Suggestion(user, whom, common, self._some(user, whom)))
        self.open += len(stand) - len(self._open.pop(user, ()))
        if stand:
            self._open[user] = stand
        return new

    def _best(self, user: str) -> list[tuple[str, int]]:
        """Candidates with their counts in common, the best first; of equals, by name."""
        graph = self._graph
        common: Counter[str] = Counter()
        for friend in graph.latest(user, MAX_FRIENDS):
            common.update(graph.latest(friend, MAX_FRIENDS))
        candidates = (
            (-count, whom)
            for whom, count in common.items()
            if whom != user and not graph.has(user, whom)
        )
        return [(whom, -count) for count, whom in nsmallest(2 * FEW, candidates)]

    def _some(self, user: str, whom: str) -> tuple[str, ...]:
        """The first two of those in common."""
        graph = self._graph
        friends = graph.latest(user, MAX_FRIENDS)
        return tuple(islice((f for f in friends if graph.has(f, whom)), 2))


def text_of(suggestion: Suggestion) -> str:
    """The suggestion as a sentence, for readers that do not know its kind."""
    _, whom, common, some = suggestion
    others = common - len(some)
    names = ", ".join(some) if others else " and ".join(some)
    more = f" and {others} more" if others else ""
    verb = "does" if common == 1 else "do"
    return f"Follow @{whom}? {names}{more}, whom you follow, {verb}."
