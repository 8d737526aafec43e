"""The inbox: timelines, and those who read them.

A timeline is the stream of one reader's barks, of which the latest are retained. Readers subscribe
to it, get its history and then what comes, each at its own speed. Reading settles nothing.

A bark is kept once, however many timelines it is in: they hold references to one entry.

When the ring changes, readers of what is no longer ours are told ``moved``, and the timelines
themselves are handed over: their entries are put to the new owner like any others, but marked
``late``, with their first stamps. Until the last of them is acked we keep the timeline, and then we
forget it. What the new owner has had by another way already, it drops.

The journal holds every put with the serials that it was given. An old segment can go when no
timeline refers to it any more. A timeline that nobody writes to would hold on to its segment for
ever; so when the journal has grown beyond a multiple of what is retained, such timelines are
written anew, whole, at its end, a few for each batch.
"""

import argparse
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from barker import wire
from barker.delivery import Delivery, Job
from barker.link import Link, Message
from barker.manifold import KEPT_BYTES, MAX_STREAMS, Manifold
from barker.routing import Target, split
from barker.service import log
from barker.streams import Cursor, Duplicates, Stream
from barker.wire import BAD_MESSAGE, BadMessage

# Messages on their way to one reader that it has not acked, whatever it asks for.
MAX_READER_WINDOW = 4096
DEFAULT_READER_WINDOW = 256
MAX_SUBSCRIPTIONS = 100_000  # of one link
# Messages of one stream that are queued before we look again at how busy the link is.
HANDFUL = 64
# The journal may be larger than a fresh copy of all timelines by this factor. A larger one costs
# disk; a smaller one has timelines written anew more often.
JOURNAL_FACTOR = 2
# Entries that are written anew for each batch, so that no batch takes much longer than others.
REWRITTEN_AT_ONCE = 500
# Entries that may be on their way to new owners; the timelines behind them wait.
HANDED_OVER_AT_ONCE = 2 * wire.UNACKED_WINDOW


class Entry(NamedTuple):
    """One bark in our timelines; `segment` is where the journal has it."""

    body: bytes
    origin: str
    n: int
    late: bool
    segment: int

    def json(self) -> bytes:
        late = b'"late":true,' if self.late else b""
        return b"{%b%b" % (late, wire.stamped(self.origin.encode(), self.n, self.body))


class Timeline(Stream[Entry]):
    """One reader's inbox. `promised` is the last serial given to what is not in the journal yet."""

    __slots__ = ("address", "moving", "promised", "subscriptions")

    def __init__(self, address: str, keep: int) -> None:
        super().__init__(keep)
        self.address = address
        self.promised = 0
        self.moving: Moving | None = None
        self.subscriptions: dict[Link, Subscription] = {}

    def record(self) -> bytes:
        """The whole of it as one record of the journal."""
        head = wire.encode("timeline", address=self.address, last=self.last)
        return b'%b,"entries":[%b]}' % (head[:-1], b",".join([e.json() for e in self.entries]))


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


class Arrival(NamedTuple):
    """A bark on its way to the journal."""

    seq: int
    addresses: Sequence[str]
    line: bytes
    entry: Entry
    timelines: Sequence[Timeline]
    key: tuple[str, str]


