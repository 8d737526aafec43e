"""A bizlogic that gives no credit for what a followers service sends it."""

from barker import bizlogic
from barker.links.link import Link

ROLE = "bizlogic"
FAILS = {"credit", "graph", "epochs"}


def break_it() -> None:
    def batch_end(self: bizlogic.Copy, link: Link) -> None:
        pass

    bizlogic.Copy.batch_end = batch_end  # type: ignore[method-assign]
