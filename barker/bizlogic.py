"""The business logic: finds the readers of a bark.

These are its author, all followers of the author, and all existing users that it mentions. One
`put` goes to each inbox instance with the list of all its addresses, and an outbox gets its ack
when all of them have acked. So an unacked bark is still the outbox's, and a bizlogic that dies
loses nothing: it keeps nothing.

All traffic goes to the first instance (policy ``ordered``). When an outbox's link breaks, the
outbox sends all unacked barks again, here or to the next instance; so the barks of a dead link are
forgotten here rather than sent on late. A bark that an inbox refuses for good is refused to the
outbox, which keeps it as a dead letter; so is a bark whose handling has ended several links
(`barker.delivery.poison`).

It knows the followers by its own copy of the graph (`barker.graph.feed`). It registers when it has
the first one, and works on with the last one while no followers service is there. After a stall in
which peers have ended links, follows may be in force that it does not know. So it leaves barks to
others until its copy is renewed.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import sys
import typing  # 3.6 has no Protocol to import, and is to come to the check of barker/__init__.py
from collections import deque
from collections.abc import Collection, Sequence
from itertools import repeat
from typing import Any, ClassVar

from barker.delivery.batches import Batch, reach_of
from barker.delivery.poison import Suspects
from barker.delivery.sender import Sender
from barker.graph.feed import GRAPH, Feed
from barker.graph.graph import Change, Graph
from barker.links.link import Link
from barker.process.agent import deepest
from barker.process.health import Health
from barker.process.service import Service, run_service
from barker.process.terminal import python
from barker.routing.routes import ORDERED
from barker.wire import messages, protocol
from barker.wire.fields import addresses_in
from barker.wire.ops import Put, Refuse
from barker.wire.protocol import BAD_MESSAGE, BadMessage, ProtocolError

# After a stall, so long it waits for its copy to be renewed. Then it works on with the last one.
RENEWED_HEARTBEATS = 3.0
# Characters of followers' addresses that are remembered, for the authors that have barked; beyond
# it, all are forgotten.
REMEMBERED_CHARS = 100_000_000


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
    """The barks of one line, up to number `last`, on their way to `pending` addresses."""

    __slots__ = ("last", "numbers", "pending", "upstream")

    def __init__(self, upstream: Upstream, last: int, numbers: Sequence[int]) -> None:
        """`numbers` are the counters of the barks, in order."""
        self.pending = 0
        self.last = last
        self.numbers = numbers
        self.upstream = upstream

    def seq_of(self, n: int) -> int:
        """The number, on the outbox's link, of the bark with that counter."""
        return self.last - len(self.numbers) + 1 + self.numbers.index(n)

    @property
    def void(self) -> bool:
        """The link is closed: its outbox sends the barks again."""
        return self.upstream.closed


class FollowerLookup(typing.Protocol):
    """The part of a graph that bizlogic needs."""

    def __contains__(self, user: object) -> bool: ...
    def followers(self, author: str) -> Collection[str]: ...


class Recipients:
    """The addresses of a bark, by the graph as it is now."""

    def __init__(self, graph: FollowerLookup | None) -> None:
        """Without a graph, every bark is refused as ``full``: its outbox tries again."""
        self._graph = graph
        self._followers: dict[str, str] = {}
        self._chars = 0  # of addresses in it

    def of(self, author: str, named: str = "") -> str:
        """Addresses, each once, with spaces between them: of the author, all followers, and the
        users `named` that exist. Raises BadMessage as long as there is no graph."""
        graph = self._graph
        if graph is None:
            raise BadMessage(protocol.FULL, "who follows whom is not known here yet")
        addresses = self._followers.get(author)
        if addresses is None:
            # A user that the graph lacks has joined a moment ago: the outbox has seen to that.
            readers = dict.fromkeys((author, *graph.followers(author)))
            addresses = "inbox/" + " inbox/".join(readers)
            self._remember(author, addresses)
        if named:
            exist = [f"inbox/{user}" for user in named.split(" ") if user in graph]
            addresses = " ".join(dict.fromkeys((*addresses.split(" "), *exist)))
        return addresses

    def _remember(self, author: str, addresses: str) -> None:
        self._chars += len(addresses)
        if self._chars > REMEMBERED_CHARS:
            self._followers.clear()
            self._chars = len(addresses)
        self._followers[author] = addresses

    def known(self, authors: Sequence[str]) -> Sequence[str] | None:
        """The same for many barks that name no user; None: call `of` for each."""
        found = [*map(self._followers.get, authors)]
        return None if None in found else found  # type: ignore[return-value]

    def forget(self, author: str) -> None:
        """The followers of this author have changed."""
        self._chars -= len(self._followers.pop(author, ""))


