"""Readers: the subscriptions to timelines, and their messages when a timeline grows.

A reader is *live* if it was sent all entries of its timeline. It is kept in the audience of each
group of timelines with its own, and costs nothing for each entry. A batch goes to a link in one
line, and a body for several streams of the link is in it once (`Parcel`).

A reader falls *behind* when its window has no room, or when its link is too busy. From then on its
cursor keeps its place, and it waits for one thing: credit, or a link that is free. Then it is sent
the missing entries, from the timeline, and is live again. A link that does not read costs the bytes
it was sent, and no more.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

from barker.links.link import Link
from barker.manifold.store import Group
from barker.manifold.timelines import Entry, Timeline
from barker.process.faults import contained, report
from barker.process.slices import Slices, Steps
from barker.streams.cursor import Cursor
from barker.wire import messages, protocol
from barker.wire.ops import Credit, Gap, Message, Moved
from barker.wire.protocol import BadMessage

# Unacked messages to one reader, whatever window it requests.
MAX_READER_WINDOW = 4096
DEFAULT_READER_WINDOW = 256
# Subscriptions of one link, and of all, at some 220 bytes each.
MAX_SUBSCRIPTIONS = 100_000
MAX_READERS = 1_000_000
# Messages of one stream that are queued before the next look at how busy the link is.
HANDFUL = 64
# Streams of one entry in one message, in characters; for more streams, its body is there again.
MAX_TO_CHARS = 16 * 1024
# Groups of timelines whose audience is remembered, and streams in these; beyond it, all go.
MAX_AUDIENCES = 500_000


class Subscription:
    """One reader of one timeline over one link. While it is live, the cursor lags behind."""

    __slots__ = ("cursor", "is_live", "link", "parcel", "timeline")

    def __init__(self, parcel: "Parcel", timeline: Timeline, cursor: Cursor) -> None:
        self.link = parcel.link
        self.parcel = parcel
        self.timeline = timeline
        self.cursor = cursor
        self.is_live = False

    def send(self) -> bool:
        """Send the missing entries, as the window allows; False if the link is too busy.

        It is live from now on if these were all.
        """
        link, parcel = self.link, self.parcel
        while not link.busy:
            missed, _, entries = self.cursor.take(self.timeline, HANDFUL)
            if missed:
                parcel.send()  # the entries before the gap
                link.send(messages.encode(Gap(self.timeline.address, missed)))
            parcel.rows += zip(repeat(self.timeline.address), entries, strict=False)
            parcel.send()
            if len(entries) < HANDFUL:
                self.is_live = self.cursor.sent == self.timeline.last
                return True
        return False

    def fall_behind(self) -> None:
        """The newest entry of the timeline is not sent; all earlier ones were."""
        self.is_live = False
        self.cursor.sent_up_to(self.timeline.last - 1)

    def ack(self, serial: int) -> None:
        """The reader has shown all entries up to `serial`."""
        if self.is_live:
            self.cursor.sent_up_to(self.timeline.last)
        self.cursor.ack(serial)


class Parcel:
    """The next message for one link: entries, and for each the streams that it goes to."""

    __slots__ = ("link", "rows")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.rows: list[tuple[str, Entry]] = []

    def send(self) -> None:
        """Queue all that was added."""
        for line in self._lines():
            self.link.send(line)

    def write(self) -> None:
        """The same, and now."""
        self.link.write(self._lines())

    def _lines(self) -> Sequence[bytes]:
        rows, self.rows = self.rows, []
        return _lines(rows) if rows else ()


def _lines(rows: Sequence[tuple[str, Entry]]) -> Sequence[bytes]:
    """As few messages as hold these."""
    to = [to for to, _ in rows]
    texts = [entry.body for _, entry in rows]
    size = sum(map(len, to)) + sum(map(len, texts)) + 8 * len(rows)
    if size > messages.MAX_GROUP_BYTES and len(rows) > 1:
        half = len(rows) // 2
        return [*_lines(rows[:half]), *_lines(rows[half:])]
    late = [i for i, (_, entry) in enumerate(rows) if entry.late]
    traces = [entry.trace for _, entry in rows]
    return [messages.encode(Message(to, texts, late or (), traces if any(traces) else None))]


class Part(NamedTuple):
    """The part of a group's audience on one link: so many live readers of these streams."""

    parcel: Parcel
    to: str
    readers: int


