"""An inbox that marks nothing as late."""

from barker.inbox import Inbox

ROLE = "inbox"
FAILS = {"late"}


def break_it() -> None:
    Inbox._is_late = lambda self, user, at: False  # type: ignore[method-assign]
