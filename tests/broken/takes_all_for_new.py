"""An outbox that knows no bark again."""

from barker.delivery.duplicates import Keys

ROLE = "outbox"
FAILS = {"duplicates", "known after kill"}


def break_it() -> None:
    def is_new(self: Keys, key: tuple[str, str]) -> bool:
        return True

    Keys.is_new = is_new  # type: ignore[method-assign]
