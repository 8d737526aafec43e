"""An outbox that stamps with the same origin after each start."""

from barker.disk.journal import Journal

ROLE = "outbox"
FAILS = {"epochs"}


def break_it() -> None:
    Journal.epoch = property(  # type: ignore[assignment]
        lambda self: "d02a2615274dde4f", lambda self, epoch: None
    )
