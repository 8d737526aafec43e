"""Readers: who reads which timeline over which link, and what is sent to them when it grows.

A reader is *live* if it was sent all that its timeline has. Nothing is kept for each entry that it
is sent: it is among the audience of each group of timelines that has its own, and a batch goes to a
link in one line, in which a body that goes to several streams of the link is once (`Parcel`).

A reader falls *behind* when its window has no room, or when its link is too busy. From then on its
cursor has its place, and it waits for one thing: credit, or a link that is free. Then it is sent
what it missed, from the timeline, and is live again. A link that does not read costs what it was
sent, and no more.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

from barker.links.link import Link
from barker.manifold.store import Group
from barker.manifold.timelines import Entry, Timeline
from barker.process.faults import contained
from barker.process.slices import Slices, Steps
from barker.streams.cursor import Cursor
from barker.wire import messages, protocol
from barker.wire.ops import Credit, Gap, Message, Moved
from barker.wire.protocol import BadMessage

# Messages on their way to one reader that it has not acked, whatever it asks for.
MAX_READER_WINDOW = 4096
DEFAULT_READER_WINDOW = 256
# Subscriptions of one link, and of all, at some 220 bytes each.
MAX_SUBSCRIPTIONS = 100_000
MAX_READERS = 1_000_000
# Messages of one stream that are queued before we look again at how busy the link is.
HANDFUL = 64
# Streams of one entry in one message, in characters; if it goes to more, its body is there again.
MAX_TO_CHARS = 16 * 1024
# Groups of timelines whose audience is remembered, and streams in these; beyond it, start over.
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
        """Send what the window allows and the reader has not had; False if the link is too busy.

        It is live from now on if that was all.
        """
        link, parcel = self.link, self.parcel
        while not link.busy:
            missed, _, entries = self.cursor.take(self.timeline, HANDFUL)
            if missed:
                parcel.send()  # what goes before the gap
                link.send(messages.encode(Gap(self.timeline.address, missed)))
            parcel.rows += zip(repeat(self.timeline.address), entries, strict=False)
            parcel.send()
            if len(entries) < HANDFUL:
                self.is_live = self.cursor.sent == self.timeline.last
                return True
        return False

    def fall_behind(self) -> None:
        """The newest entry of the timeline is not sent; all before it was."""
        self.is_live = False
        self.cursor.sent_up_to(self.timeline.last - 1)

    def ack(self, serial: int) -> None:
        """The reader has shown everything up to there."""
        if self.is_live:
            self.cursor.sent_up_to(self.timeline.last)
        self.cursor.ack(serial)


class Parcel:
    """What one link is about to be sent: entries, and for each the streams that it goes to."""

    __slots__ = ("link", "rows")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.rows: list[tuple[str, Entry]] = []

    def send(self) -> None:
        """Send all that was added."""
        for line in self._lines():
            self.link.send(line)

    def write(self) -> None:
        """The same, and now."""
        self.link.write(self._lines())

    def _lines(self) -> Sequence[bytes]:
        rows, self.rows = self.rows, []
        return _lines(rows) if rows else ()


def _lines(rows: Sequence[tuple[str, Entry]]) -> Sequence[bytes]:
    """As few as hold them."""
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
    """The part of a group's audience that one link has: so many live readers of these streams."""

    parcel: Parcel
    to: str
    readers: int


def _parts(parcel: Parcel, streams: Sequence[str]) -> Iterator[Part]:
    """As many as it takes for lines that are not too long."""
    most = min(protocol.MAX_ADDRESSES, MAX_TO_CHARS // protocol.MAX_ADDRESS_CHARS)
    for first in range(0, len(streams), most):
        some = streams[first : first + most]
        yield Part(parcel, " ".join(some), len(some))


class Readers:
    """All readers of one inbox, by `links` and by `timelines`.

    `sent` counts the entries that they were sent, `held` has those whose link is too busy.
    """

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self.sent = 0
        self.links: dict[Link, dict[str, Subscription]] = {}
        self.timelines: dict[Timeline, dict[Link, Subscription]] = {}
        self._parcels: dict[Link, Parcel] = {}
        self._laden: list[Parcel] = []  # with something for their links
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
        if timeline.address in mine:  # asked again: the new place counts
            self._forget(mine[timeline.address])
        subscription = Subscription(parcel, timeline, cursor)
        mine[timeline.address] = subscription
        self._count += 1
        self.timelines.setdefault(timeline, {})[link] = subscription
        return subscription

    def send(self, subscription: Subscription) -> None:
        """Send what it is behind with, now or when the link has room for it."""
        before = subscription.cursor.sent
        if not subscription.send():
            self._hold(subscription.link).add(subscription)
        elif subscription.is_live:
            self._readers_changed(subscription.timeline)
        self.sent += subscription.cursor.sent - before

    def grown(self, entry: Entry, group: Group, full: Sequence[Timeline]) -> None:
        """These timelines have a new entry; what is sent because of it leaves with `flush`.

        Those which are `full` have live readers without room for it.
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
        """Who is to be sent the entry that these timelines have as their newest."""
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
        """Send what has grown since the last time, at once: readers go before acks."""
        laden, self._laden = self._laden, []
        for parcel in laden:
            with contained(parcel.link, parcel.link.abort):
                parcel.write()
                if parcel.link.busy:
                    self._hold(parcel.link)

    def credit(self, link: Link, credit: Credit) -> None:
        """The reader has shown everything up to there."""
        subscription = self.links.get(link, {}).get(credit.address)
        if not subscription:
            return  # it has moved, and the reader will hear of it
        subscription.ack(credit.serial)
        if subscription.is_live:
            self._limit(subscription.timeline)
        else:
            self.send(subscription)

    def move(self, is_ours: Callable[[str], bool]) -> Steps:
        """Tell those whose timeline is another's now."""
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
        """Let it read before it is sent more; returns whom it could not be sent."""
        held = self.held.get(link)
        if held is None:
            held = self.held[link] = set()
            self._forget_audiences()  # its live readers fall behind with the next entry
            self._wait_for(link)
        return held

    def _wait_for(self, link: Link) -> None:
        link.when_free(lambda: self._slices.add(self._catch_up(link)))

    def _catch_up(self, link: Link) -> Steps:
        """Send what could not be sent, until the link is too busy once more."""
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
