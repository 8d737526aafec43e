"""People: which users exist, for services that need no more of the graph."""

from collections.abc import Callable, Collection, Iterable, Sequence

from barker.graph.feed import Feed
from barker.graph.graph import Change, Names
from barker.process.node import Node


def _nothing(*_: object) -> None:
    pass


class People(Feed[Names]):
    """The users of the graph, without its edges."""

    def __init__(
        self,
        node: Node,
        seed: Iterable[str],
        known: Callable[[Collection[str]], None] = _nothing,
        all_known: Callable[[], None] = _nothing,
    ) -> None:
        """`seed` are users that we know from the start.

        `known` is called with users who have joined, `all_known` when `held` is another copy.
        """
        super().__init__(node, Names)
        self._known = set(seed)
        self._tell_known = known
        self._tell_all_known = all_known

    def __contains__(self, user: object) -> bool:
        return user in self.held or user in self._known

    def add(self, user: str) -> None:
        """This user has just joined with us; the stream will bring the name to `held`, too."""
        self._known.add(user)

    def changed(self, changes: Sequence[Change]) -> None:
        self._tell_known([change.user for change in changes])

    def replaced(self) -> None:
        self._tell_all_known()
