"""A cursor: one reader's place in a stream, with a window of credit.

A reader that does not ack is sent nothing more, and costs nothing more. When the stream has moved
on past a cursor, its reader is sent the number of missed entries: a *gap*.
"""

import math
from typing import TypeVar

from barker.streams.stream import Stream

Item = TypeVar("Item")


class Cursor:
    """A reader's place in a stream: `sent` up to that serial, `window` beyond the acked one."""

    __slots__ = ("acked", "sent", "window")

    def __init__(self, after: int, window: float = math.inf) -> None:
        self.sent = self.acked = after
        self.window = window

    @classmethod
    def start(
        cls,
        stream: Stream[Item],
        *,
        same_epoch: bool,
        new_reader: bool,
        after: int,
        history: int,
        window: int,
    ) -> "Cursor":
        """The cursor of a reader that subscribes.

        With this epoch, it goes on at its place. A new reader gets the last `history` entries. A
        place of another epoch does not show which entries the reader has seen, so it gets all that
        are retained (it knows its barks by id).
        """
        if same_epoch and after <= stream.last:
            return cls(after, window)
        if new_reader:
            return cls(max(stream.lost, stream.last - history), window)
        return cls(stream.lost, window)

    def ack(self, serial: int) -> None:
        """The reader has shown all up to `serial`; its window opens by that much."""
        self.acked = max(self.acked, min(serial, self.sent))

    @property
    def limit(self) -> float:
        """The last serial for which the reader has room."""
        return self.acked + self.window

    def sent_up_to(self, serial: int) -> None:
        """All entries up to there were sent in another way."""
        self.sent = serial

    def take(self, stream: Stream[Item], most: int = 2**31) -> tuple[int, int, list[Item]]:
        """The next to send: (entries missed, serial of the first entry, up to `most` entries)."""
        room = self.limit - self.sent
        if room <= 0 or self.sent >= stream.last:
            # No gap without room for the entries behind it: only an ack of those opens the window
            # again, because the unacked ones lie before the gap.
            return 0, self.sent + 1, []
        missed = max(0, stream.lost - self.sent)
        if missed:
            # The credit for lost entries is given back: a gap is not a message.
            self.sent += missed
            self.acked += missed
        first, entries = stream.read(self.sent, int(min(room, most)))
        self.sent += len(entries)
        return missed, first, entries
