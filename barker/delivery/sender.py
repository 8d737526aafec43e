"""Sender: puts that are kept until a receiver has acked them, wherever the route leads.

Every hop of the system sends through here: clients to outboxes, outboxes to bizlogic, bizlogic to
inboxes. A *lane* is a window (`barker.delivery.window`) and the link that it uses at the moment.
Under the policy ``ordered`` there is one lane for the service, and its link is that of the first
target which works; under ``consistent`` there is one lane for each owner. All the rest is what
happens when links and routes change:

* A lane that gets another link sends everything unacked again, in order, before anything new.
* When the ring changes, what was not sent yet is placed anew, and so is all that lay in the lane of
  a target which is gone. What was sent and not acked stays where it is: its owner accepts it, or
  refuses it as ``moved``.
* What is refused as ``moved`` is placed anew a moment later, as often as it takes. After a ``full``
  the lane waits: a full receiver refuses all that is on the way behind it
  (`barker.manifold.intake`), and a moment later all of it goes out again, in order, before anything
  new.
* What has no owner waits until there is one.

The links are `barker.process.peers`'.
"""

import bisect
import contextlib
import functools
from collections import deque
from collections.abc import Iterator, Sequence, Sized
from itertools import accumulate, groupby, islice, repeat
from operator import attrgetter
from typing import NamedTuple, Protocol

from barker.delivery.window import Window
from barker.links.link import Link
from barker.process.faults import contained
from barker.process.node import Node, log
from barker.process.peers import ASK_AGAIN_S, Peers
from barker.routing.routes import CONSISTENT, ORDERED, Route, split
from barker.wire import messages, protocol
from barker.wire.messages import MAX_GROUP_BYTES
from barker.wire.ops import Ack, Item, Put, Refuse
from barker.wire.protocol import ProtocolError

# Puts that are written before we look again at how busy the link is. Of the largest there are, so
# many are less than what a link holds for a peer that does not read.
HANDFUL = 128
# Addresses in lists whose lanes are remembered, so as not to split a busy one again; each costs
# some 80 bytes, and so does a list. Beyond it, start over.
REMEMBERED_ADDRESSES = 500_000


class Job(Protocol):
    """Whose puts these are: `pending` counts them, and is the caller's to count down."""

    pending: int

    @property
    def void(self) -> bool:
        """Nobody waits for it any more: it need not be sent again."""
        ...


class Queued(NamedTuple):
    """One entry of a put on its way to some addresses; `to` is these with spaces between them."""

    to: str
    addresses: Sequence[str]
    job: Job
    item: Item


# As `Queued._make`, without a call of Python for each.
_new_queued = functools.partial(tuple.__new__, Queued)

# What an entry takes in a line besides its addresses, names and body: two counters, some commas.
STAMP_BYTES = 64

_source = attrgetter("item.origin", "item.old")


def _void(queued: Queued) -> bool:
    return queued.job.void


def put_lines(seq: int, queue: Sequence[Queued]) -> Iterator[bytes]:
    """The entries from number `seq` on in as few lines as will hold them."""
    if len(queue) == 1:  # as quiet times have them, when somebody waits for each
        yield messages.encode(Put.of(seq, [queue[0].to], [queue[0].item]))
        return
    to, _, _, items = zip(*queue, strict=True)
    columns = list(zip(*items, strict=True))
    if len(set(columns[1])) > 1 or len(set(columns[7])) > 1:  # two origins, or some handed over
        for _, some in groupby(queue, key=_source):
            group = list(some)
            yield from put_lines(seq, group)
            seq += len(group)
        return
    begin, texts = 0, (to, columns[0], *columns[3:5], columns[6], columns[8])
    while begin < len(to):
        end = begin + _fitting([text[begin:] for text in texts])
        yield messages.encode(Put.of(seq + begin, to[begin:end], items[begin:end]))
        begin = end


def _fitting(texts: Sequence[Sequence[Sized]]) -> int:
    """How many rows of these columns, from the first, one line holds."""
    count = len(texts[0])
    if sum(sum(map(len, text)) for text in texts) + count * STAMP_BYTES <= MAX_GROUP_BYTES:
        return count
    sizes = (sum(map(len, row)) + STAMP_BYTES for row in zip(*texts, strict=True))
    return max(1, bisect.bisect(list(accumulate(sizes)), MAX_GROUP_BYTES))


class _Lane:
    def __init__(self) -> None:
        self.window: Window[Queued] = Window(protocol.UNACKED_WINDOW)
        self.link: Link | None = None

    def pump(self) -> None:
        """Send what may be sent now, in one piece."""
        link = self.link
        if link is None:
            return  # another one will come
        # The window takes for sent what a fault may have kept here; the next link sends it again.
        with contained(link, link.abort):
            while not link.busy:
                seq, queue = self.window.send(HANDFUL)
                if queue:
                    link.write(put_lines(seq, queue))
                if len(queue) < HANDFUL:
                    break


