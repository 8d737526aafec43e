"""Timelines: what an inbox holds for one reader, and how it is read over one link.

A bark is kept once, however many timelines it is in: they hold references to one entry.
"""

from typing import Any

from barker import wire
from barker.link import Link
from barker.streams import Cursor, Stream

# Messages of one stream that are queued before we look again at how busy the link is.
HANDFUL = 64
# Streams of one entry in one message, in bytes; if it goes to more, its body is there again.
MAX_TO_BYTES = 16 * 1024


class Entry:
    """One bark in our timelines; `segment` is where the journal has it."""

    __slots__ = ("body", "late", "n", "old", "origin", "segment")

    def __init__(
        self, body: bytes, origin: str, n: int, late: bool, old: bool, segment: int = 0
    ) -> None:
        self.body = body
        self.origin = origin
        self.n = n
        self.late = late
        self.old = old  # handed over by a former owner
        self.segment = segment

    def copied_to(self, segment: int) -> "Entry":
        """The same bark where another record has it, for the one timeline of that record."""
        return Entry(self.body, self.origin, self.n, self.late, self.old, segment)

    def json(self) -> bytes:
        """For the journal. The body goes in as text: what it is, it is to the last byte."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return wire.dumps({**fields, "body": self.body.decode()})

    @classmethod
    def from_json(cls, fields: dict[str, Any], segment: int) -> "Entry":
        return cls(**{**fields, "body": fields["body"].encode(), "segment": segment})


class Timeline(Stream[Entry]):
    """One reader's inbox."""

    __slots__ = ("address", "handed_over", "moving", "quoted", "recorded_in", "subscriptions")

    def __init__(self, address: str, keep: int) -> None:
        super().__init__(keep)
        self.address = address
        self.quoted = b'"%b"' % address.encode()
        self.recorded_in = 0  # the last segment of the journal that has something of it
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

    def __init__(self, link: Link, timeline: Timeline, cursor: Cursor) -> None:
        self.link = link
        self.timeline = timeline
        self.cursor = cursor
        self.head = timeline.quoted + b":"

    def send(self, parcel: "Parcel") -> bool:
        """Send what the window allows and the reader has not had; False if the link is too busy."""
        link = self.link
        while not link.busy:
            missed, serial, entries = self.cursor.take(self.timeline, HANDFUL)
            if missed:
                parcel.send()  # what goes before the gap
                link.send(wire.encode("gap", address=self.timeline.address, missed=missed))
            for entry in entries:
                parcel.add(self, serial, entry)
                serial += 1
            parcel.send()
            if len(entries) < HANDFUL:
                return True
        return False


class Parcel:
    """What one link is about to be sent: entries, and for each the streams that it goes to.

    An entry that several subscriptions of the link wait for is in it once.
    """

    __slots__ = ("_bodies", "_bytes", "_entry", "_epoch", "_late", "_to", "link")

    def __init__(self, link: Link, epoch: str) -> None:
        self.link = link
        self._epoch = epoch.encode()
        self._begin(False)

    def _begin(self, late: bool) -> None:
        self._entry: Entry | None = None
        self._late = late
        self._bodies: list[bytes] = []
        self._to: list[bytes] = []
        self._bytes = 0

    def add(self, subscription: Subscription, serial: int, entry: Entry) -> None:
        """Have it sent with the next `send`, or before if there is more than a line holds."""
        to = b"%b%d" % (subscription.head, serial)
        if entry is self._entry and len(self._to[-1]) < MAX_TO_BYTES:
            self._to[-1] += b"," + to
            self._bytes += len(to)
            return
        if self._bytes + len(entry.body) > wire.MAX_GROUP_BYTES or entry.late is not self._late:
            self.send()
            self._late = entry.late
        self._entry = entry
        self._to.append(to)
        self._bodies.append(entry.body)
        self._bytes += len(to) + len(entry.body) + 4

    @property
    def is_empty(self) -> bool:
        return not self._bodies

    def send(self) -> None:
        """Send all that was added."""
        if self._bodies:
            self.link.send(wire.messages_line(self._epoch, self._to, self._bodies, self._late))
            self._begin(self._late)
