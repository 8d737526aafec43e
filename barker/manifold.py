"""A manifold: one service that holds the streams of many addresses, its share of a ring.

    python -m barker.manifold outbox --push bizlogic     takes barks in, pushes them on
    python -m barker.manifold inbox --history 25         keeps timelines, serves readers

Both take a `put`, settle it or refuse it, and ack once for a whole batch. What differs is who
empties the streams:

* With ``--push``, a manifold is the first one that a message meets (an *outbox*). It checks that
  the author may say this here, stamps it with its epoch and a counter, queues it, and pushes the
  queue to the service named, in order. It forgets a bark when that service has acked it. A full
  queue refuses.
* Without, every stream is a *timeline*: readers subscribe to it, get its history and then what
  comes, each at its own speed. Reading settles nothing.

Which addresses are ours is the ring's to say, as the directory tells it to everybody. What belongs
to another is refused as ``moved``, and readers of what has become another's are told ``moved`` too.
"""

import argparse
import secrets
import sys
from collections.abc import Sequence
from typing import Any

from barker import state, wire
from barker.agent import deepest
from barker.ages import Ages
from barker.arguments import at_least_0
from barker.delivery import Delivery, Job
from barker.link import Link, Message
from barker.routing import CONSISTENT, split
from barker.service import Service, log, run_service
from barker.streams import DEFAULT_KEEP, Cursor, Duplicates, Stream
from barker.wire import BAD_MESSAGE, BadMessage

# A bark waiting in an outbox costs some 600 bytes; this many fit a small machine. Beyond it, full.
DEFAULT_BACKLOG = 1_200_000
# Messages on their way to one reader that it has not acked, whatever it asks for.
MAX_READER_WINDOW = 4096
DEFAULT_READER_WINDOW = 256
# Messages of one stream that are queued before we look again at how busy the link is.
HANDFUL = 64
# Streams of one manifold; one costs about 300 bytes. Beyond it, new addresses are refused as full.
MAX_STREAMS = 2_000_000
MAX_SUBSCRIPTIONS = 100_000  # of one link


class Manifold(Service):
    """What both kinds have in common: the share of the ring, numbering of puts, acks."""

    kind = "manifold"

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "address", help="what it serves, with one stream for each address below: outbox, inbox"
        )
        parser.add_argument("--push", metavar="SERVICE", help="push what comes in to this service")
        parser.add_argument(
            "--history",
            type=at_least_0,
            default=25,
            metavar="N",
            help="entries that a new reader gets if it doesn't say (default: %(default)s)",
        )
        parser.add_argument(
            "--keep",
            type=at_least_0,
            default=DEFAULT_KEEP,
            metavar="N",
            help="entries of a timeline that are retained (default: %(default)s)",
        )
        parser.add_argument(
            "--max-backlog",
            type=at_least_0,
            default=DEFAULT_BACKLOG,
            metavar="N",
            help="entries that may wait to be pushed (default: %(default)s)",
        )

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.address: str = args.address
        self.world = state.world(args.state)
        # Made anew with the streams: nobody must take a later run's numbers for this one's.
        self.epoch = secrets.token_hex(8)
        self._ours: dict[str, bool] = {}
        self.watch(self.address, self._ring_changed)

    @property
    def name_stem(self) -> str:
        return self.address

    async def ready(self) -> None:
        self.serve(self.address, CONSISTENT)

    # --- the share of the ring ---

    def is_ours(self, address: str) -> bool:
        """Does the ring give us this address? Remembered until the ring changes."""
        ours = self._ours.get(address)
        if ours is None:
            service, key = split(address)
            if service != self.address or not key:
                raise BadMessage(BAD_MESSAGE, f"{address} is not below {self.address}/")
            owner = self.routes.route(service).owner(key)
            # As long as nobody has told us of a ring, whoever asks knows better than we do.
            ours = owner is None or owner.name == self.name
            if len(self._ours) > MAX_STREAMS:
                self._ours.clear()
            self._ours[address] = ours
        return ours

    def _ring_changed(self) -> None:
        self._ours.clear()
        self.ring_changed()

    def ring_changed(self) -> None:
        """Shares may have moved."""

    # --- puts ---

    def on_put(self, link: Link, message: Message) -> None:
        seq = message["seq"]
        link.count_put(seq)
        addresses: Sequence[str] = message["to"]
        try:
            moved = [a for a in addresses if not self.is_ours(a)]
            if moved:
                reason = "another one's share of the ring"
                link.send(wire.refuse_line(seq, wire.MOVED, reason, moved))
                addresses = [a for a in addresses if a not in moved]
            if addresses:
                self.take(addresses, message)
        except BadMessage as fault:
            link.send(wire.refuse_line(seq, fault.code, fault.reason, addresses))

    def take(self, addresses: Sequence[str], message: Message) -> None:
        """Take over a put to addresses that are ours, or raise BadMessage."""
        raise NotImplementedError

    def batch_end(self, link: Link) -> None:
        if link.acked != link.received:
            link.acked = link.received
            link.send(wire.ack_line(link.received))