class Delivery(Peers):
    """Puts to one service. The caller fills in `settled`, and `refused` if a line in the log is too
    little.
    """

    def __init__(self, node: Node, service: str) -> None:
        super().__init__(node, service)
        self.add_handler(Ack, self.on_ack)
        self.add_handler(Refuse, self.on_refuse)
        self._lanes: dict[str, _Lane] = {}
        self._homeless: deque[Queued] = deque()
        self._again: list[Queued] = []
        self._pieces: dict[Sequence[str], list[tuple[_Lane, Sequence[str], str]]] = {}
        self._remembered = 0  # addresses in `_pieces`
        self._asking = False
        self._disordered = False  # something was put off: lanes are not in order of age any more
        self._placed: Route | None = None  # the route under which lanes were last filled
        self.done = 0  # puts that were acked, or refused for good
        self.reached = 0  # addresses in those that were acked
        self.again = 0  # puts that whoever had been sent them did not ack: they go out again

    # --- what the caller fills in ---

    def settled(self, jobs: list[Job]) -> None:
        """A receiver took these over: one put less is pending for each time a job is listed."""

    def refused(self, queued: Queued, refusal: Refuse) -> None:
        """One entry was refused for good, for these of its addresses.

        An owner that has acked it, or whose caller waits for it, says here what becomes of it.
        """
        where, code, reason = ", ".join(refusal.addresses), refusal.code, refusal.reason
        log.error("%s will never take this for %s: %s (%s)", self.service, where, reason, code)
        self.settled([queued.job])

    # --- what the caller uses ---

    def __len__(self) -> int:
        """Puts that no receiver has taken over yet."""
        lanes = sum(len(lane.window) for lane in self._lanes.values())
        return lanes + len(self._homeless) + len(self._again)

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

    def oldest(self) -> Iterator[Queued]:
        """The first put of every lane, and all that are in none: the oldest is among them."""
        self._disordered = self._disordered and bool(len(self))
        # What was put off has gone behind newer ones, but no further than a window.
        count = 2 * protocol.UNACKED_WINDOW if self._disordered else 1
        for lane in self._lanes.values():
            yield from lane.window.head(count)
        yield from islice(self._homeless, count)
        yield from self._again

    def put(
        self,
        addresses: tuple[str, ...],
        item: Item,
        job: Job,
        *,
        first: bool = False,
    ) -> None:
        """Hand over to all `addresses`; adds the number of puts it takes to `job.pending`.

        Nothing is sent before `pump`, so that a batch leaves in one piece. With `first` it goes
        before all that was put and has not left yet. What has no addresses is done at once.
        """
        pieces = self._pieces.get(addresses) or self._split(addresses)
        for lane, group, to in pieces:
            queued = _new_queued((to, group, job, item))
            lane.window.add_first(queued) if first else lane.window.add(queued)
            job.pending += 1
        if not pieces and addresses:
            queued = Queued("", addresses, job, item)
            self._homeless.appendleft(queued) if first else self._homeless.append(queued)
            job.pending += 1

    def put_all(
        self, addresses: tuple[str, ...], items: Sequence[Item], jobs: Sequence[Job]
    ) -> None:
        """The same for many to the same addresses, with few calls for all of them."""
        pieces = self._pieces.get(addresses) or self._split(addresses)
        for lane, group, to in pieces:
            rows = zip(repeat(to), repeat(group), jobs, items, strict=False)
            lane.window.extend(map(_new_queued, rows))
        for job, item in zip(jobs, items, strict=True):
            if pieces:
                job.pending += len(pieces)
            else:
                self.put(addresses, item, job)

    def pump(self) -> None:
        """Send all that was put since the last time, as far as windows allow."""
        for lane in self._lanes.values():
            lane.pump()

    def forget_void(self) -> None:
        """Drop what has not been sent and is void by now."""
        for lane in self._lanes.values():
            lane.window.discard_waiting(_void)
        self._homeless = deque(q for q in self._homeless if not q.job.void)
        self._again = [q for q in self._again if not q.job.void]

    # --- placing ---

    def _split(self, addresses: tuple[str, ...]) -> list[tuple[_Lane, Sequence[str], str]]:
        """By lane, which of the addresses it takes; nothing if the service has no targets."""
        route = self.route
        groups: dict[str, list[str]] = {}
        if route.targets:
            for address in addresses:
                owner = route.owner(split(address)[1]) if route.policy == CONSISTENT else None
                groups.setdefault(owner.name if owner else "", []).append(address)
        pieces: list[tuple[_Lane, Sequence[str], str]] = []
        for name, group in groups.items():
            lane = self._lanes[name] if name in self._lanes else self._new_lane(name)
            for i in range(0, len(group), protocol.MAX_ADDRESSES):
                some = tuple(group[i : i + protocol.MAX_ADDRESSES])
                pieces.append((lane, some, " ".join(some)))
        if pieces:
            self._remembered += len(addresses) + 1
            if self._remembered > REMEMBERED_ADDRESSES:
                self._pieces.clear()
                self._remembered = 0
            self._pieces[addresses] = pieces
        return pieces

    def _new_lane(self, name: str) -> _Lane:
        lane = self._lanes[name] = _Lane()
        lane.link = self._link_for(name)
        return lane

    def _replace(self, waiting: deque[Queued], *, first: bool = False) -> None:
        """Place puts anew that were placed before; each counts once in its job's `pending`.

        None is forgotten by an exception: what is left over then is tried again in a moment.
        """
        try:
            while waiting:
                _, addresses, job, item = waiting[0]
                if not job.void:
                    self.put(tuple(addresses), item, job, first=first)
                    job.pending -= 1
                waiting.popleft()
        except Exception:
            self._again[:0] = reversed(waiting) if first else waiting
            self._ask_again_soon()
            raise

    def _link_for(self, lane_name: str) -> Link | None:
        if self.route.policy == CONSISTENT:
            return self.peers.get(lane_name)
        first = self.route.first(lambda t: t.name in self.peers)
        return self.peers[first.name] if first else None

    def peers_changed(self) -> None:
        for name, lane in self._lanes.items():
            link = self._link_for(name)
            if link is not lane.link:
                if lane.link:
                    # Numbers belong to one connection, and whoever is at its other end must not
                    # go on with what we now hand to somebody else.
                    lane.link.abort()
                lane.link = link
                self.again += lane.window.rewind()
                lane.window.discard_waiting(_void)
        if self._placed is not self.route:
            self._place_all()
        self.pump()

    def _place_all(self) -> None:
        """The route is another one: place everything anew that no live owner has been sent."""
        self._placed = self.route
        self._pieces.clear()
        puts: deque[Queued] = deque()
        for name, lane in list(self._lanes.items()):
            if not name and self.route.policy == ORDERED:
                continue  # one lane for all, whoever the targets are: a long queue stays as it is
            puts += lane.window.take_waiting()
            if self.route.policy == CONSISTENT and name not in self.route.by_name:
                self.again += lane.window.rewind()
                puts.extendleft(reversed(lane.window.take_waiting()))
                del self._lanes[name]
        puts += self._homeless
        self._homeless.clear()
        self._replace(puts)

    # --- what peers say ---

    def _lane_of(self, link: Link) -> _Lane | None:
        for lane in self._lanes.values():
            if lane.link is link:
                return lane
        return None  # it was ours before a failover; what it says now was settled otherwise

    def on_ack(self, link: Link, ack: Ack) -> None:
        lane = self._lane_of(link)
        if lane:
            try:
                acked = lane.window.ack(ack.seq)
            except ValueError as fault:
                raise ProtocolError(protocol.PROTOCOL, str(fault)) from None
            self.done += len(acked)
            self.reached += sum([len(queued.addresses) for queued in acked])
            with self._settling():
                self.settled([queued.job for queued in acked])
            lane.pump()

    def on_refuse(self, link: Link, refusal: Refuse) -> None:
        lane = self._lane_of(link)
        if lane:
            try:
                queued = lane.window.refuse(refusal.seq)
            except ValueError as fault:
                raise ProtocolError(protocol.PROTOCOL, str(fault)) from None
            if queued:
                self._refused(lane, queued, refusal)

    @contextlib.contextmanager
    def _settling(self) -> Iterator[None]:
        """A put has left its window: if its owner does not come to know, it waits for ever."""
        try:
            yield
        except Exception:
            self.node.fail("puts are settled, and their owner does not know it")

    def _refused(self, lane: _Lane, queued: Queued, refusal: Refuse) -> None:
        if refusal.code not in protocol.RETRYABLE:
            self.done += 1
            with self._settling():
                self.refused(queued, refusal)
            return
        log.debug("%s asks again: %s", self.service, refusal)
        asked = tuple(a for a in queued.addresses if a in refusal.addresses) or queued.addresses
        again = queued._replace(addresses=asked)
        if refusal.code == protocol.FULL:
            lane.window.put_off(refusal.seq, again)
        else:
            self._again.append(again)
        self._ask_again_soon()

    def _ask_again_soon(self) -> None:
        if not self._asking:
            self._asking = True
            self.node.later(ASK_AGAIN_S, self._ask_again)

    def _ask_again(self) -> None:
        """Everything that was put off goes before all that was not sent yet, since it is older."""
        self._asking = False
        for lane in self._lanes.values():
            self._again += lane.window.take_put_off()
            if lane.window.holds_back:  # something that was sent has no answer yet
                self._ask_again_soon()
        self._disordered = True
        again, self._again = deque(reversed(self._again)), []
        self._replace(again, first=True)
        self.pump()
