"""Handing over: when the ring changes, timelines go to their new owners.

The entries of a timeline that another inbox now owns are put to that inbox like any barks, but
marked ``old`` and with their first stamps. Until the last of them is acked the timeline stays where
it is. The new owner drops entries that it has already had by another way.

An inbox that is asked to stop changes the ring itself: it unregisters, hands over all its
timelines, and stops when that is done, or when no other inbox is there, or when its time is up. The
rest then stays in its journal and comes when it is back, as after a kill.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from barker.delivery.batches import Batch
from barker.delivery.lanes import SEND_CHUNK
from barker.delivery.sender import Sender
from barker.disk.deadletters import Letter
from barker.manifold.timelines import Entry, Moving, Timeline
from barker.process.node import Node
from barker.process.service import log
from barker.process.slices import Steps
from barker.routing.routes import Target
from barker.wire import protocol
from barker.wire.ops import Refuse
from barker.wire.protocol import BadMessage

# Entries that may be on their way to new owners; the timelines behind them wait.
HANDED_OVER_AT_ONCE = 2 * protocol.UNACKED_WINDOW
# How long an inbox that leaves may take for that: some ten thousand entries a second. Readers miss
# the entries that it can't hand over in this time until it is back.
LEAVE_S = 5.0
# Between two looks at whether it can go.
LEAVE_LOOK_S = 0.02


class HandOver:
    """The way to the other inboxes, for timelines that are theirs now."""

    def __init__(
        self,
        node: Node,
        service: str,
        done: Callable[[Moving], None],
        park: Callable[[Letter, Callable[[], None]], None],
    ) -> None:
        """`done` is called when all of a timeline that was `add`ed is the new owner's.

        `park` keeps the entries that the new owner refuses for good (`Parking.park`).
        """
        self._node = node
        self._moved = done
        self._park = park
        # One of each, however often the ring changes.
        self._queue: OrderedDict[Timeline, Moving] = OrderedDict()
        self._unseen = 0  # timelines still to look at since the ring changed
        self._looking = object()
        self._current: tuple[Moving, Iterator[Entry]] | None = None  # its entries still to put
        self._placing = False
        self._unparked = 0
        self._sender: Sender[Moving] = Sender(
            node,
            service,
            self._done,
            self._refused,
            is_void=lambda moving: moving.void,
            wanted=self._wanted,
            changed=self.go_on,  # void entries were dropped, so others may have room now
        )

    def __len__(self) -> int:
        """Entries on their way, or refused for good and in no file yet."""
        return len(self._sender) + self._unparked

    def _wanted(self, target: Target) -> bool:
        return bool(self.left) and target.name != self._node.name

    @property
    def left(self) -> int:
        """0 if nothing is left to look at or hand over, and nothing is on its way."""
        return self._unseen + len(self._queue) + (self._current is not None) + len(self)

    def look_at(self, timelines: Sequence[Timeline], is_ours: Callable[[str], bool]) -> None:
        """The ring has changed: which timelines are to be handed over now?"""
        self._node.slices.add(self._look_at(timelines, is_ours))

    def _look_at(self, timelines: Sequence[Timeline], is_ours: Callable[[str], bool]) -> Steps:
        self._unseen = len(timelines)
        self._looking = looking = object()
        for timeline in timelines:
            if self._looking is not looking:
                return  # the ring has changed once more, and all are looked at again
            if is_ours(timeline.address):
                timeline.stay()
            elif timeline.moving is None:
                self.add(timeline)
            self._unseen -= 1
            yield
        self._sender.forget_void()  # our own lane has no link, so what is there would stay
        self.go_on()

    def add(self, timeline: Timeline) -> None:
        """Hand this timeline over when its turn comes; see `go_on`."""
        if timeline.entries:
            self._queue[timeline] = timeline.begin_to_move()

    def go_on(self) -> None:
        """Put the next timelines, as soon as there is room for them."""
        if self._queue or self._current:
            self._sender.dial()
            if not self._placing:
                self._placing = True
                self._node.slices.add(self._place())

    def _place(self) -> Steps:
        placed = 0
        try:
            while len(self) < HANDED_OVER_AT_ONCE and (self._current or self._queue):
                self._place_one()
                placed += 1
                if placed % SEND_CHUNK == 0:
                    self._sender.pump()
                yield
        finally:
            self._placing = False
            self._sender.pump()

    def _place_one(self) -> None:
        if self._current is None:
            _, moving = self._queue.popitem(last=False)
            self._current = moving, iter(moving.begin())
        moving, entries = self._current
        entry = None if moving.void else next(entries, None)
        if entry is None:
            self._current = None
            self._one_has_gone(moving)
            return
        try:
            self._sender.put(moving.timeline.address, entry.item(), moving)
        except BadMessage:  # no reader could read it there, either
            self._one_has_gone(moving)

    def _one_has_gone(self, moving: Moving) -> None:
        if moving.one_has_gone():
            self._moved(moving)

    async def leave(self) -> None:
        """Wait until all is handed over, for `LEAVE_S` at most; we are `unserve`d."""
        try:
            async with asyncio.timeout(LEAVE_S):
                while not self.may_go:
                    await asyncio.sleep(LEAVE_LOOK_S)
        except TimeoutError:
            log.warning("left before all was handed over; the rest comes when this one is back")

    @property
    def may_go(self) -> bool:
        """Has a node that leaves nothing more to wait for?"""
        route, node = self._sender.route, self._node
        if not any(target.name != node.name for target in route.targets):
            return True  # no other inbox could take it
        if node.name in route.by_name:
            return not node.has_directory  # with one, the others will learn that we are leaving
        # Neither a directory nor any other inbox: all are being stopped, and none waits.
        return not self.left or not (self._sender.peers or node.has_directory)

    def _refused(self, one: Batch[Moving], refusal: Refuse) -> None:
        _, code, reason, addresses = refusal
        letter = Letter(one.put().bodies[0], addresses, code, reason)
        self._unparked += 1
        self._park(letter, lambda: self._parked(one))

    def _parked(self, one: Batch[Moving]) -> None:
        self._unparked -= 1
        self._done([one])

    def _done(self, batches: Sequence[Batch[Moving]]) -> None:
        for batch in batches:
            for moving in batch.all_jobs:
                self._one_has_gone(moving)
        self.go_on()
