"""Reader: reads inboxes wherever they are, and hands on every bark once.

A reader remembers, for each inbox, the manifold's epoch and the serial it has shown, and subscribes
from there after every interruption. If another manifold has the inbox by then, that one sends all
that it retains, and the reader drops the barks that it knows by their ids. So every bark is shown
once. For this, a reader first requests the whole past, and shows only the end of it: it must know
the barks that it does not show. An inbox reports how much it retains; the reader remembers as much.

The inbox marks late barks, as far as it can know. An owner that was dead can't: after its return
its barks are in order there, and older than some that others have sent us meanwhile.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from barker.links.link import Link
from barker.process import terminal
from barker.process.node import Node
from barker.process.peers import ASK_AGAIN_S, READ_AGAIN_S, Peers
from barker.routing.routes import Target
from barker.streams.stream import DEFAULT_KEEP, MAX_KEEP
from barker.wire import messages, protocol, strictjson
from barker.wire.fields import addresses_in
from barker.wire.ops import Credit, Gap, Message, Moved, Subscribe, Subscribed, Unreadable

# Barks remembered of each instance that has served an inbox, at least: the last that it sent. After
# a restart all that an instance retains may come again, so more are remembered if it retains more.
REMEMBERED_IDS = 10 * DEFAULT_KEEP
# No inbox retains more. A service that claims to gets no more of a reader's memory.
MAX_REMEMBERED_IDS = 2 * MAX_KEEP
# Entries of the past that are shown, whatever was requested; no inbox retains more.
MAX_PAST = 2 * MAX_KEEP
# Instances that have served an inbox and are remembered. One that was dead for a day still has its
# retained entries, however many others have sent since. On a ring an inbox moves between two or
# three instances. Beyond the limit, the one that served it longest ago is forgotten.
REMEMBERED_OWNERS = 4
# Authors whose newest bark is remembered for each inbox; beyond it, all are forgotten.
REMEMBERED_AUTHORS = 10_000
# Messages of one inbox that may be on their way to us. We ack once for a quarter of it: an ack
# settles nothing here, it only lets the inbox send more.
WINDOW = 1024
# Called with the inbox's user, the body as a JSON object, and whether it is late.
Show = Callable[[str, dict[str, Any], bool], None]


class Seen:
    """The keys of barks that were shown, for each instance that has sent them.

    Of each instance the last keys are remembered: at least as many as it retains, and at most twice
    as many.
    """

    __slots__ = ("_now", "_owners")

    def __init__(self) -> None:
        self._owners: dict[str, _Sent] = {}  # by name; the last is the one that answered last
        self._now = _Sent()  # of the instance that sends now

    def served_by(self, name: str, retained: int) -> None:
        """That instance sends from now on, and up to `retained` entries of it may come again."""
        self._now = self._owners[name] = self._owners.pop(name, _Sent())
        self._now.least = max(REMEMBERED_IDS, min(retained, MAX_REMEMBERED_IDS))
        if len(self._owners) > REMEMBERED_OWNERS:
            del self._owners[next(iter(self._owners))]

    def is_new(self, key: tuple[str, str]) -> bool:
        """Remember a key that the instance has sent; False if it is known from any.

        A known key is remembered for this instance as well: from now on both of them may send it
        again.
        """
        now = self._now
        if key in now.young:
            return False
        is_new = key not in now.old
        if is_new and len(self._owners) > 1:
            is_new = not any(key in sent.young or key in sent.old for sent in self._owners.values())
        now.add(key)
        return is_new


class _Sent:
    """Two generations of keys, so that forgetting costs nothing per key.

    When the young one is full it becomes the old one, and the old one is forgotten.
    """

    __slots__ = ("least", "old", "young")

    def __init__(self) -> None:
        self.least = REMEMBERED_IDS
        self.young: set[tuple[str, str]] = set()
        self.old: set[tuple[str, str]] = set()

    def add(self, key: tuple[str, str]) -> None:
        """Add one that is not among the young."""
        if len(self.young) >= self.least:
            self.old, self.young = self.young, set()
        self.young.add(key)


class Place:
    """How far a reader has come in one inbox, and the instance that it has subscribed to."""

    __slots__ = (
        *("acked", "answered", "asked", "epoch", "last", "newest"),
        *("past", "seen", "serial", "user", "wanted"),
    )

    def __init__(self, user: str) -> None:
        self.user = user
        self.epoch: str | None = None
        self.serial = 0
        self.seen = Seen()
        self.newest: dict[str, int] = {}  # by author, the highest `at` that has come
        self.asked: Link | None = None
        self.answered = False  # by `subscribed`, to our last request there
        self.acked = 0
        # Of the first answer: the end of the past, up to the serial `last`.
        self.past: deque[tuple[dict[str, Any], bool]] | None = None
        self.last = 0
        self.wanted = 0  # how much of the past

    def is_late(self, fields: dict[str, Any]) -> bool:
        """Has a later bark of its author come before?"""
        user, at = fields["user"], fields.get("at")
        if type(at) is not int:
            return False
        newest = self.newest.get(user)
        if newest is None:
            if len(self.newest) >= REMEMBERED_AUTHORS:
                self.newest.clear()
        elif at < newest:
            return True
        self.newest[user] = at
        return False


class Reader(Peers):
    """Subscribes to inboxes wherever they are, and hands every new body to `show`, once.

    `refused` is called with a user and a reason if there will never be anything to read, and
    `caught_up` once, when all that the inboxes held has been shown.
    """

    def __init__(
        self,
        node: Node,
        users: list[str],
        show: Show,
        refused: Callable[[str, str], None],
        history: int | None = None,
        caught_up: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(node, "inbox")
        self.add_handler(Subscribed, self.on_subscribed)
        self.add_handler(Message, self.on_message)
        self.add_handler(Gap, self.on_gap)
        self.add_handler(Moved, self.on_moved)
        self.add_handler(Unreadable, self.on_unreadable)
        self._places = {f"inbox/{user}": Place(user) for user in users}
        self._show = show
        self._refused = refused
        self._history = history
        self._caught_up = caught_up
        self._behind = set(users)  # whose past has not been shown yet
        self._no_room: dict[str, str] = {}  # by address, why it can't be read at the moment
        self.gaps = 0

    @property
    def is_ready(self) -> bool:
        """Has each inbox answered, and was its past shown? Later barks are new."""
        places = self._places.values()
        return all(place.epoch is not None and place.past is None for place in places)

    @property
    def why_waiting(self) -> str:
        """Why an inbox has no room for this reader at the moment; "" if each has."""
        return next(iter(self._no_room.values()), "")

    def served_by(self, user: str) -> str:
        """The instance that this inbox is read from, once it has answered; "" until then."""
        place = self._places[f"inbox/{user}"]
        return place.asked.name if place.asked and place.answered else ""

    def wanted(self, target: Target) -> bool:
        return any(self._owner(address) == target for address in self._places)

    def _owner(self, address: str) -> Target | None:
        return self.node.routes.choose(address)

    def peers_changed(self) -> None:
        """Subscribe to each inbox at its owner, unless it has our request already."""
        for address, place in self._places.items():
            owner = self._owner(address)
            link = self.peers.get(owner.name) if owner else None
            if link is not place.asked:
                place.asked, place.answered = link, False
                if link:
                    self._subscribe(link, address, place)

    def _subscribe(self, link: Link, address: str, place: Place) -> None:
        wish = Subscribe(address, place.epoch, place.serial, protocol.MAX_COUNT, WINDOW)
        link.send(messages.encode(wish))

    def on_subscribed(self, link: Link, answer: Subscribed) -> None:
        place = self._places.get(answer.address)
        if place is None or place.asked is not link:
            return
        place.answered = True
        self._no_room.pop(answer.address, None)
        place.seen.served_by(link.name, answer.retained or 0)
        if place.epoch is None:
            place.wanted = answer.history if self._history is None else self._history
            place.past = deque(maxlen=min(place.wanted, MAX_PAST))
            place.last = answer.last
        # Also before the first bark: the next owner of the inbox must send the entries behind this
        # place, not those for a new reader.
        changed = place.epoch not in (None, answer.epoch)
        place.epoch = answer.epoch
        place.serial = place.acked = answer.serial
        if changed or place.serial >= place.last:
            self._show_past(place)

    def _show_past(self, place: Place) -> None:
        past, place.past = place.past or (), None
        for fields, late in past:
            self._show(place.user, fields, late)
        if place.user in self._behind:
            self._behind.discard(place.user)
            if not self._behind:
                self._caught_up()

    def on_message(self, link: Link, message: Message) -> None:
        late = set(message.late)
        bodies = strictjson.objects(message.bodies)
        for i, (entry, fields) in enumerate(zip(message.entries(), bodies, strict=True)):
            self._take(link, entry, fields, i in late)

    def _take(self, link: Link, entry: str, fields: dict[str, Any] | None, came_late: bool) -> None:
        """One body, and the inboxes that have it; unreadable ones are skipped."""
        readable = fields is not None and "user" in fields and "id" in fields
        key = (fields["user"], fields["id"]) if fields and readable else None
        for address in addresses_in(entry):
            place = self._places.get(address)
            if place is None or place.asked is not link or not place.answered:
                continue  # an earlier subscription's; the answer to this one sends it again
            place.serial = serial = place.serial + 1
            if serial - place.acked >= WINDOW // 4:
                place.acked = serial
                link.send(messages.encode(Credit(address, serial)))
            if fields and key and place.seen.is_new(key):
                late = place.is_late(fields) or came_late
                if place.past is None:
                    self._show(place.user, fields, late)
                else:
                    place.past.append((fields, late))
            if place.past is not None and serial >= place.last:
                self._show_past(place)

    def on_gap(self, link: Link, gap: Gap) -> None:
        place = self._places.get(gap.address)
        if place and place.asked is link and place.answered:
            place.serial += gap.missed
        self.gaps += 1
        terminal.complain(
            "listen", f"{gap.missed} older messages are no longer kept ({gap.address})"
        )

    def on_moved(self, link: Link, moved: Moved) -> None:
        place = self._places.get(moved.address)
        if place and place.asked is link:
            place.asked = None
            self.node.later(ASK_AGAIN_S, self.peers_changed)

    def on_unreadable(self, link: Link, answer: Unreadable) -> None:
        address, code, reason = answer
        place = self._places.get(address)
        if code not in protocol.READABLE_LATER:
            self._refused(address.partition("/")[2], reason)
        elif place and place.asked is link:
            place.asked = None
            if not self._no_room:
                terminal.complain("listen", f"{link.name} has no room: {reason}; trying again")
                self.node.later(READ_AGAIN_S, self._read_again)
            self._no_room[address] = reason

    def _read_again(self) -> None:
        self.peers_changed()
        if self._no_room:
            self.node.later(READ_AGAIN_S, self._read_again)
