"""A bizlogic that puts a bark to followers, and not to those whom it mentions."""

from barker import bizlogic

ROLE = "bizlogic"
FAILS = {"readers"}


def break_it() -> None:
    of = bizlogic.Recipients.of

    def no_mentions(self: bizlogic.Recipients, author: str, named: str = "") -> str:
        return of(self, author)

    bizlogic.Recipients.of = no_mentions  # type: ignore[method-assign]
