"""An outbox that gives names away itself, and does not ask followers."""

from barker.manifold.joining import Joining

ROLE = "outbox"
FAILS = {"joins"}


def break_it() -> None:
    Joining.check = lambda *_: None  # type: ignore[method-assign]
