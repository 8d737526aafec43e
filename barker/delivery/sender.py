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
    """For owners that nothing follows from it for: one line in the log."""
    where = ", ".join(refusal.addresses)
    log.error("refused for good by %s: %s (%s)", where, refusal.reason, refusal.code)


def _any_target(_: Target) -> bool:
    return True


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
        self._disordered = False  # something has moved: lanes are not in order of age any more
        self._placed: Route | None = None  # the route under which lanes were last filled
        self.reached = 0  # addresses in those that were acked
        self.again = 0  # entries that their receiver did not ack: they go out again
        self.had_link = False  # from then on, an entry without an answer may have been taken
        # The last reason of a receiver that refused for the moment, until one acks.
        self.why_deferred = ""

    # --- what the owner uses ---

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
        """Batches among which the oldest entry is."""
        self._disordered = self._disordered and bool(len(self))
        # What has moved has gone behind newer ones, but no further than a window.
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
        """A batch that is one already, to the addresses that it has."""
        self._placing.add(batch)

    def pump(self) -> None:
        """Send all that was put since the last time, as far as windows allow."""
        for lane in self._placing.lanes.values():
            lane.pump()

    def forget_void(self) -> None:
        """Drop what has not been sent and is void by now."""
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
                    # Numbers belong to one connection, and the receiver at its other end must not
                    # go on with what now goes to another one.
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

    # --- what receivers answer ---

    def _lane_of(self, link: Link) -> Lane[J] | None:
        for lane in self._placing.lanes.values():
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
        is_moved = self._placing.is_split or bool(self._deferred)
        for lane in self._placing.lanes.values():
            self._deferred += lane.window.take_put_off()
            if lane.window.holds_back:  # something that was sent has no answer yet
                self._retry_soon()
        self._disordered = self._disordered or is_moved
        deferred, self._deferred = self._deferred, []
        if deferred:
            self._placing.put_first(deferred)
        self._placing.go_on()
        self.pump()
        self._changed()
