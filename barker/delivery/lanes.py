"""Lanes: batches on their way to one receiver, over one link after the other."""

from itertools import groupby
from typing import Generic, TypeVar

from barker.delivery.batches import Batch, fitting
from barker.delivery.window import Window
from barker.links.link import Link
from barker.process.faults import contained
from barker.wire import protocol
from barker.wire.ops import Item, Put

J = TypeVar("J")

# Entries that are written before we look again at how busy the link is. Of the largest there are,
# so many are less than what a link holds for a peer that does not read.
SEND_CHUNK = 128


def _source(row: tuple[str, Item, object]) -> tuple[str | None, bool]:
    return row[1].origin, row[1].old


class Lane(Generic[J]):
    """What goes to one receiver: a window, and the link that it uses at the moment, if any."""

    def __init__(self) -> None:
        self.window: Window[J] = Window(protocol.UNACKED_WINDOW)
        self.link: Link | None = None
        self.rows: list[tuple[str, Item, J]] = []  # put one by one, and in no batch yet

    def __len__(self) -> int:
        return len(self.window) + len(self.rows)

    def use(self, link: Link | None) -> None:
        """Go on over this link."""
        self.link = link

    def add(self, batch: Batch[J]) -> None:
        """Have it wait behind all others."""
        if self.rows:
            self.seal()
        self.window.add(batch)

    def pump(self) -> None:
        """Send what may be sent now, in one piece."""
        if self.rows:
            self.seal()
        link, window = self.link, self.window
        if link is None or not window.waiting:
            return  # another link will come, or another batch
        # The window takes for sent what a fault may have kept here; the next link sends it again.
        with contained(link, link.abort):
            while window.waiting and not link.busy:
                batches = window.send(SEND_CHUNK)
                if not batches:
                    break
                link.write([batch.line(seq) for seq, batch in batches])

    def seal(self) -> None:
        """Make batches of what was put one by one."""
        rows, self.rows = self.rows, []
        while rows:
            chunk, rows = rows[:SEND_CHUNK], rows[SEND_CHUNK:]
            for _, some in groupby(chunk, key=_source):
                to, items, jobs = zip(*some, strict=True)
                for batch in fitting(Put.of(0, to, items), jobs):
                    self.window.add(batch)