class Copy(Feed[Graph]):
    """Our copy of the graph."""

    def __init__(self, logic: "BizLogic") -> None:
        super().__init__(logic, Graph)
        self._logic = logic

    def changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._logic.recipients.forget(change.whom)

    def replaced(self) -> None:
        self._logic.graph_came(self.held)

    def batch_end(self, link: Link) -> None:
        super().batch_end(link)
        if self.is_current:
            self._logic.go_on()


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
        self.recipients = Recipients(None)
        self._graph: FollowerLookup | None = None  # the last whole one
        self._copy = Copy(self)
        self._serving = False
        self._thawed_at = 0.0
        self._inboxes: Sender[FanOut] = Sender(
            self, "inbox", self._done, self._refused, is_void=lambda job: job.void
        )
        self._health = Health(self, "bizlogic", ORDERED, self._illness)
        self._suspects = Suspects()
        self._upstreams: dict[Link, Upstream] = {}
        self._received = 0  # over links that have gone

    def graph_came(self, graph: FollowerLookup) -> None:
        """Use this whole graph from now on. With the first, we can serve."""
        self._graph = graph
        self.recipients = Recipients(graph)
        if not self._serving:
            self._serving = True
            self._health.begin()

    def go_on(self) -> None:
        """Serve again, with the graph that we have, if there is one."""
        if not self._serving and self._graph is not None:
            self.graph_came(self._graph)

    def thawed(self, ended: Sequence[Link]) -> None:
        """Who was given up is not waited for, so follows may be in force that our copy lacks."""
        if ended and self._serving:
            self._serving = False
            self.recipients = Recipients(None)
            self._thawed_at = self.now()
            self._health.end()
            self._copy.renew()

    def ticked(self) -> None:
        if not self._serving and self._is_left_alone:
            self.go_on()
        self._health.look()

    @property
    def _is_left_alone(self) -> bool:
        """Is there no followers service to renew our copy, or does none do so for long?"""
        if self.told_by(GRAPH) and not self._copy.route.targets:
            return True
        return self.now() - self._thawed_at > RENEWED_HEARTBEATS * self.heartbeat_s

    def _illness(self) -> str:
        """The inboxes to which we lack a link, though the directory has one."""
        names = [t.name for t in self._inboxes.route.targets if t.name not in self._inboxes.peers]
        return f"no link to {', '.join(names)}" if names else ""

    def lacks(self) -> str:
        missing = super().lacks()
        if not missing and len(self._inboxes) and not self._inboxes.route.targets:
            return f"barks wait for an inbox; `{python()} -m barker.inbox` starts one"
        if not missing and len(self._inboxes) and self._inboxes.why_deferred:
            return f"barks wait: {self._inboxes.why_deferred}"
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
        to: Sequence[str] | None = None
        refused: dict[int, BadMessage] = {}
        if put.users and not put.named and not self._suspects:
            to = self.recipients.known(put.users)
        if to is None:
            to, refused = self._check_each(put)
        for place, why in refused.items():
            addresses = addresses_in(put.entries()[place])
            refusal = Refuse(put.seq + place, why.code, why.reason, addresses)
            link.send(messages.encode(refusal))
        if refused:
            places = [place for place in range(len(to)) if place not in refused]
            if not places:
                return
            put, to = put.select(places), [to[place] for place in places]
        job.pending = reach_of(to)
        self._inboxes.put_all(put, to, job)

    def _check_each(self, put: Put) -> tuple[Sequence[str], dict[int, BadMessage]]:
        """The addresses of each entry, or why it is refused, by its place."""
        to, refused = [], {}
        unforeseen: Exception | None = None
        rows = zip(put.bodies, put.users or repeat(""), put.named or repeat(""), strict=False)
        for place, (body, author, named) in enumerate(rows):
            addresses = ""
            try:
                if self._suspects:
                    self._suspects.check(body)
                if put.origin is None:
                    raise BadMessage(BAD_MESSAGE, "barks come through an outbox, which stamps them")
                addresses = self.recipients.of(author, named)
            except BadMessage as fault:
                refused[place] = fault
            except Exception as fault:  # all others are checked, too: each is to be known by then
                self._suspects.blame(body, fault)
                unforeseen = fault
            to.append(addresses)
        if unforeseen:
            raise unforeseen
        return to, refused

    def batch_end(self, link: Link) -> None:
        self._inboxes.pump()
        upstream = self._upstreams.get(link)
        if upstream:
            upstream.ack()  # of refused ones, for which no inbox will answer

    def link_down(self, link: Link) -> None:
        upstream = self._upstreams.pop(link, None)
        if upstream:
            upstream.closed = True
        self._inboxes.forget_void()
        self._received += link.received

    def _done(self, batches: Sequence[Batch[FanOut]]) -> None:
        upstreams: dict[Upstream, None] = {}
        for batch in batches:
            (job,) = batch.jobs
            job.pending -= batch.reach
            upstreams[job.upstream] = None
        for upstream in upstreams:
            upstream.ack()

    def _refused(self, one: Batch[FanOut], refusal: Refuse) -> None:
        (job,) = one.jobs
        where, *more = refusal.addresses
        where += f" and {len(more)} more" if more else ""
        ours = refusal._replace(
            seq=job.seq_of(one.first_n),
            reason=f"{where}: {refusal.reason}"[:500],
            addresses=["bizlogic"],
        )
        job.upstream.link.send(messages.encode(ours))
        self._done([one])

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


def main(argv: list[str] | None = None) -> int:
    return run_service(BizLogic, "bizlogic", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
