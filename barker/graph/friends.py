"""Friends of friends: whom a user might want to follow.

Whoever is followed by many of those that you follow may be worth following, too; how many that are
(*common*) is the whole of the judgement. Never suggested is who is followed already, and nobody is
suggested to themself.

There are two ways to keep this up to date while the graph changes. One is a counter for each pair
of people that are two steps apart: exact at once, and large (a million edges at ten a user make
ten million counters). This is the other: a change makes only those users *affected* whose
suggestions it can change, and what is suggested to one user is counted anew from the graph when
the turn comes. Both the number of the affected and the steps of a count have a limit.
"""

from collections import Counter
from heapq import nsmallest
from itertools import islice
from typing import NamedTuple

from barker.graph.graph import Change, Graph

# Suggestions that one user has at a time.
FEW = 3
# Of a user's followers, those who hear at once that this one follows somebody new. The others see
# it when something else affects them.
MAX_AFFECTED = 50
# Of whom a user follows, and of whom each of these follows, the latest so many are looked at:
# 40,000 steps at most, some milliseconds.
MAX_FRIENDS = 200


class Suggestion(NamedTuple):
    """`whom` is followed by `common` of those that `user` follows, `some` of them by name."""

    user: str
    whom: str
    common: int
    some: tuple[str, ...]


class Suggester:
    """What is suggested to whom, by one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        # By user, what was suggested and is not followed yet: by name, how many in common then.
        self._open: dict[str, dict[str, int]] = {}
        self.open = 0  # how many of them there are

    def use(self, graph: Graph) -> None:
        """From now on, this graph is the one that counts."""
        self._graph = graph

    def affected(self, change: Change) -> list[str]:
        """Whose suggestions may be others after this change."""
        return [change.user, *islice(self._graph.followers(change.user), MAX_AFFECTED)]

    def suggest(self, user: str) -> list[Suggestion]:
        """What is new to suggest; it stands until it is followed, or until something is far better.

        Something is far better if it has twice as much in common as what it replaces. So what a
        user gets over the years is bounded by what this user follows, not by how much others do.
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
        """Candidates with what is common, the best first; of equals, by name."""
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
    """The suggestion as a sentence, for readers who know nothing of its kind."""
    _, whom, common, some = suggestion
    others = common - len(some)
    names = ", ".join(some) if others else " and ".join(some)
    more = f" and {others} more" if others else ""
    verb = "does" if common == 1 else "do"
    return f"Follow @{whom}? {names}{more}, whom you follow, {verb}."