# --- outboxes ----------------------------------------------------------------------------------


class Outbox(Manifold):
    """Takes barks from clients, stamps them, pushes them on in the order in which they came."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._origin = self.epoch.encode()
        self._n = 0
        self._duplicates = Duplicates()
        self._streams: dict[str, Backlog] = {}
        self._push = Push(self, args.push)

    def take(self, addresses: Sequence[str], message: Message) -> None:
        address, *more = addresses
        if more:
            raise BadMessage(BAD_MESSAGE, "a bark has one author")
        body = message["body"]
        bark = wire.check_bark(body, message["parsed"])
        if bark.user != split(address)[1]:
            raise BadMessage(BAD_MESSAGE, f"{address} takes no barks of {bark.user}")
        if bark.user not in self.world:
            raise BadMessage(wire.UNKNOWN_USER, f"there is no user {bark.user}")
        if len(self._push) >= self.args.max_backlog:
            raise BadMessage(wire.FULL, f"{len(self._push)} barks are waiting")
        fresh, _ = self._duplicates.admit((bark.user, bark.id), None, 0, addresses)
        if fresh:
            stream = self._streams.get(address)
            if stream is None:
                stream = self._streams[address] = Backlog()
            self._n += 1
            self._push.put(self._push.to, wire.stamped(self._origin, self._n, body), stream)

    def batch_end(self, link: Link) -> None:
        self._push.pump()
        self._push.ages.added(self._push.done + len(self._push), link.heard)
        super().batch_end(link)

    def gauges(self) -> dict[str, Any]:
        oldest = self._push.ages.oldest
        return {
            **self._push.gauges(),
            "in": self._n,
            "peak": self._push.ages.peak,
            "oldest_ms": None if oldest is None else round(1000 * (self.now() - oldest)),
            "streams": len(self._streams),
            "deepest": deepest((a, s.pending) for a, s in self._streams.items()),
        }

    def sampled(self) -> None:
        self._push.ages.new_second()

    async def stopping(self) -> None:
        await super().stopping()
        if len(self._push):
            log.warning("%d barks were still waiting", len(self._push))


class Backlog:
    """One author's stream: `pending` barks that nobody has taken over yet."""

    __slots__ = ("pending",)
    void = False

    def __init__(self) -> None:
        self.pending = 0