def _parts(parcel: Parcel, streams: Sequence[str]) -> Iterator[Part]:
    """As many parts as it takes for lines that are not too long."""
    most = min(protocol.MAX_ADDRESSES, MAX_TO_CHARS // protocol.MAX_ADDRESS_CHARS)
    for first in range(0, len(streams), most):
        some = streams[first : first + most]
        yield Part(parcel, " ".join(some), len(some))


class Readers:
    """All readers of one inbox, by `links` and by `timelines`.

    `sent` counts entries sent to them, `held` has the readers whose link is too busy.
    """

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self.sent = 0
        self.links: dict[Link, dict[str, Subscription]] = {}
        self.timelines: dict[Timeline, dict[Link, Subscription]] = {}
        self._parcels: dict[Link, Parcel] = {}
        self._laden: list[Parcel] = []  # with entries for their links
        self._audiences: dict[Group, list[Part]] = {}  # until a reader comes, goes, or falls behind
        self._remembered = 0  # groups, and streams of readers in them
        self._count = 0  # subscriptions
        self.held: dict[Link, set[Subscription]] = {}

    def add(self, link: Link, timeline: Timeline, cursor: Cursor) -> Subscription:
        """A reader of this timeline over this link, from that place on. Call `send` next.

        Raises BadMessage if the link has too many already, or all links have.
        """
        mine = self.links.setdefault(link, {})
        if timeline.address not in mine:
            if len(mine) >= MAX_SUBSCRIPTIONS:
                raise BadMessage(protocol.TOO_MANY, f"more than {MAX_SUBSCRIPTIONS} on one link")
            if self._count >= MAX_READERS:
                raise BadMessage(protocol.TOO_MANY, f"more than {MAX_READERS} readers")
        parcel = self._parcels.get(link)
        if parcel is None:
            parcel = self._parcels[link] = Parcel(link)
        if timeline.address in mine:  # it is repeated: the new place counts
            self._forget(mine[timeline.address])
        subscription = Subscription(parcel, timeline, cursor)
        mine[timeline.address] = subscription
        self._count += 1
        self.timelines.setdefault(timeline, {})[link] = subscription
        return subscription

    def send(self, subscription: Subscription) -> None:
        """Send its missing entries, now or when the link has room for them."""
        before = subscription.cursor.sent
        if not subscription.send():
            self._hold(subscription.link).add(subscription)
        elif subscription.is_live:
            self._readers_changed(subscription.timeline)
        self.sent += subscription.cursor.sent - before

    def grown(self, entry: Entry, group: Group, full: Sequence[Timeline]) -> None:
        """These timelines have a new entry; its messages leave with `flush`.

        Live readers of the `full` ones have no room for it.
        """
        for timeline in full:
            for subscription in self.timelines[timeline].values():
                if subscription.is_live and timeline.last > subscription.cursor.limit:
                    subscription.fall_behind()
            self._readers_changed(timeline)
        audience = self._audiences.get(group)
        if audience is None:
            audience = self._audience(group)
        for parcel, to, readers in audience:
            if not parcel.rows:
                self._laden.append(parcel)
            parcel.rows.append((to, entry))
            self.sent += readers

    def _audience(self, group: Group) -> list[Part]:
        """The live readers of these timelines, for their newest entry."""
        streams: dict[Parcel, list[str]] = {}
        for timeline in group.timelines:
            for link, subscription in self.timelines.get(timeline, {}).items():
                if not subscription.is_live or link not in self.links:
                    continue
                if link in self.held:
                    subscription.fall_behind()
                    self.held[link].add(subscription)
                else:
                    streams.setdefault(subscription.parcel, []).append(timeline.address)
        audience = [part for parcel, own in streams.items() for part in _parts(parcel, own)]
        size = 1 + sum(part.readers for part in audience)
        if self._remembered + size > MAX_AUDIENCES:
            self._forget_audiences()
        self._remembered += size
        self._audiences[group] = audience
        return audience

    def _readers_changed(self, timeline: Timeline) -> None:
        """One of its readers has come, gone, caught up, or fallen behind."""
        self._limit(timeline)
        self._forget_audiences()

    def _forget_audiences(self) -> None:
        self._audiences.clear()
        self._remembered = 0

    def _limit(self, timeline: Timeline) -> None:
        readers = self.timelines.get(timeline, {}).values()
        limits = (one.cursor.limit for one in readers if one.is_live)
        timeline.limit(min(limits, default=math.inf))

    def flush(self) -> None:
        """Send all new entries since the last call, at once: readers go before acks."""
        laden, self._laden = self._laden, []
        for parcel in laden:
            try:
                parcel.write()
                if parcel.link.busy:
                    self._hold(parcel.link)
            except Exception as fault:
                report(fault, parcel.link, parcel.link.abort)

    def credit(self, link: Link, credit: Credit) -> None:
        """The reader has shown all entries up to there."""
        subscription = self.links.get(link, {}).get(credit.address)
        if not subscription:
            return  # the timeline has moved, and the reader will be notified
        subscription.ack(credit.serial)
        if subscription.is_live:
            self._limit(subscription.timeline)
        else:
            self.send(subscription)

    def move(self, is_ours: Callable[[str], bool]) -> Steps:
        """Notify the readers whose timeline is another inbox's now."""
        for link, subscriptions in list(self.links.items()):
            for address in list(subscriptions):
                if address in subscriptions and not is_ours(address):
                    self._forget(subscriptions.pop(address))
                    link.send(messages.encode(Moved(address)))
                yield

    def gone(self, link: Link) -> None:
        """The link is down."""
        self.held.pop(link, None)
        self._parcels.pop(link, None)
        self._forget_audiences()
        self._slices.add(self._forget_all(self.links.pop(link, {})))

    def _forget_all(self, subscriptions: dict[str, Subscription]) -> Steps:
        for subscription in subscriptions.values():
            self._forget(subscription)
            yield

    def gauges(self) -> dict[str, int]:
        """For the inbox's agent."""
        return {
            "out": self.sent,
            "readers": self._count,
            "held": sum(map(len, self.held.values())),
        }

    def _forget(self, subscription: Subscription) -> None:
        self._count -= 1
        readers = self.timelines[subscription.timeline]
        del readers[subscription.link]
        if not readers:
            del self.timelines[subscription.timeline]
        self._readers_changed(subscription.timeline)
        self.held.get(subscription.link, set()).discard(subscription)

    def _hold(self, link: Link) -> set[Subscription]:
        """Send it nothing until it has read; returns the readers that were not served."""
        held = self.held.get(link)
        if held is None:
            held = self.held[link] = set()
            self._forget_audiences()  # its live readers fall behind with the next entry
            self._wait_for(link)
        return held

    def _wait_for(self, link: Link) -> None:
        link.when_free(lambda: self._slices.add(self._catch_up(link)))

    def _catch_up(self, link: Link) -> Steps:
        """Send the missing entries, until the link is too busy once more."""
        held = self.held.get(link)
        while held and not link.busy:
            with contained(link, link.abort):
                self.send(held.pop())
            yield
        if self.held.get(link) is held:  # else the link has gone
            link.flush()
            if held:
                self._wait_for(link)
            else:
                del self.held[link]
