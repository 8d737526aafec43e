"""A bizlogic that puts a bark to followers, and not to those whom it mentions."""

from barker import bizlogic
from barker.wire.ops import Item

ROLE = "bizlogic"
FAILS = {"readers"}


def break_it() -> None:
    of = bizlogic.Targets.of

    def no_mentions(self: bizlogic.Targets, item: Item) -> tuple[str, ...]:
        return of(self, item._replace(named=""))

    bizlogic.Targets.of = no_mentions  # type: ignore[method-assign]
