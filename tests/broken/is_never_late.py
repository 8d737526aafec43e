"""An inbox that marks nothing as late."""

from barker.manifold.store import TimelineStore

ROLE = "inbox"
FAILS = {"late"}


def break_it() -> None:
    TimelineStore._is_late = lambda self, user, at: False  # type: ignore[method-assign]
