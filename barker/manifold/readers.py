"""Readers: who reads which timeline over which link, and what is sent to them when it grows.

Who keeps up is sent an entry as soon as it is there, in one line with all else that the batch has
for the same link: a *parcel*, in which a body that goes to several streams of the link is once. Who
is *behind* (its window was full, its link too busy, or it has just come) is sent what it missed
from the timeline, when it has room. A link that does not read costs what it was sent, and no more.
"""

from collections.abc import Callable

from barker.delivery.streams import Cursor
from barker.links.link import Link
from barker.manifold.timelines import Entry, Timeline
from barker.process.faults import contained
from barker.wire import messages, protocol
from barker.wire.ops import Credit, Gap, Message, Moved
from barker.wire.protocol import BadMessage

# Messages on their way to one reader that it has not acked, whatever it asks for.
MAX_READER_WINDOW = 4096
DEFAULT_READER_WINDOW = 256
MAX_SUBSCRIPTIONS = 100_000  # of one link
# Messages of one stream that are queued before we look again at how busy the link is.
HANDFUL = 64
# Streams of one entry in one message, in characters; if it goes to more, its body is there again.
MAX_TO_CHARS = 16 * 1024


class Subscription:
    """One reader of one timeline over one link."""

    __slots__ = ("cursor", "link", "parcel", "timeline")

    def __init__(self, parcel: "Parcel", timeline: Timeline, cursor: Cursor) -> None:
        self.link = parcel.link
        self.parcel = parcel
        self.timeline = timeline
        self.cursor = cursor

    def send(self) -> bool:
        """Send what the window allows and the reader has not had; False if the link is too busy."""
        link, parcel = self.link, self.parcel
        while not link.busy:
            missed, _, entries = self.cursor.take(self.timeline, HANDFUL)
            if missed:
                parcel.send()  # what goes before the gap
                link.send(messages.encode(Gap(self.timeline.address, missed)))
            for entry in entries:
                parcel.add(self.timeline.address, entry)
            parcel.send()
            if len(entries) < HANDFUL:
                return True
        return False


class Parcel:
    """What one link is about to be sent: entries, and for each the streams that it goes to.

    An entry that several subscriptions of the link wait for is in it once.
    """

    __slots__ = ("_bytes", "_entry", "_late", "_more", "_to", "_trace", "bodies", "link")

    def __init__(self, link: Link) -> None:
        self.link = link
        self._begin()

    def _begin(self) -> None:
        self._entry: Entry | None = None
        self._late: list[int] = []
        self._trace: dict[int, str] = {}  # by the place of the body
        self._more = 0  # streams that the last entry may go to besides
        self.bodies: list[bytes] = []
        self._to: list[str] = []
        self._bytes = 0

    def add(self, address: str, entry: Entry) -> None:
        """Have it sent with the next `send`, or before if there is more than a line holds."""
        if entry is self._entry and self._more and len(self._to[-1]) < MAX_TO_CHARS:
            self._to[-1] += " " + address
            self._bytes += len(address) + 1
            self._more -= 1
            return
        if self._bytes + len(entry.body) > messages.MAX_GROUP_BYTES:
            self.send()
        if entry.late:
            self._late.append(len(self.bodies))
        if entry.trace:
            self._trace[len(self.bodies)] = entry.trace
        self._entry = entry
        self._more = protocol.MAX_ADDRESSES - 1
        self._to.append(address)
        self.bodies.append(entry.body)
        self._bytes += len(address) + len(entry.body) + 8

    def send(self) -> None:
        """Send all that was added."""
        if self.bodies:
            self.link.send(self._unload())

    def write(self) -> None:
        """The same, and now."""
        self.link.write([self._unload()] if self.bodies else [])

    def _unload(self) -> bytes:
        trace = [self._trace.get(i, "") for i in range(len(self.bodies))] if self._trace else None
        line = messages.encode(Message(self._to, self.bodies, self._late or (), trace))
        self._begin()
        return line