class Inbox(Manifold[Arrival]):
    """Keeps timelines and serves their readers."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._n = 0  # for what comes without a stamp
        self._timelines: dict[str, Timeline] = {}
        self._duplicates = Duplicates()
        self._latest: dict[str, int] = {}  # by author, the newest `at`
        self._grown: set[Timeline] = set()
        self._readers: dict[Link, dict[str, Subscription]] = {}
        # What a busy link could not take. It may wait for nothing of its own: the acks that show
        # that the link has room again are those of other streams.
        self._held: dict[Link, set[Subscription]] = {}
        self._hand_over = HandOver(self)
        self._retained_bytes = 0  # of all timelines, if each were written on its own
        self._rewriting: Iterator[Timeline] | None = None
        self.late = self._taken = self._sent = 0

    def _timeline(self, address: str) -> Timeline:
        timeline = self._timelines.get(address)
        if timeline is None:
            if len(self._timelines) >= MAX_STREAMS:
                raise BadMessage(wire.FULL, f"{MAX_STREAMS} streams are all that one manifold has")
            timeline = self._timelines[address] = Timeline(address, self.args.keep)
        return timeline

    # --- a bark's way in ---

    def take(self, seq: int, addresses: Sequence[str], message: Message) -> Arrival | None:
        body, fields = message["body"], message["parsed"]
        if len(body) > wire.MAX_BODY_BYTES:
            raise BadMessage(wire.TOO_LARGE, f"a body has at most {wire.MAX_BODY_BYTES} bytes")
        user, id_ = (fields.get("user"), fields.get("id")) if type(fields) is dict else (0, 0)
        if type(user) is not str or type(id_) is not str:
            raise BadMessage(BAD_MESSAGE, "a body needs a user and an id")
        for address in addresses:
            self._timeline(address)
        key = (user, id_)
        origin, n = message.get("origin"), message.get("n")
        handed_over = "late" in message
        # What is handed over may be older than any window; its key is all that counts.
        fresh, late = self._duplicates.admit(
            key, None if handed_over else origin, n or 0, addresses
        )
        if not fresh:
            return None
        if origin is None or n is None:
            self._n += 1
            origin, n = self.epoch, self._n
        timelines = [self._timelines[a] for a in fresh]
        serials = []
        for timeline in timelines:
            timeline.promised += 1
            serials.append(timeline.promised)
        entry = Entry(body, origin, n, self._is_late(user, fields) or late, 0)
        to = wire.addresses_json(fresh)
        rest = wire.stamped(origin.encode(), n, body)
        line = b'{"op":"put","seq":0,"to":%b,"serials":%b,%b' % (to, _numbers(serials), rest)
        return Arrival(seq, fresh, line, entry, timelines, key)

    def _is_late(self, user: str, fields: dict[str, Any]) -> bool:
        """Has something that the author said afterwards been here before?"""
        at = fields.get("at")
        if type(at) is not int:
            return False
        latest = self._latest.get(user, 0)
        if at >= latest:
            if user not in self._latest and len(self._latest) >= MAX_STREAMS:
                self._latest.clear()
            self._latest[user] = at
        return at < latest

    def keep(self, stage: Arrival, segment: int) -> None:
        entry = stage.entry._replace(segment=segment)
        size = len(entry.body)
        for timeline in stage.timelines:
            self._append(timeline, entry, size)
        self._grown.update(stage.timelines)
        self._taken += len(stage.timelines)
        self.late += entry.late

    def _append(self, timeline: Timeline, entry: Entry, size: int) -> None:
        self._retained_bytes += size
        entries = timeline.entries
        if len(entries) == self.args.keep and entries:
            self._retained_bytes -= len(entries[0].body)
        timeline.append(entry)

    def withdraw(self, stage: Arrival) -> None:
        self._duplicates.withdraw(stage.key, stage.addresses)
        for timeline in stage.timelines:
            timeline.promised = timeline.last

    def hand_on(self) -> None:
        if self._grown:
            grown, self._grown = self._grown, set()
            for timeline in grown:
                for subscription in timeline.subscriptions.values():
                    self._send(subscription)
            self._clean()

    def batch_end(self, link: Link) -> None:
        super().batch_end(link)
        if link in self._held and not link.busy:
            for subscription in self._held.pop(link):
                self._send(subscription)

    # --- readers ---

    def subscribe(self, link: Link, message: Message) -> None:
        address = message["address"]
        try:
            if not self.is_ours(address):
                link.send(wire.encode("moved", address=address))
                return
            user = split(address)[1]
            if user not in self.world:
                raise BadMessage(wire.UNKNOWN_USER, f"there is no user {user}")
            timeline = self._timeline(address)
            mine = self._readers.setdefault(link, {})
            if len(mine) >= MAX_SUBSCRIPTIONS:
                raise BadMessage(wire.TOO_MANY, f"more than {MAX_SUBSCRIPTIONS} on one link")
        except BadMessage as fault:
            link.send(wire.refuse_line(None, fault.code, fault.reason, [address]))
            return
        epoch = message.get("epoch")
        cursor = Cursor.start(
            timeline,
            same_epoch=epoch == self.epoch,
            new_reader=epoch is None,
            after=message.get("after", 0),
            history=message.get("history", self.args.history),
            window=min(message.get("window", DEFAULT_READER_WINDOW) or 1, MAX_READER_WINDOW),
        )
        subscription = Subscription(link, timeline, cursor, wire.message_head(address, self.epoch))
        if address in mine:  # asked again: the new place counts
            self._held.get(link, set()).discard(mine[address])
        mine[address] = timeline.subscriptions[link] = subscription
        link.send(wire.encode("subscribed", address=address, epoch=self.epoch, serial=cursor.sent))
        self._send(subscription)

    def _send(self, subscription: Subscription) -> None:
        before = subscription.cursor.sent
        if not subscription.send():
            self._held.setdefault(subscription.link, set()).add(subscription)
        self._sent += subscription.cursor.sent - before

    def on_ack(self, link: Link, message: Message) -> None:
        subscription = self._readers.get(link, {}).get(message.get("address", ""))
        if subscription:  # else: it has moved, and the reader will hear of it
            subscription.cursor.ack(message.get("serial", 0))
            self._send(subscription)

    def link_down(self, link: Link) -> None:
        super().link_down(link)
        self._held.pop(link, None)
        for subscription in self._readers.pop(link, {}).values():
            del subscription.timeline.subscriptions[link]

    # --- changes of the ring ---

    def ring_changed(self) -> None:
        for link, subscriptions in self._readers.items():
            for address in [a for a in subscriptions if not self.is_ours(a)]:
                subscription = subscriptions.pop(address)
                del subscription.timeline.subscriptions[link]
                self._held.get(link, set()).discard(subscription)
                link.send(wire.encode("moved", address=address))
        if self.name in self.routes.route(self.address).by_name:
            # Else we are not in the ring yet, and what is ours is not for it to say.
            for timeline in self._timelines.values():
                if self.is_ours(timeline.address):
                    timeline.moving = None
                elif timeline.moving is None:
                    self._hand_over.add(timeline)
            self._hand_over.go_on()

    def handed_over(self, moving: "Moving") -> None:
        """The new owner has all that was in the timeline when it began to move."""
        timeline = moving.timeline
        if timeline.moving is not moving:
            return  # it came back to us meanwhile
        timeline.moving = None
        if timeline.promised != moving.last:
            self._hand_over.add(timeline)  # it was still growing: all of it again
            return
        try:
            timeline_gone = wire.encode(
                "timeline", address=timeline.address, last=timeline.last, entries=[]
            )
            self.journal.append([timeline_gone])
        except OSError:
            return  # then it is handed over once more at some time, and dropped as known
        self._retained_bytes -= sum(len(e.body) for e in timeline.entries)
        timeline.restore(timeline.last, ())

    # --- the journal ---

    def header(self) -> dict[str, Any]:
        return {"n": self._n, "highest": self._duplicates.highest}

    def replay(self, segment: int, line: bytes) -> None:
        if line.startswith(b'{"op":"put"'):
            put = wire.decode(line)
            fields, origin, n = put["parsed"], put["origin"], put["n"]
            user = fields["user"]
            self._duplicates.admit((user, fields["id"]), origin, n, put["to"])
            entry = Entry(put["body"], origin, n, self._is_late(user, fields), segment)
            for address, serial in zip(put["to"], put["serials"], strict=True):
                timeline = self._timeline(address)
                self._append(timeline, entry, len(entry.body))
                timeline.last = timeline.promised = max(serial, timeline.last)
            if origin == self.epoch:
                self._n = max(self._n, n)
            return
        record = wire.loads(line)
        if record["op"] == "segment":
            self._duplicates.remember(record["highest"])
            self._n = max(self._n, record["n"])
        else:
            timeline = self._timeline(record["address"])
            entries = [
                Entry(wire.dumps(e["body"]), e["origin"], e["n"], "late" in e, segment)
                for e in record["entries"]
            ]
            self._retained_bytes -= sum(len(e.body) for e in timeline.entries)
            self._retained_bytes += sum(len(e.body) for e in entries)
            timeline.restore(record["last"], entries[-self.args.keep :])
            timeline.promised = timeline.last

    def _clean(self) -> None:
        """Drop the oldest segment if the journal is too large, after freeing it from references."""
        journal = self.journal
        if self._rewriting is None:
            if journal.size <= KEPT_BYTES + JOURNAL_FACTOR * self._retained_bytes:
                return
            oldest = next(iter(journal.segments))
            if oldest == journal.current:
                return
            self._rewriting = iter([t for t in self._timelines.values() if _needs(t, oldest)])
        done = 0
        try:
            for timeline in self._rewriting:
                segment = journal.append([timeline.record()])
                entries = [e._replace(segment=segment) for e in timeline.entries]
                timeline.restore(timeline.last, entries)
                done += len(entries)
                if done > REWRITTEN_AT_ONCE:
                    return
        except OSError as fault:
            log.error("the journal can't be cleaned: %s", fault.strerror)
        else:
            journal.drop(next(iter(journal.segments)))
        self._rewriting = None

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        return {
            "in": self._taken,
            "out": self._sent,
            "streams": len(self._timelines),
            "late": self.late,
            "readers": sum(map(len, self._readers.values())),
            "held": sum(map(len, self._held.values())),
            "backlog": len(self._hand_over),
        }


def _needs(timeline: Timeline, segment: int) -> bool:
    entries = timeline.entries
    return bool(entries) and entries[0].segment <= segment


def _numbers(values: Sequence[int]) -> bytes:
    return b"[%b]" % ",".join(map(str, values)).encode()


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


class HandOver(Delivery):
    """The way to the other inboxes, for timelines that have become theirs."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(inbox, inbox.address)
        self._inbox = inbox
        self._queue: deque[Moving] = deque()

    def wanted(self, target: Target) -> bool:
        return bool(self._queue or len(self)) and target.name != self._inbox.name

    def add(self, timeline: Timeline) -> None:
        """Hand this one over when its turn comes; see `go_on`."""
        if timeline.entries:
            timeline.moving = Moving(timeline)
            self._queue.append(timeline.moving)

    def go_on(self) -> None:
        """Put the next timelines on their way, if there is room on it."""
        if self._queue:
            self.dial()
        while self._queue and len(self) < HANDED_OVER_AT_ONCE:
            moving = self._queue.popleft()
            timeline = moving.timeline
            if moving.void:
                continue
            moving.last = timeline.last
            for entry in timeline.entries:
                end = b'"late":true,' + wire.stamped(entry.origin.encode(), entry.n, entry.body)
                self.put((timeline.address,), end, moving)
        self.pump()

    def settled(self, jobs: list[Job]) -> None:
        for job in jobs:
            assert isinstance(job, Moving)
            job.pending -= 1
            if not job.pending:
                self._inbox.handed_over(job)
        self.go_on()

    def refused(self, job: Job, code: str, reason: str, addresses: Sequence[str]) -> None:
        log.error("%s can't be handed over: %s (%s)", addresses, reason, code)
        self.settled([job])
