"""Lanes: batches on their way to one receiver, over one link after the other."""

from itertools import groupby
from typing import Generic, TypeVar

from barker.delivery.batches import Batch, fitting
from barker.delivery.window import Window
from barker.links.link import Link
from barker.process.faults import report
from barker.wire import protocol
from barker.wire.ops import Item, Put

J = TypeVar("J")

# Entries that are written before the next look at how busy the link is. Even with the largest
# bodies they are fewer bytes than a link holds for a peer that does not read.
SEND_CHUNK = 128


def _source(row: tuple[str, Item, object]) -> tuple[str | None, bool]:
    return row[1].origin, row[1].old


class Lane(Generic[J]):
    """The batches for one receiver: a window, and the link that it uses at the moment, if any."""

    def __init__(self) -> None:
        self.window: Window[J] = Window(protocol.UNACKED_WINDOW)
        self.link: Link | None = None
        self.rows: list[tuple[str, Item, J]] = []  # entries put one by one, in no batch yet

    def __len__(self) -> int:
        return len(self.window) + len(self.rows)

    def use(self, link: Link | None) -> None:
        """Go on over this link."""
        self.link = link

    def add(self, batch: Batch[J]) -> None:
        """Append a batch to those that wait."""
        if self.rows:
            self.seal()
        self.window.add(batch)

    def pump(self) -> None:
        """Send as many as may be sent now, in one piece."""
        if self.rows:
            self.seal()
        link, window = self.link, self.window
        if link is None or not window.waiting:
            return  # another link will come, or another batch
        # A fault may have kept batches here that the window counts as sent; the next link sends
        # them again.
        try:
            while window.waiting and not link.busy:
                batches = window.send(SEND_CHUNK)
                if not batches:
                    break
                link.write([batch.line(seq) for seq, batch in batches])
        except Exception as fault:
            report(fault, link, link.abort)

    def seal(self) -> None:
        """Make batches of the entries that were put one by one."""
        rows, self.rows = self.rows, []
        while rows:
            chunk, rows = rows[:SEND_CHUNK], rows[SEND_CHUNK:]
            for _, some in groupby(chunk, key=_source):
                to, items, jobs = zip(*some, strict=True)
                for batch in fitting(Put.of(0, to, items), jobs):
                    self.window.add(batch)
