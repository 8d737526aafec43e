"""Sender: batches that are kept until a receiver has acked them, wherever the route leads.

Every hop of the system sends through here: clients to outboxes, outboxes to bizlogic, bizlogic to
inboxes. A *lane* is a window (`barker.delivery.window`) and the link that it uses at the moment.
Under the policy ``ordered`` there is one lane for the service, and its link is that of the first
target which works; under ``consistent`` there is one lane for each owner. All the rest is what
happens when links and routes change:

* A lane that gets another link sends everything unacked again, in order, before anything new.
* When the ring changes, batches that were not sent yet are placed anew if their owner is another
  one now, and so is all that lay in the lane of a target which is gone. What was sent and not acked
  stays where it is: its owner accepts it, or refuses it as ``moved``.
* What is refused as ``moved`` is placed anew a moment later, as often as it takes. After a ``full``
  the lane waits: a full receiver refuses all that is on the way behind it
  (`barker.manifold.intake`), and a moment later all of it goes out again, in order, before anything
  new.
* Without targets everything waits in one lane without a link. Under ``ordered`` that is the lane
  which gets a link with the first target, so a long queue is never placed anew.

The links are `barker.process.peers`'.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from barker.delivery.batches import Batch, fitting
from barker.delivery.lanes import Lane
from barker.links.link import Link
from barker.process.node import Node, log
from barker.process.peers import ASK_AGAIN_S, Peers
from barker.routing.routes import CONSISTENT, Route, Target, split
from barker.wire import protocol
from barker.wire.ops import Ack, Item, Put, Refuse
from barker.wire.protocol import ProtocolError

J = TypeVar("J")

# Addresses in entries of `to` whose lanes are remembered, so as not to split a busy one again; each
# costs some 80 bytes, and so does an entry. Beyond it, start over.
REMEMBERED_ADDRESSES = 500_000


def report_refusal(one: Batch[J], refusal: Refuse) -> None:
    """For owners that nothing follows from it for: one line in the log."""
    where = ", ".join(refusal.addresses)
    log.error("refused for good by %s: %s (%s)", where, refusal.reason, refusal.code)


def _never(_: object) -> bool:
    return False


def _any_target(_: Target) -> bool:
    return True


def _once(to: Sequence[str]) -> Sequence[str]:
    """One entry for all, if they are the same."""
    return to[:1] if to.count(to[0]) == len(to) else to


class Sender(Peers, Generic[J]):
    """Batches for one service. `J` is what the owner of the sender knows entries by.

    `done` is called with batches that receivers have taken over. `refused` is called with a batch
    of one entry that was refused for good, for these of its addresses. Each address of each entry
    comes to one of the two, once. Both are called from a link's batch, and must not raise.
    `is_void` says of a job that its entries need not be sent any more. `wanted` says of a target
    whether a link to it is needed.
    """

    def __init__(
        self,
        node: Node,
        service: str,
        done: Callable[[Sequence[Batch[J]]], None],
        refused: Callable[[Batch[J], Refuse], None],
        *,
        is_void: Callable[[J], bool] = _never,
        wanted: Callable[[Target], bool] = _any_target,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called when links or routes have changed, or deferred entries were sent."""
        super().__init__(node, service)
        self.add_handler(Ack, self.on_ack)
        self.add_handler(Refuse, self.on_refuse)
        self._on_done = done
        self._on_refused = refused
        self._is_void = is_void
        self._wanted = wanted
        self._changed = changed
        self._lanes: dict[str, Lane[J]] = {}
        self._deferred: list[Batch[J]] = []  # refused as another's: to be placed anew
        self._pieces: dict[str, list[tuple[Lane[J], str]]] = {}
        self._whole: dict[str, Lane[J]] = {}  # ... of the same, those that go to one lane
        self._remembered = 0  # addresses in `_pieces`
        self._retrying = False
        self._disordered = False  # something has moved: lanes are not in order of age any more
        self._placed: Route | None = None  # the route under which lanes were last filled
        self.reached = 0  # addresses in those that were acked
        self.again = 0  # entries that their receiver did not ack: they go out again
        self.had_link = False  # from then on, an entry without an answer may have been taken
        self.why_deferred = ""  # the last reason of a receiver that refused for the moment

    # --- what the owner uses ---

    def __len__(self) -> int:
        """Entries that no receiver has taken over yet."""
        return sum(map(len, self._lanes.values())) + sum(batch.size for batch in self._deferred)

    @property
    def unacked(self) -> int:
        return sum(lane.window.unacked for lane in self._lanes.values())

    def gauges(self) -> dict[str, int]:
        """For the service's agent."""
        return {
            "out": self.reached,
            "backlog": len(self),
            "unacked": self.unacked,
            "again": self.again,
        }

    def oldest(self) -> Iterator[Batch[J]]:
        """Batches among which the oldest entry is."""
        self._disordered = self._disordered and bool(len(self))
        # What has moved has gone behind newer ones, but no further than a window.
        count = 2 * protocol.UNACKED_WINDOW if self._disordered else 1
        for lane in self._lanes.values():
            yield from lane.window.head(count)
        yield from self._deferred

    def put(self, to: str, item: Item, job: J) -> None:
        """One entry, to addresses with spaces between them. It leaves with the next `pump`."""
        for lane, some in self._pieces.get(to) or self._split(to):
            lane.rows.append((some, item, job))

    def put_all(self, put: Put, to: Sequence[str], job: J, tail: bytes = b"") -> None:
        """All entries of a put; `to` has the new addresses of each. `tail` is as for `Batch.of`."""
        only = {*map(self._whole.get, to)}
        if len(only) == 1 and (one := only.pop()) is not None:
            self._add(one, put._replace(to=_once(to)), [job], tail)
            return
        lanes: dict[Lane[J], tuple[list[int], list[str]]] = {}
        pieces_of = self._pieces.get
        for place, entry in enumerate(to):
            for lane, some in pieces_of(entry) or self._split(entry):
                found = lanes.get(lane)
                if found is None:
                    found = lanes[lane] = ([], [])
                found[0].append(place)
                found[1].append(some)
        for lane, (places, entries) in lanes.items():
            if places == [*range(len(to))]:
                self._add(lane, put._replace(to=_once(entries)), [job], tail)
            else:
                self._add(lane, put.select(places)._replace(to=_once(entries)), [job])

    def add(self, batch: Batch[J]) -> None:
        """A batch that is one already, to the addresses that it has."""
        lane = self._whole.get(batch.to[0]) if len(batch.to) == 1 else None
        if lane is not None:
            lane.add(batch)
        else:
            self._place(batch)

    def pump(self) -> None:
        """Send all that was put since the last time, as far as windows allow."""
        for lane in self._lanes.values():
            lane.pump()

    def forget_void(self) -> None:
        """Drop what has not been sent and is void by now."""
        for lane in self._lanes.values():
            self._discard_void(lane)
        self._deferred = [batch for batch in self._deferred if not self._all_void(batch)]

    def _discard_void(self, lane: Lane[J]) -> None:
        if self._is_void is not _never:  # else, that would take long for a long queue
            lane.window.discard_waiting(self._all_void)

    def _all_void(self, batch: Batch[J]) -> bool:
        return all(map(self._is_void, batch.jobs))

    @staticmethod
    def _add(lane: Lane[J], put: Put, jobs: Sequence[J], tail: bytes = b"") -> None:
        for batch in fitting(put, jobs, tail):
            lane.add(batch)

    # --- placing ---

    @property
    def _is_split(self) -> bool:
        """Is there more than one lane, for each owner one?"""
        return self.route.policy == CONSISTENT and bool(self.route.targets)

    def _lane(self, name: str) -> Lane[J]:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane()
            lane.use(self._link_for(name))
        return lane

    def _split(self, to: str) -> list[tuple[Lane[J], str]]:
        """By lane, which of the addresses it takes."""
        groups: dict[str, list[str]] = {}
        for address in to.split(" "):  # they may be more than a put has
            owner = self.route.owner(split(address)[1]) if self._is_split else None
            groups.setdefault(owner.name if owner else "", []).append(address)
        pieces = [
            (self._lane(name), " ".join(group[i : i + protocol.MAX_ADDRESSES]))
            for name, group in groups.items()
            for i in range(0, len(group), protocol.MAX_ADDRESSES)
        ]
        self._remembered += sum(map(len, groups.values())) + 1
        if self._remembered > REMEMBERED_ADDRESSES:
            self._forget_places()
        self._pieces[to] = pieces
        if len(pieces) == 1:
            self._whole[to] = pieces[0][0]
        return pieces

    def _forget_places(self) -> None:
        self._pieces.clear()
        self._whole.clear()
        self._remembered = 0

    def _only_lane(self, to: Sequence[str]) -> Lane[J] | None:
        """The lane that all of them belong to; None if there are several."""
        if not self._is_split:
            lane = self._lane("")
            if len(to) == 1:
                self._whole[to[0]] = lane
            return lane
        lanes = {id(lane): lane for entry in {*to} for lane, _ in self._pieces_of(entry)}
        return lanes.popitem()[1] if len(lanes) == 1 else None

    def _pieces_of(self, to: str) -> list[tuple[Lane[J], str]]:
        return self._pieces.get(to) or self._split(to)

    def _place(self, batch: Batch[J], *, first: bool = False) -> None:
        lane = self._only_lane(batch.to)
        if lane is not None:
            lane.window.add_first(batch) if first else lane.add(batch)
            return
        put, to = batch.put(), batch.to
        lanes: dict[Lane[J], list[Batch[J]]] = {}
        for place in range(batch.size):
            if self._is_void(batch.job(place)):
                continue
            for lane, some in self._pieces_of(to[place if len(to) > 1 else 0]):
                one = put.select([place])._replace(to=[some])
                lanes.setdefault(lane, []).append(Batch.of(one, [batch.job(place)]))
        for lane, some_batches in lanes.items():
            for one_batch in reversed(some_batches) if first else some_batches:
                lane.window.add_first(one_batch) if first else lane.add(one_batch)

    def _place_again(self, waiting: deque[Batch[J]], *, first: bool = False) -> None:
        """Place batches that were placed before.

        None is forgotten by an exception: what is left over then is tried again in a moment.
        """
        try:
            while waiting:
                if not self._all_void(waiting[0]):
                    self._place(waiting[0], first=first)
                waiting.popleft()
        except Exception:
            self._deferred[:0] = reversed(waiting) if first else waiting
            self._retry_soon()
            raise

    def _link_for(self, lane_name: str) -> Link | None:
        if self.route.policy == CONSISTENT:
            return self.peers.get(lane_name)
        first = self.route.first(lambda t: t.name in self.peers)
        return self.peers[first.name] if first else None

    # --- links and routes ---

    def wanted(self, target: Target) -> bool:
        return self._wanted(target)

    def link_up(self, link: Link) -> None:
        self.had_link = True
        super().link_up(link)

    def peers_changed(self) -> None:
        for name, lane in self._lanes.items():
            link = self._link_for(name)
            if link is not lane.link:
                if lane.link:
                    # Numbers belong to one connection, and the receiver at its other end must not
                    # go on with what now goes to another one.
                    lane.link.abort()
                lane.use(link)
                self.again += lane.window.rewind()
                self._discard_void(lane)
        if self._placed is not self.route:
            self._place_all()
        self.pump()
        self._changed()

    def _place_all(self) -> None:
        """The route is another one: what has not been sent, and moves by that, moves."""
        self._placed = self.route
        self._forget_places()
        waiting: deque[Batch[J]] = deque()
        for name, lane in list(self._lanes.items()):
            lane.seal()
            if not self._is_split and not name:
                continue  # one queue, with a link or without
            if not self._is_split or name not in self.route.by_name:
                self.again += lane.window.rewind()
                del self._lanes[name]
            # All of it: where a part of a batch moves, nothing may overtake its other part.
            waiting += lane.window.take_waiting()
        self._place_again(waiting)

    # --- what receivers answer ---

    def _lane_of(self, link: Link) -> Lane[J] | None:
        for lane in self._lanes.values():
            if lane.link is link:
                return lane
        return None  # it was ours before a failover; what it says now was settled otherwise

    def on_ack(self, link: Link, ack: Ack) -> None:
        lane = self._lane_of(link)
        if lane is not None:  # one without entries may be owed an ack: of what was refused
            try:
                acked = lane.window.ack(ack.seq)
            except ValueError as fault:
                raise ProtocolError(protocol.PROTOCOL, str(fault)) from None
            for batch in acked:
                self.reached += batch.reach
            self._settle(lambda: self._on_done(acked))
            lane.pump()

    def on_refuse(self, link: Link, refusal: Refuse) -> None:
        lane = self._lane_of(link)
        if lane is not None:
            try:
                self._refused(lane, refusal)
            except ValueError as fault:
                raise ProtocolError(protocol.PROTOCOL, str(fault)) from None

    def _refused(self, lane: Lane[J], refusal: Refuse) -> None:
        if refusal.code in protocol.RETRYABLE:
            self.why_deferred = refusal.reason
            log.debug("%s is to be sent again: %s", self.service, refusal)
            self._retry_soon()
            if refusal.code == protocol.FULL and lane.window.put_off(
                refusal.seq, refusal.addresses
            ):
                return
        one = lane.window.refuse(refusal.seq, refusal.addresses)
        if one is None:
            return
        if refusal.code in protocol.RETRYABLE:
            self._deferred.append(one)
            return
        self._settle(lambda: self._on_refused(one, refusal))

    def _settle(self, tell: Callable[[], None]) -> None:
        """Entries have left their window: an owner that does not know it would wait for ever."""
        try:
            tell()
        except Exception:
            self.node.fail("entries are settled, and their owner does not know it")

    def _retry_soon(self) -> None:
        if not self._retrying:
            self._retrying = True
            self.node.later(ASK_AGAIN_S, self._retry)

    def _retry(self) -> None:
        """All that was deferred goes before all that was not sent yet, since it is older."""
        self._retrying = False
        is_moved = self._is_split or bool(self._deferred)
        for lane in self._lanes.values():
            self._deferred += lane.window.take_put_off()
            if lane.window.holds_back:  # something that was sent has no answer yet
                self._retry_soon()
        self._disordered = self._disordered or is_moved
        deferred, self._deferred = deque(reversed(self._deferred)), []
        self._place_again(deferred, first=True)
        self.pump()
        self._changed()
