"""Timelines: what an inbox holds for one reader, and how it is read over one link.

A bark is kept once, however many timelines it is in: they hold references to one entry.
"""

from typing import Any, NamedTuple

from barker import wire
from barker.link import Link
from barker.streams import Cursor, Stream

# Messages of one stream that are queued before we look again at how busy the link is.
HANDFUL = 64


class Entry(NamedTuple):
    """One bark in our timelines; `segment` is where the journal has it."""

    body: bytes
    origin: str
    n: int
    late: bool
    old: bool  # handed over by a former owner
    segment: int

    def json(self) -> bytes:
        """For the journal. The body goes in as text: what it is, it is to the last byte."""
        return wire.dumps({**self._asdict(), "body": self.body.decode()})

    @classmethod
    def from_json(cls, fields: dict[str, Any], segment: int) -> "Entry":
        return cls(**{**fields, "body": fields["body"].encode(), "segment": segment})


class Timeline(Stream[Entry]):
    """One reader's inbox. `promised` is the last serial given to what is not in the journal yet."""

    __slots__ = ("address", "emptied_in", "handed_over", "moving", "promised", "subscriptions")

    def __init__(self, address: str, keep: int) -> None:
        super().__init__(keep)
        self.address = address
        self.promised = 0
        self.emptied_in = 0  # the segment that has the last serial, if no entry has it
        self.handed_over = 0  # up to this serial all is another's: not here, and not lost either
        self.moving: Moving | None = None
        self.subscriptions: dict[Link, Subscription] = {}

    def record(self) -> bytes:
        """The whole of it as one record of the journal."""
        head = wire.encode("timeline", address=self.address, last=self.last)
        return b'%b,"entries":[%b]}' % (head[:-1], b",".join([e.json() for e in self.entries]))


class Moving:
    """A timeline on its way to its new owner; the `Job` of all its puts."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.last = timeline.last
        self.pending = 0

    @property
    def void(self) -> bool:
        """The ring has given it back to us."""
        return self.timeline.moving is not self


class Subscription:
    """One reader of one timeline over one link."""

    __slots__ = ("cursor", "head", "link", "timeline")

    def __init__(self, link: Link, timeline: Timeline, cursor: Cursor, head: bytes) -> None:
        self.link = link
        self.timeline = timeline
        self.cursor = cursor
        self.head = head

    def send(self) -> bool:
        """Send what the window allows and the reader has not had; False if the link is too busy."""
        link = self.link
        while not link.busy:
            missed, serial, entries = self.cursor.take(self.timeline, HANDFUL)
            if missed:
                link.send(wire.encode("gap", address=self.timeline.address, missed=missed))
            for entry in entries:
                link.send(wire.message_line(self.head, serial, entry.body, entry.late))
                serial += 1
            if len(entries) < HANDFUL:
                return True
        return False
