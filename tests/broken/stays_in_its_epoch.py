"""An outbox that stamps with the same origin after each start."""

from barker.outbox import Outbox

ROLE = "outbox"
FAILS = {"epochs"}


def break_it() -> None:
    Outbox.epoch = property(lambda self: "d02a2615274dde4f")  # type: ignore[method-assign,assignment]