class Readers:
    """All readers of one inbox, by `links` and by `timelines`.

    `sent` counts the entries that they were sent, `held` has those whose link is too busy.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.links: dict[Link, dict[str, Subscription]] = {}
        self.timelines: dict[Timeline, dict[Link, Subscription]] = {}
        self._parcels: dict[Link, Parcel] = {}
        self._laden: list[Parcel] = []  # with something for their links
        self._behind: set[Subscription] = set()  # of this batch: those who could not be sent it
        self.held: dict[Link, set[Subscription]] = {}

    def add(self, link: Link, timeline: Timeline, cursor: Cursor) -> Subscription:
        """Somebody reads this timeline over this link, from there on; `send` is up to the caller.

        Raises BadMessage if the link has too many already.
        """
        mine = self.links.setdefault(link, {})
        if len(mine) >= MAX_SUBSCRIPTIONS:
            raise BadMessage(protocol.TOO_MANY, f"more than {MAX_SUBSCRIPTIONS} on one link")
        parcel = self._parcels.get(link)
        if parcel is None:
            parcel = self._parcels[link] = Parcel(link)
        if timeline.address in mine:  # asked again: the new place counts
            self._forget(mine[timeline.address])
        subscription = Subscription(parcel, timeline, cursor)
        mine[timeline.address] = subscription
        self.timelines.setdefault(timeline, {})[link] = subscription
        return subscription

    def send(self, subscription: Subscription) -> None:
        """Send what it is behind with, now or when the link has room for it."""
        link = subscription.link
        before = subscription.cursor.sent
        if not subscription.send():
            self._hold(link).add(subscription)
        self.sent += subscription.cursor.sent - before

    def grown(self, timeline: Timeline, entry: Entry) -> None:
        """The timeline has a new entry; what is sent because of it leaves with `flush`."""
        if timeline not in self.timelines:
            return
        serial = timeline.last
        for link, subscription in self.timelines[timeline].items():
            if link not in self.held and subscription.cursor.next(serial):
                parcel = subscription.parcel
                if not parcel.bodies:
                    self._laden.append(parcel)
                parcel.add(timeline.address, entry)
                self.sent += 1
            else:
                self._behind.add(subscription)

    def flush(self) -> None:
        """Send what has grown since the last time, at once: readers go before acks."""
        laden, self._laden = self._laden, []
        for parcel in laden:
            with contained(parcel.link, parcel.link.abort):
                parcel.write()
                if parcel.link.busy:
                    self._hold(parcel.link)
        if self._behind:
            behind, self._behind = self._behind, set()
            for subscription in behind:
                with contained(subscription.link, subscription.link.abort):
                    self.send(subscription)

    def credit(self, link: Link, credit: Credit) -> None:
        """The reader has shown everything up to there."""
        subscription = self.links.get(link, {}).get(credit.address)
        if subscription:  # else: it has moved, and the reader will hear of it
            subscription.cursor.ack(credit.serial)
            self.send(subscription)

    def move(self, is_ours: Callable[[str], bool]) -> None:
        """Tell those whose timeline is another's now."""
        for link, subscriptions in self.links.items():
            for address in [a for a in subscriptions if not is_ours(a)]:
                self._forget(subscriptions.pop(address))
                link.send(messages.encode(Moved(address)))

    def gone(self, link: Link) -> None:
        """The link is down."""
        for subscription in self.links.pop(link, {}).values():
            self._forget(subscription)
        self.held.pop(link, None)
        self._parcels.pop(link, None)

    def gauges(self) -> dict[str, int]:
        """For the inbox's agent."""
        return {
            "out": self.sent,
            "readers": sum(map(len, self.links.values())),
            "held": sum(map(len, self.held.values())),
        }

    def _forget(self, subscription: Subscription) -> None:
        readers = self.timelines[subscription.timeline]
        del readers[subscription.link]
        if not readers:
            del self.timelines[subscription.timeline]
        self._behind.discard(subscription)
        self.held.get(subscription.link, set()).discard(subscription)

    def _hold(self, link: Link) -> set[Subscription]:
        """Let it read before it is sent more; returns whom it could not be sent."""
        held = self.held.get(link)
        if held is None:
            held = self.held[link] = set()
            link.when_free(lambda: self._send_held(link))
        return held

    def _send_held(self, link: Link) -> None:
        for subscription in self.held.pop(link, ()):
            self.send(subscription)
        link.flush()
