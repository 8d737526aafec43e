"""The business logic: who gets a bark.

Its author, everyone who follows the author, and everyone mentioned in it who exists. One `put`
goes to each inbox instance with the list of all its addresses, and an outbox gets its ack when all
of them have acked. So an unacked bark is still the outbox's, and a bizlogic that dies loses
nothing: it has nothing.

All traffic goes to the first instance (policy ``ordered``). When an outbox's link breaks, the
outbox sends everything unacked again, here or to the next instance; so whatever a dead link had
brought is forgotten here rather than sent on late. What an inbox refuses for good is refused to the
outbox, which keeps it as a dead letter; so is a bark whose handling has ended several links
(`barker.delivery.poison`).

Who follows whom it knows by its own copy of the graph (`barker.graph.feed`). It registers when it
has the first one, and works on with the last one while no followers service is there.
"""

import argparse
import sys
import typing  # 3.6 has no Protocol to import, and is to come to the check of barker/__init__.py
from collections import deque
from collections.abc import Collection, Sequence
from itertools import count
from typing import Any, ClassVar

from barker.delivery.poison import Suspects
from barker.delivery.sender import Delivery, Job, Queued
from barker.graph.feed import GRAPH, Feed
from barker.graph.graph import Change, Graph
from barker.links.link import Link
from barker.process.agent import deepest
from barker.process.service import Service, run_service
from barker.process.terminal import python
from barker.routing.routes import ORDERED
from barker.wire import messages, protocol
from barker.wire.fields import addresses_in
from barker.wire.ops import Item, Put, Refuse
from barker.wire.protocol import BAD_MESSAGE, BadMessage, ProtocolError


class Upstream:
    """One outbox's link, and its lines in the order in which they are to be acked."""

    __slots__ = ("closed", "jobs", "link")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.jobs: deque[FanOut] = deque()
        self.closed = False

    @property
    def unacked(self) -> int:
        return self.link.received - self.link.acked

    def ack(self) -> None:
        """Ack all lines at the front that every inbox has: one ack, for the last bark of them."""
        jobs, done = self.jobs, 0
        while jobs and not jobs[0].pending:
            done = jobs.popleft().last
        if done:
            self.link.ack(done)


class FanOut:
    """The barks of one line, up to number `last`, on their way in `pending` puts to inboxes."""

    __slots__ = ("last", "pending", "stamps", "upstream")

    def __init__(self, upstream: Upstream, last: int, stamps: Sequence[int]) -> None:
        """`stamps` are the counters of the barks, in order."""
        self.pending = 0
        self.last = last
        self.stamps = stamps
        self.upstream = upstream

    def seq_of(self, stamp: int) -> int:
        """The number, on the outbox's link, of the bark with that counter."""
        return self.last - len(self.stamps) + 1 + self.stamps.index(stamp)

    @property
    def void(self) -> bool:
        return self.upstream.closed


class Followed(typing.Protocol):
    """What is asked of a graph here."""

    def __contains__(self, user: object) -> bool: ...
    def followers(self, author: str) -> Collection[str]: ...


class Targets:
    """Whose inboxes a bark goes to, by the graph as it is now."""

    def __init__(self, graph: Followed | None) -> None:
        """Without a graph, every bark is refused as ``full``: ask again."""
        self._graph = graph
        self._followers: dict[str, tuple[str, ...]] = {}

    def of(self, item: Item) -> tuple[str, ...]:
        """Addresses, each once. Raises BadMessage as long as there is no graph."""
        author = item.user
        graph = self._graph
        if graph is None:
            raise BadMessage(protocol.FULL, "who follows whom is not known here yet")
        addresses = self._followers.get(author)
        if addresses is None:
            # Whom the graph lacks has joined a moment ago: the outbox has seen to that.
            readers = dict.fromkeys((author, *graph.followers(author)))
            addresses = self._followers[author] = tuple(f"inbox/{r}" for r in readers)
        if item.named:
            named = [f"inbox/{m}" for m in item.named.split(" ") if m in graph]
            addresses = tuple(dict.fromkeys((*addresses, *named)))
        return addresses

    def forget(self, author: str) -> None:
        """Somebody follows this author now, or no longer."""
        self._followers.pop(author, None)


