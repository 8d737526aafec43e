"""An inbox that sends whatever it has, whether its reader gives credit or not."""

from barker.inbox import Inbox
from barker.links.link import Link
from barker.wire.ops import Subscribe

ROLE = "inbox"
FAILS = {"credit"}


def break_it() -> None:
    subscribe = Inbox.subscribe

    def without_a_window(self: Inbox, link: Link, wish: Subscribe) -> None:
        subscribe(self, link, wish._replace(window=4096))

    Inbox.subscribe = without_a_window  # type: ignore[method-assign]
