"""A broadcast: one stream of a service, and all its readers, each with a window of credit.

The frames of the monitor and the states of ``controls`` are such streams. Left out: any stream with
several addresses on one link; an inbox has those (`barker.manifold.readers`).
"""

import secrets
from collections.abc import Sequence

from barker.links.link import Link
from barker.process.faults import contained
from barker.streams.cursor import Cursor
from barker.streams.stream import Stream
from barker.wire import messages
from barker.wire.ops import Credit, Gap, Message, Subscribe, Subscribed

# Entries on their way to one reader. All of the monitor's history may be, for it is meant to come
# at once.
MAX_WINDOW = 1000
# Entries queued for a reader in one piece, before the next look at its link's room.
PIECE = 50


class Broadcast:
    """The last `keep` entries at one address, in an epoch of this object's own."""

    def __init__(self, address: str, keep: int) -> None:
        self.address = address
        self.epoch = secrets.token_hex(8)
        self.sent = 0  # to all readers together
        self.readers: dict[Link, Cursor] = {}
        self._keep = keep
        self._stream: Stream[bytes] = Stream(keep)

    @property
    def last(self) -> int:
        """The serial of the newest entry."""
        return self._stream.last

    @property
    def entries(self) -> Sequence[bytes]:
        """The retained ones, oldest first."""
        return self._stream.entries

    def append(self, body: bytes) -> None:
        """Add an entry, and send it to the readers that have room."""
        self._stream.append(body)
        for link, cursor in self.readers.items():
            with contained(link, link.abort):
                self._send(link, cursor)

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        """Answer, and send the past."""
        _, epoch, after, history, window = wish
        cursor = self.readers[link] = Cursor.start(
            self._stream,
            same_epoch=epoch == self.epoch,
            new_reader=epoch is None,
            after=after,
            history=self._keep if history is None else history,
            window=MAX_WINDOW if window is None else max(1, min(window, MAX_WINDOW)),
        )
        answer = Subscribed(self.address, self.epoch, cursor.sent, self.last, self._keep)
        link.send(messages.encode(answer))
        self._send(link, cursor)

    def on_credit(self, link: Link, credit: Credit) -> None:
        cursor = self.readers.get(link)
        if cursor:
            cursor.ack(credit.serial)
            self._send(link, cursor)

    def link_down(self, link: Link) -> None:
        self.readers.pop(link, None)

    def _send(self, link: Link, cursor: Cursor) -> None:
        """Send the entries that a reader lacks, as far as its window and its link have room."""
        while not link.busy:
            missed, _, bodies = cursor.take(self._stream, PIECE)
            if missed:
                link.send(messages.encode(Gap(self.address, missed)))
            for body in bodies:
                link.send(messages.encode(Message([self.address], [body])))
            self.sent += len(bodies)
            if len(bodies) < PIECE:
                return
            link.flush()  # so that `busy` counts it
