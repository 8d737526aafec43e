"""Upstreams: the outboxes that wait for acks of the puts that a followers service has kept.

An ack goes out when every replica that is waited for has the put, and covers all before it. A join
is checked once more then: its event may have lost the name to another claim meanwhile
(`barker.graph.claims`), or a laggard may not know of it. Then it is refused.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from barker.graph.feed import FOLLOWERS
from barker.links.link import Link
from barker.wire import bodies, messages
from barker.wire.bodies import JOIN, Event
from barker.wire.ops import Put, Refuse
from barker.wire.protocol import BadMessage


class Kept(NamedTuple):
    """All up to number `seq` is kept; it may be acked when all replicas have that serial."""

    seq: int
    serial: int
    joins: Sequence[tuple[int, Event]]  # each with its number


class Upstreams:
    """The acks to come, by link, in order."""

    def __init__(
        self, has_name: Callable[[Event], bool], check_join: Callable[[Event, int], None]
    ) -> None:
        """`has_name`: does this event have the name? `check_join` raises BadMessage if it must not
        be confirmed to its outbox; it is called with the event and the serial of its put."""
        self._has_name = has_name
        self._check_join = check_join
        self._kept: dict[Link, deque[Kept]] = {}

    def link_up(self, link: Link) -> None:
        self._kept[link] = deque()

    def link_down(self, link: Link) -> None:
        self._kept.pop(link, None)

    def add(self, link: Link, put: Put, serial: int) -> None:
        """The entries of this put are kept, if not refused, with that serial at most."""
        self._kept[link].append(Kept(link.received, serial, list(self._joins_in(put))))

    def _joins_in(self, put: Put) -> Iterator[tuple[int, Event]]:
        for seq, body in enumerate(put.bodies, put.seq):
            if b'"join"' in body:
                with contextlib.suppress(BadMessage):
                    event = bodies.check_event(bodies.check_object(body))
                    if event.kind == JOIN and self._has_name(event):
                        yield seq, event

    def ack(self, settled: int) -> None:
        """All replicas have all changes up to there: one ack a link, for the last of them."""
        for link, jobs in self._kept.items():
            done = 0
            while jobs and jobs[0].serial <= settled:
                done, serial, joins = jobs.popleft()
                for seq, event in joins:
                    try:
                        self._check_join(event, serial)
                    except BadMessage as fault:
                        refusal = Refuse(seq, fault.code, fault.reason, [FOLLOWERS])
                        link.send(messages.encode(refusal))
            if done:
                link.ack(done)

    def waiting(self) -> list[tuple[str, int]]:
        """The name of each waiting outbox, and for how many acks."""
        return [(link.name, len(jobs)) for link, jobs in self._kept.items() if jobs]
