"""Timelines: what an inbox holds for one reader.

A bark is kept once, however many timelines it is in: they hold references to one entry.
"""

from typing import Any

from barker.delivery.streams import Stream
from barker.wire import messages, strictjson


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
        return strictjson.dumps({**fields, "body": self.body.decode()})

    @classmethod
    def from_json(cls, fields: dict[str, Any], segment: int) -> "Entry":
        return cls(**{**fields, "body": fields["body"].encode(), "segment": segment})


class Timeline(Stream[Entry]):
    """One reader's inbox."""

    __slots__ = ("address", "handed_over", "moving", "quoted", "recorded_in")

    def __init__(self, address: str, keep: int) -> None:
        super().__init__(keep)
        self.address = address
        self.quoted = b'"%b"' % address.encode()
        self.recorded_in = 0  # the last segment of the journal that has something of it
        self.handed_over = 0  # up to this serial all is another's: not here, and not lost either
        self.moving: Moving | None = None

    def recorded(self, segment: int) -> None:
        """That segment of the journal has something of it, and no later one."""
        self.recorded_in = segment

    def go_on_after(self, serial: int) -> None:
        """What follows was numbered from there on."""
        self.last = max(serial, self.last)

    def begin_to_move(self) -> "Moving":
        """Its owner is another one: all that is in it now goes there."""
        self.moving = Moving(self)
        return self.moving

    def stay(self) -> None:
        """It does not move, or no longer."""
        self.moving = None

    def let_go(self) -> None:
        """All of it is another's: not here, and not lost either."""
        self.restore(self.last, ())
        self.handed_over = self.last

    def record(self) -> bytes:
        """The whole of it as one record of the journal."""
        head = messages.encode("timeline", address=self.address, last=self.last)
        return b'%b,"entries":[%b]}' % (head[:-1], b",".join([e.json() for e in self.entries]))


class Moving:
    """A timeline on its way to its new owner; the `Job` of all its puts."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.last = timeline.last
        self.pending = 0

    def begin(self) -> None:
        """All that is in the timeline at this moment is put."""
        self.last = self.timeline.last

    @property
    def void(self) -> bool:
        """The ring has given it back to us."""
        return self.timeline.moving is not self
