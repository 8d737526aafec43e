"""The publisher: the stream of a followers service, and how far each subscriber has come in it.

Every change of the graph gets a serial and goes to all processes that *copy* the graph (readers of
``graph``: bizlogic, outboxes, ...) or *replicate* it (readers of ``followers``: the other
instances). Two promises rest on their acks:

* A change that all replicas have acked is *settled*: the outbox that put it may forget it.
* A change that all copies have acked *holds*: from now on, all services that decide decide by it.
  Only then is it sent to readers of one user's list, ``graph/USER``.

`barker.graph.waited` knows the subscribers whose acks are waited for.

A subscriber whose place is unknown here, or too far back, gets a snapshot of the graph before the
changes. Of its acks during a snapshot, only the last has a serial that counts.

Copies and readers of lists wait for an answer until this instance has all changes of the others. A
reader with an old route may come to one that has just started, and holds less than the reader.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from barker.graph.feed import FOLLOWERS, GRAPH
from barker.graph.graph import Graph
from barker.links.link import Link
from barker.process.faults import contained
from barker.process.slices import Slices, Steps
from barker.routing.routes import split
from barker.streams.cursor import Cursor
from barker.streams.stream import Stream
from barker.wire import messages, protocol, strictjson
from barker.wire.ops import Credit, Message, Subscribe, Subscribed, Unreadable
from barker.wire.protocol import BAD_MESSAGE, TOO_MANY, BadMessage

# Changes that are retained for subscribers that come back, of about 150 bytes. After more, there is
# a snapshot.
CHANGES_KEPT = 10_000
# Changes that are queued before the next look at how busy the link is.
CHANGES_AT_ONCE = 64
# The acked serial of a subscriber that has nothing.
NOTHING = -1
# Users whose lists one link may read, and all of them, at some 400 bytes each.
MAX_LISTS = 1000
MAX_LISTS_IN_ALL = 200_000
# Names in a list of one user, in each direction: so it fits a line. The counts are of all.
MAX_LISTED = 1000


class Copying:
    """One subscriber to the whole graph; `pieces` of a snapshot go before the stream."""

    __slots__ = ("address", "cursor", "link", "pieces")

    def __init__(self, link: Link, address: str) -> None:
        self.link = link
        self.address = address
        self.cursor = Cursor(NOTHING)
        self.pieces: Iterator[tuple[bytes, bool]] | None = None

    def begin(self, after: int) -> None:
        """It has all changes up to there."""
        self.pieces = None
        self.cursor = Cursor(after)

    def begin_with(self, pieces: Iterator[tuple[bytes, bool]], last: int) -> None:
        """It has nothing that counts, until it has acked this snapshot, made at serial `last`."""
        self.pieces = pieces
        self.cursor = Cursor(NOTHING)
        self.cursor.sent_up_to(last)


def _messages(address: str, bodies: Sequence[bytes]) -> Iterator[bytes]:
    """As few lines as hold these."""
    if sum(map(len, bodies)) > messages.MAX_GROUP_BYTES and len(bodies) > 1:
        half = len(bodies) // 2
        yield from _messages(address, bodies[:half])
        yield from _messages(address, bodies[half:])
    else:
        yield messages.encode(Message([address], bodies))


class Publisher:
    """Publishes one graph; the service numbers the changes."""

    def __init__(
        self,
        graph: Graph,
        all_pieces: Callable[[], Iterator[tuple[bytes, bool]]],
        slices: Slices,
        holds: Callable[[], int],
    ) -> None:
        """`all_pieces` makes the snapshot for a replica; a copy gets the graph alone.

        `holds` returns the serial up to which every copy that counts has all changes.
        """
        self.graph = graph
        self._all_pieces = all_pieces
        self._slices = slices
        self._holds = holds
        self._publishing = False
        self._is_open = False  # copies and readers of lists are answered
        self._early: dict[Link, dict[str, Subscribe]] = {}  # these wait for that
        self._early_wishes = 0  # of all links
        self.epoch = ""
        self._changes: Stream[bytes] = Stream(CHANGES_KEPT)
        self._copying: dict[Link, dict[str, Copying]] = {}
        self._listing: dict[str, set[Link]] = {}  # by user, the readers of their list
        # The last lines that were sent, with address, first serial, number of changes.
        self._packed: tuple[tuple[str, int, int], Sequence[bytes]] = ("", 0, 0), ()
        self._lists: dict[Link, set[str]] = {}
        self._lists_read = 0  # by all links
        self._touched: dict[str, int] = {}  # users whose list has changed, with which serial

    # --- for the service ---

    def begin(self, epoch: str) -> None:
        """The service's serials have this epoch from now on."""
        self.epoch = epoch

    def open(self) -> None:
        """Answer copies and readers of lists: this graph has all changes of the other instances."""
        self._is_open = True
        self._slices.add(self._answer_early())

    def close(self) -> None:
        """Others may have changes that this graph lacks."""
        self._is_open = False

    def _answer_early(self) -> Steps:
        while self._early and self._is_open:
            link, wishes = next(iter(self._early.items()))
            _, wish = wishes.popitem()
            self._early_wishes -= 1
            if not wishes:
                del self._early[link]
            self.subscribe(link, wish)
            yield

    def add(self, serial: int, body: bytes, touched: set[str]) -> None:
        """A change has come into force here; it alters the lists of those `touched`."""
        if serial != self.last + 1:  # damage has taken the changes between
            self.start_at(serial - 1)
        self._changes.append(body)
        for user in touched:
            if user in self._listing:
                self._touched[user] = serial

    def start_at(self, serial: int) -> None:
        """No change before `serial` can be read."""
        self._changes.restore(serial, ())

    def publish(self) -> None:
        """Send all subscribers the changes that they lack, to a few of them in each turn."""
        if not self._publishing:
            self._publishing = True
            self._slices.add(self._publish())

    def _publish(self) -> Steps:
        done = -1
        try:
            while done < self.last:  # changes that come meanwhile, too
                done = self.last
                for copying in [c for copies in self._copying.values() for c in copies.values()]:
                    if not copying.link.closed:
                        with contained(copying.link, copying.link.abort):
                            self._send(copying)
                    yield
        finally:
            self._publishing = False
        self.tell_lists()

    # --- queries ---

    @property
    def last(self) -> int:
        """The newest serial."""
        return self._changes.last

    @property
    def replicas(self) -> set[str]:
        """Names of the instances that replicate us now."""
        return {link.name for link, copies in self._copying.items() if FOLLOWERS in copies}

    def acked(self, address: str) -> dict[str, int]:
        """By name, the serial up to which each subscriber has all changes."""
        some = ((link.name, copies.get(address)) for link, copies in self._copying.items())
        return {name: copying.cursor.acked for name, copying in some if copying}

    @property
    def readers(self) -> int:
        return sum(map(len, self._copying.values())) + self._lists_read

    # --- subscribers ---

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        address = wish.address
        service, user = split(address)
        try:
            if service == GRAPH and not self._is_open:
                self._wait(link, wish)
            elif service == GRAPH and user:
                self._list(link, user)
            elif address in (GRAPH, FOLLOWERS):
                copying = Copying(link, address)
                self._copying.setdefault(link, {})[address] = copying
                self._begin(copying, wish.epoch, wish.after)
                self._send(copying)
            else:
                raise BadMessage(BAD_MESSAGE, f"there is {GRAPH}, {GRAPH}/USER and {FOLLOWERS}")
        except BadMessage as fault:
            link.send(messages.encode(Unreadable(address, fault.code, fault.reason)))

    def _wait(self, link: Link, wish: Subscribe) -> None:
        mine = self._early.setdefault(link, {})
        if wish.address not in mine:
            if len(mine) > MAX_LISTS or self._early_wishes >= MAX_LISTS_IN_ALL:
                raise BadMessage(TOO_MANY, "too many readers wait for this instance")
            self._early_wishes += 1
        mine[wish.address] = wish

    def _begin(self, copying: Copying, epoch: str | None, after: int) -> None:
        if epoch == self.epoch and self._changes.lost <= after <= self.last:
            copying.begin(after)
        else:
            is_replica = copying.address == FOLLOWERS
            pieces = self._all_pieces() if is_replica else self.graph.pieces()
            copying.begin_with(pieces, self.last)
        sent = copying.cursor.sent
        answer = Subscribed(copying.address, self.epoch, sent, self.last, history=0)
        copying.link.send(messages.encode(answer))

    def _send(self, copying: Copying) -> None:
        """Send as much as the link takes; the next ack or change calls this again."""
        link = copying.link
        while copying.pieces and not link.busy:
            piece, more = next(copying.pieces)
            if not more:
                copying.pieces = None
            link.send(messages.encode(Message([copying.address], [piece])))
        while not copying.pieces and not link.busy:
            missed, first, bodies = copying.cursor.take(self._changes, CHANGES_AT_ONCE)
            if missed:  # it was too slow
                self._begin(copying, None, 0)
                self._send(copying)
                return
            if not bodies:
                return
            for line in self._lines(copying.address, first, bodies):
                link.send(line)

    def _lines(self, address: str, first: int, bodies: Sequence[bytes]) -> Sequence[bytes]:
        """Changes from that serial on, as messages. Most subscribers are sent the same ones."""
        key = (address, first, len(bodies))
        if self._packed[0] != key:
            self._packed = key, list(_messages(address, bodies))
        return self._packed[1]

    def credit(self, link: Link, credit: Credit) -> None:
        """A subscriber has taken over all changes up to a serial."""
        copying = self._copying.get(link, {}).get(credit.address)
        if copying:
            if credit.serial <= copying.cursor.sent and not copying.pieces:
                copying.cursor.ack(credit.serial)
            self._send(copying)
            self.tell_lists()

    def link_down(self, link: Link) -> None:
        self._early_wishes -= len(self._early.pop(link, ()))
        self._copying.pop(link, None)
        for user in self._lists.pop(link, ()):
            self._lists_read -= 1
            self._listing[user].discard(link)
            if not self._listing[user]:
                del self._listing[user]
                self._touched.pop(user, None)
        self.tell_lists()  # perhaps the others waited for this one alone

    # --- lists ---

    def _list(self, link: Link, user: str) -> None:
        if not protocol.USER_NAME.fullmatch(user):
            raise BadMessage(BAD_MESSAGE, f"{user} is no user name")
        mine = self._lists.setdefault(link, set())
        if user not in mine:
            if len(mine) >= MAX_LISTS:
                raise BadMessage(TOO_MANY, f"more than {MAX_LISTS} lists on one link")
            if self._lists_read >= MAX_LISTS_IN_ALL:
                raise BadMessage(TOO_MANY, f"more than {MAX_LISTS_IN_ALL} lists on all links")
            self._lists_read += 1
        mine.add(user)
        self._listing.setdefault(user, set()).add(link)
        self._touched[user] = self.last
        self.tell_lists()

    def tell_lists(self) -> None:
        """Send the changed lists whose change holds."""
        if not self._touched:
            return
        holds = self._holds()
        for user in [user for user, serial in self._touched.items() if serial <= holds]:
            del self._touched[user]
            if links := self._listing.get(user):
                body = strictjson.dumps(self.list_of(user))
                line = messages.encode(Message([f"{GRAPH}/{user}"], [body]))
                for link in links:
                    if not link.busy:  # the next change will reach it
                        link.send(line)

    def list_of(self, user: str) -> dict[str, Any]:
        """The message about one user; at most `MAX_LISTED` names a list, and how many there are."""
        follows, followers = self.graph.follows(user), self.graph.followers(user)
        return {
            "kind": "list",
            "user": user,
            "exists": user in self.graph,
            "following": len(follows),
            "followed_by": len(followers),
            "follows": follows[:MAX_LISTED],
            "followers": [name for name, _ in zip(followers, range(MAX_LISTED), strict=False)],
        }