class Copy(Feed[Graph]):
    """Our copy of the graph."""

    def __init__(self, logic: "BizLogic") -> None:
        super().__init__(logic, Graph)
        self._logic = logic

    def changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._logic.targets.forget(change.whom)

    def replaced(self) -> None:
        self._logic.graph_came(self.held)


ABOUT = """\
Run the business logic, which finds the readers of each bark, and sends it to their inboxes. Of
several, the first one works, and the others are spares.
"""
EXAMPLES = (
    "--port 5680",
    "--port 5681",
)


class BizLogic(Service):
    kind = "bizlogic"
    default_port = 5680
    needs: ClassVar = {GRAPH: "followers"}

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.add_handler(Put, self.on_put)
        self.targets = Targets(None)
        self._copy = Copy(self)
        self._serving = False
        self._inboxes = Inboxes(self, "inbox")
        self._suspects = Suspects()
        self._upstreams: dict[Link, Upstream] = {}
        self._received = 0  # over links that have gone

    def graph_came(self, graph: Graph) -> None:
        """A whole graph: from now on, this is the one that counts. With the first, we can serve."""
        self.targets = Targets(graph)
        if not self._serving:
            self._serving = True
            self.serve("bizlogic", ORDERED)

    def lacks(self) -> str:
        missing = super().lacks()
        if not missing and len(self._inboxes) and not self._inboxes.route.targets:
            return f"barks wait for an inbox; `{python()} -m barker.inbox` starts one"
        return missing

    def link_up(self, link: Link) -> None:
        self._upstreams[link] = Upstream(link)

    def on_put(self, link: Link, put: Put) -> None:
        upstream = self._upstreams[link]
        link.count_puts(put.seq, len(put.bodies))
        if put.trace:
            self.note_traces(put.trace)
        if upstream.unacked > protocol.UNACKED_WINDOW:
            raise ProtocolError(
                protocol.PROTOCOL, f"over {protocol.UNACKED_WINDOW} puts are unacked"
            )
        job = FanOut(upstream, link.received, put.n or ())
        upstream.jobs.append(job)
        check = self._suspects.check if self._suspects else None
        for seq, entry, item in zip(count(put.seq), put.entries(), put.items(), strict=False):
            try:
                if check:
                    check(item.body)
                if item.origin is None:
                    raise BadMessage(BAD_MESSAGE, "barks come through an outbox, which stamps them")
                self._inboxes.put(self.targets.of(item), item, job)
            except BadMessage as fault:
                refusal = Refuse(seq, fault.code, fault.reason, addresses_in(entry))
                link.send(messages.encode(refusal))
            except Exception as fault:
                self._suspects.blame(item.body, fault)
                raise

    def batch_end(self, link: Link) -> None:
        self._inboxes.pump()
        upstream = self._upstreams.get(link)
        if upstream:
            upstream.ack()  # of what was refused, for which no inbox will answer

    def link_down(self, link: Link) -> None:
        upstream = self._upstreams.pop(link, None)
        if upstream:
            upstream.closed = True
        self._inboxes.forget_void()
        self._received += link.received

    def gauges(self) -> dict[str, Any]:
        upstreams = [(u.link.name, u.unacked) for u in self._upstreams.values() if u.unacked]
        return {
            **super().gauges(),
            **self._inboxes.gauges(),
            "in": self._received + sum(link.received for link in self._upstreams),
            "streams": len(upstreams),
            "edges": self._copy.held.edges,
            "deepest": deepest(upstreams),
        }


class Inboxes(Delivery):
    """The way from here to all inboxes."""

    def settled(self, jobs: list[Job]) -> None:
        upstreams: dict[Upstream, None] = {}
        for job in jobs:
            assert isinstance(job, FanOut)
            job.pending -= 1
            upstreams[job.upstream] = None
        for upstream in upstreams:
            upstream.ack()

    def refused(self, queued: Queued, refusal: Refuse) -> None:
        job = queued.job
        assert isinstance(job, FanOut)
        where, *more = refusal.addresses
        where += f" and {len(more)} more" if more else ""
        ours = refusal._replace(
            seq=job.seq_of(queued.item.n),
            reason=f"{where}: {refusal.reason}"[:500],
            addresses=["bizlogic"],
        )
        job.upstream.link.send(messages.encode(ours))
        self.settled([job])


def main(argv: list[str] | None = None) -> int:
    return run_service(BizLogic, "bizlogic", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