class Push(Delivery):
    """An outbox's queue towards the service behind it."""

    def __init__(self, outbox: Outbox, service: str) -> None:
        super().__init__(outbox, service)
        self.to = (service,)
        self.ages = Ages()

    def settled(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.pending -= 1
        self.ages.settled(self.done)

    def refused(self, job: Job, code: str, reason: str, addresses: Sequence[str]) -> None:
        job.pending -= 1
        log.error("%s will never take a bark of ours: %s (%s)", self.service, reason, code)


# --- inboxes -----------------------------------------------------------------------------------


class Timeline(Stream[bytes]):
    """One reader's inbox: bodies, the latest of them, and who is reading."""

    __slots__ = ("address", "subscriptions")

    def __init__(self, address: str, keep: int) -> None:
        super().__init__(keep)
        self.address = address
        self.subscriptions: dict[Link, Subscription] = {}


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
            missed, serial, bodies = self.cursor.take(self.timeline, HANDFUL)
            if missed:
                link.send(wire.encode("gap", address=self.timeline.address, missed=missed))
            for body in bodies:
                link.send(wire.message_line(self.head, serial, body))
                serial += 1
            if len(bodies) < HANDFUL:
                return True
        return False


class Inbox(Manifold):
    """Keeps timelines and serves their readers."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._timelines: dict[str, Timeline] = {}
        self._duplicates = Duplicates()
        self._grown: set[Timeline] = set()
        self._readers: dict[Link, dict[str, Subscription]] = {}
        # What a busy link could not take. It may wait for nothing of its own: the acks that show
        # that the link has room again are those of other streams.
        self._held: dict[Link, set[Subscription]] = {}
        self.late = self._taken = self._sent = 0

    def _timeline(self, address: str) -> Timeline:
        timeline = self._timelines.get(address)
        if timeline is None:
            if len(self._timelines) >= MAX_STREAMS:
                raise BadMessage(wire.FULL, f"{MAX_STREAMS} streams are all that one manifold has")
            timeline = self._timelines[address] = Timeline(address, self.args.keep)
        return timeline

    def take(self, addresses: Sequence[str], message: Message) -> None:
        body = message["body"]
        fields = message["parsed"]
        if len(body) > wire.MAX_BODY_BYTES:
            raise BadMessage(wire.TOO_LARGE, f"a body has at most {wire.MAX_BODY_BYTES} bytes")
        user, id_ = (fields.get("user"), fields.get("id")) if type(fields) is dict else (0, 0)
        if type(user) is not str or type(id_) is not str:
            raise BadMessage(BAD_MESSAGE, "a body needs a user and an id")
        timelines = [self._timeline(a) for a in addresses]
        fresh, late = self._duplicates.admit(
            (user, id_), message.get("origin"), message.get("n", 0), addresses
        )
        if len(fresh) != len(addresses):
            timelines = [self._timelines[a] for a in fresh]
        for timeline in timelines:
            timeline.append(body)
        self._grown.update(timelines)
        self._taken += len(timelines)
        if late and fresh:
            self.late += 1

    def batch_end(self, link: Link) -> None:
        super().batch_end(link)
        grown, self._grown = self._grown, set()
        for timeline in grown:
            for subscription in timeline.subscriptions.values():
                self._send(subscription)
        if link in self._held and not link.busy:
            for subscription in self._held.pop(link):
                self._send(subscription)

    def _send(self, subscription: Subscription) -> None:
        before = subscription.cursor.sent
        if subscription.send():
            self._sent += subscription.cursor.sent - before
        else:
            self._held.setdefault(subscription.link, set()).add(subscription)

    def gauges(self) -> dict[str, Any]:
        return {
            "in": self._taken,
            "out": self._sent,
            "streams": len(self._timelines),
            "late": self.late,
            "readers": sum(map(len, self._readers.values())),
            "held": sum(map(len, self._held.values())),
        }

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
        head = wire.message_head(address, self.epoch)
        subscription = Subscription(link, timeline, cursor, head)
        if address in mine:  # asked again: the new place counts
            self._held.get(link, set()).discard(mine[address])
        mine[address] = timeline.subscriptions[link] = subscription
        self._send(subscription)

    def on_ack(self, link: Link, message: Message) -> None:
        subscription = self._readers.get(link, {}).get(message.get("address", ""))
        if subscription:  # else: it has moved, and the reader will hear of it
            subscription.cursor.ack(message.get("serial", 0))
            self._send(subscription)

    def ring_changed(self) -> None:
        for link, subscriptions in self._readers.items():
            for address in [a for a in subscriptions if not self.is_ours(a)]:
                subscription = subscriptions.pop(address)
                del subscription.timeline.subscriptions[link]
                self._held.get(link, set()).discard(subscription)
                link.send(wire.encode("moved", address=address))

    def link_down(self, link: Link) -> None:
        self._held.pop(link, None)
        for subscription in self._readers.pop(link, {}).values():
            del subscription.timeline.subscriptions[link]


def manifold(args: argparse.Namespace) -> Manifold:
    """The kind that the arguments ask for."""
    return Outbox(args) if args.push else Inbox(args)


def main(argv: list[str] | None = None) -> int:
    return run_service(Manifold, "manifold", __doc__, argv, make=manifold)


if __name__ == "__main__":
    sys.exit(main())
