"""An outbox that takes a put with any number."""

from barker.links.link import Link

ROLE = "outbox"
FAILS = {"numbers"}


def break_it() -> None:
    def count_puts(self: Link, seq: int, count: int) -> None:
        self.received = seq - 1 + count

    Link.count_puts = count_puts  # type: ignore[method-assign]
