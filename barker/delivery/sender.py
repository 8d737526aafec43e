"""Sender: keeps batches until a receiver has acked them, wherever the route leads.

Every hop of the system sends through here: clients to outboxes, outboxes to bizlogic, bizlogic to
inboxes. A *lane* is a window (`barker.delivery.window`) and the link that it uses at the moment.
Under the policy ``ordered`` there is one lane for the service, and its link is that of the first
working target. Under ``consistent`` there is one lane for each owner. The rest is the effect of
changed links and routes:

* A lane that gets another link sends all unacked batches again, in order, before any new one.
* When the ring changes, unsent batches whose owner has changed are placed anew, and so are all in
  the lane of a target that is gone. Sent and unacked ones stay where they are: their receiver
  accepts them, or refuses them as ``moved``.
* An entry that is refused as ``moved`` is placed anew a moment later, as often as it takes. After a
  ``full`` the lane waits: a full receiver refuses all entries that follow on the way
  (`barker.manifold.intake`). A moment later all of them go out again, in order, before any new one.
* Without targets all batches wait in one lane without a link. Under ``ordered`` that lane gets a
  link with the first target, so a long queue is never placed anew.

`barker.process.peers` keeps the links.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from barker.delivery.batches import Batch
from barker.delivery.lanes import Lane
from barker.delivery.placing import Placing
from barker.links.link import Link
from barker.process.node import Node, log
from barker.process.peers import ASK_AGAIN_S, Peers
from barker.routing.routes import CONSISTENT, Route, Target
from barker.wire import protocol
from barker.wire.ops import Ack, Item, Put, Refuse
from barker.wire.protocol import ProtocolError

J = TypeVar("J")


def report_refusal(one: Batch[J], refusal: Refuse) -> None:
    """For owners that do nothing about a refusal: one line in the log."""
    where = ", ".join(refusal.addresses)
    log.error("refused for good by %s: %s (%s)", where, refusal.reason, refusal.code)


def _any_target(_: Target) -> bool:
    return True


class Sender(Peers, Generic[J]):
    """Batches for one service. `J` is the type by which the sender's owner knows entries.

    `done` is called with batches that receivers have taken over. `refused` is called with a batch
    of one entry that was refused for good, and those of its addresses. Each address of each entry
    comes to one of the two, once. Both are called while a link's batch is handled, and must not
    raise. `is_void` returns whether a job's entries need not be sent any more; `wanted`, whether a
    link to a target is needed.
    """

    def __init__(
        self,
        node: Node,
        service: str,
        done: Callable[[Sequence[Batch[J]]], None],
        refused: Callable[[Batch[J], Refuse], None],
        *,
        is_void: Callable[[J], bool] | None = None,
        wanted: Callable[[Target], bool] = _any_target,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called when links or routes have changed, or deferred entries were sent."""
        super().__init__(node, service)
        self.add_handler(Ack, self.on_ack)
        self.add_handler(Refuse, self.on_refuse)
        self._on_done = done
        self._on_refused = refused
        self._wanted = wanted
        self._changed = changed
        self._placing: Placing[J] = Placing(
            node, service, self._link_for, is_void, self._retry_soon
        )
        self._is_void = is_void
        self._deferred: list[Batch[J]] = []  # refused as another's: to be placed anew
        self._retrying = False
        self._disordered = False  # an entry has moved: lanes are not in order of age any more
        self._placed: Route | None = None  # the route under which lanes were last filled
        self.reached = 0  # addresses in acked entries
        self.again = 0  # entries that their receiver did not ack: they go out again
        self.had_link = False  # from then on, an entry without an answer may have been received
        # The last reason of a receiver that deferred an entry, until one acks.
        self.why_deferred = ""

    # --- for the owner ---

    def __len__(self) -> int:
        """Entries that no receiver has taken over yet."""
        return len(self._placing) + sum(batch.size for batch in self._deferred)

    @property
    def unacked(self) -> int:
        return sum(lane.window.unacked for lane in self._placing.lanes.values())

    def gauges(self) -> dict[str, int]:
        """For the service's agent."""
        return {
            "out": self.reached,
            "backlog": len(self),
            "unacked": self.unacked,
            "again": self.again,
        }

    def oldest(self) -> Iterator[Batch[J]]:
        """Some batches, with the oldest entry among them."""
        self._disordered = self._disordered and bool(len(self))
        # An entry that has moved is behind newer ones, but no further than a window.
        count = 2 * protocol.UNACKED_WINDOW if self._disordered else 1
        for lane in self._placing.lanes.values():
            yield from lane.window.head(count)
        yield from self._placing.waiting
        yield from self._deferred

    def put(self, to: str, item: Item, job: J) -> None:
        """One entry, to addresses with spaces between them. It leaves with the next `pump`."""
        self._placing.put(to, item, job)

    def put_all(self, put: Put, to: Sequence[str], job: J, tail: bytes = b"") -> None:
        """All entries of a put; `to` has the new addresses of each. `tail` is as for `Batch.of`."""
        self._placing.put_all(put, to, job, tail)

    def add(self, batch: Batch[J]) -> None:
        """A finished batch, for the addresses that it has."""
        self._placing.add(batch)

    def pump(self) -> None:
        """Send the entries that were put since the last call, as far as windows allow."""
        for lane in self._placing.lanes.values():
            lane.pump()

    def forget_void(self) -> None:
        """Drop the unsent entries that are void by now."""
        is_void = self._is_void
        if is_void is not None:
            self._placing.forget_void()
            self._deferred = [b for b in self._deferred if not all(map(is_void, b.jobs))]

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
        rewound = False
        for name, lane in self._placing.lanes.items():
            link = self._link_for(name)
            if link is not lane.link:
                if lane.link:
                    # Numbers belong to one connection: its receiver must not go on with batches
                    # that now go to another one.
                    lane.link.abort()
                lane.use(link)
                self.again += lane.window.rewind()
                rewound = True
        if rewound:
            self.forget_void()
        if self._placed is not self.route:
            self._placed = self.route
            self.again += self._placing.route_changed()
        self.pump()
        self._changed()

    # --- answers of receivers ---

    def _lane_of(self, link: Link) -> Lane[J] | None:
        for lane in self._placing.lanes.values():
            if lane.link is link:
                return lane
        return None  # it was ours before a failover; its entries were settled in another way

    def on_ack(self, link: Link, ack: Ack) -> None:
        lane = self._lane_of(link)
        if lane is not None:  # a lane without entries may be due an ack: of refused ones
            try:
                acked = lane.window.ack(ack.seq)
            except ValueError as fault:
                raise ProtocolError(protocol.PROTOCOL, str(fault)) from None
            for batch in acked:
                self.reached += batch.reach
                self.why_deferred = ""
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
        """Entries have left their window: an owner without notice would wait for ever."""
        try:
            tell()
        except Exception:
            self.node.fail("entries are settled, and their owner does not know it")

    def _retry_soon(self) -> None:
        if not self._retrying:
            self._retrying = True
            self.node.later(ASK_AGAIN_S, self._retry)

    def _retry(self) -> None:
        """Deferred entries go in front of all unsent ones, since they are older."""
        self._retrying = False
        is_moved = self._placing.is_split or bool(self._deferred)
        for lane in self._placing.lanes.values():
            self._deferred += lane.window.take_put_off()
            if lane.window.holds_back:  # a sent entry has no answer yet
                self._retry_soon()
        self._disordered = self._disordered or is_moved
        deferred, self._deferred = self._deferred, []
        if deferred:
            self._placing.put_first(deferred)
        self._placing.go_on()
        self.pump()
        self._changed()
