"""An outbox that knows no bark again."""

from barker.delivery.duplicates import Keys

ROLE = "outbox"
FAILS = {"duplicates", "known after kill"}


def break_it() -> None:
    Keys.are_new = lambda self, keys: True  # type: ignore[method-assign]
    Keys.said = lambda self, key: None  # type: ignore[method-assign]
