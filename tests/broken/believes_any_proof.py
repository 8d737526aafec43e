"""A bizlogic that takes any mac for a proof."""

from barker.links import greeting

ROLE = "bizlogic"
FAILS = {"wrong proof"}


def break_it() -> None:
    def holds(claim: str, *proved: object) -> bool:
        return True

    greeting.holds = holds  # type: ignore[assignment]
