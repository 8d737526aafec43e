"""A bizlogic that goes on with its first snapshot, though another one has come."""

from barker import bizlogic

ROLE = "bizlogic"
FAILS = {"epochs"}


def break_it() -> None:
    replaced = bizlogic.Copy.replaced

    def once(self: bizlogic.Copy) -> None:
        if not self.__dict__.setdefault("has_one", False):
            self.__dict__["has_one"] = True
            replaced(self)

    bizlogic.Copy.replaced = once  # type: ignore[method-assign]
