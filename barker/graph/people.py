"""People: who exists, for services that ask nothing else of the graph."""

from collections.abc import Callable, Collection, Iterable, Sequence

from barker.graph.feed import Feed
from barker.graph.graph import Change, Names
from barker.process.node import Node


def _nothing(*_: object) -> None:
    pass


class People(Feed[Names]):
    """Who exists, for those who ask nothing else of the graph."""

    def __init__(
        self,
        node: Node,
        seed: Iterable[str],
        known: Callable[[Collection[str]], None] = _nothing,
        all_known: Callable[[], None] = _nothing,
    ) -> None:
        """`seed` are users whom we know without being told.

        `known` is called with users who have joined, `all_known` when `held` is another copy.
        """
        super().__init__(node, Names)
        self._known = set(seed)
        self._tell_known = known
        self._tell_all_known = all_known

    def __contains__(self, user: object) -> bool:
        return user in self.held or user in self._known

    def add(self, user: str) -> None:
        """This one has just joined with us; `held` will have the name when it has gone round."""
        self._known.add(user)

    def changed(self, changes: Sequence[Change]) -> None:
        self._tell_known([change.user for change in changes])

    def replaced(self) -> None:
        self._tell_all_known()
