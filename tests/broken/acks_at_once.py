"""A bizlogic that acks what no inbox has acked."""

from barker.bizlogic import BizLogic
from barker.links.link import Link

ROLE = "bizlogic"
FAILS = {
    *("ack for all", "acks in order", "window of outboxes", "cut", "a link that has gone"),
    *("refused for good", "full", "moved", "no inbox yet", "long batch"),
}


def break_it() -> None:
    handed_on = BizLogic.batch_end

    def batch_end(self: BizLogic, link: Link) -> None:
        handed_on(self, link)
        if link.received > link.acked:
            link.ack(link.received)

    BizLogic.batch_end = batch_end  # type: ignore[method-assign]
