"""The followers service: who exists, and who follows whom.

    python -m barker.followers

Outboxes put what was said about it (`barker.wire.bodies`) to ``followers``; it is journaled,
becomes part of the graph (`barker.graph.graph`), and is published (`barker.graph.publisher`) to
everybody who keeps a copy. With several instances, each replicates all others
(`barker.graph.replicas`):

* A `put` is acked when it is in our journal and in that of every other instance the directory
  knows. One that the directory knows and that does not replicate us, for whatever reason, is waited
  for (`full`: ask again), until it does, or until the directory has given it up.
* An instance serves when it has had everything that those before it have.

The journal is the stream: its records are the messages that subscribers get (*event sourcing*). Now
and then it gets a snapshot of the graph, piece by piece between other records, and what came before
that is deleted. At the very first start the graph is the world of ``users.json``; users that are
added to the file later join at the next start.
"""

import argparse
import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Any

from barker.delivery.poison import Suspects
from barker.disk import files
from barker.disk.journal import SEGMENT_BYTES, Journal, NoJournal
from barker.graph.feed import FOLLOWERS, GRAPH
from barker.graph.graph import Graph
from barker.graph.publisher import Publisher
from barker.graph.replicas import REPLICA, Replicas
from barker.links.link import Link
from barker.process.agent import deepest
from barker.process.arguments import journal_arguments
from barker.process.service import Service, log, run_service
from barker.routing.routes import ORDERED
from barker.wire import bodies, messages, protocol, strictjson
from barker.wire.fields import addresses_in
from barker.wire.ops import Credit, Put, Refuse, Subscribe
from barker.wire.protocol import BAD_MESSAGE, BadMessage, BarkerError, ProtocolError
from barker.wire.records import Change, Segment

# Edges with their tombstones; at some 150 bytes they are 1.5 GB. Beyond it, follows are refused as
# full, and wait in the outboxes.
MAX_EDGES = 10_000_000
# The journal may be larger than a snapshot by this factor and these bytes. More costs disk, and
# time at a start; less has snapshots written more often.
JOURNAL_FACTOR = 2
ROOM_BYTES = 2 * SEGMENT_BYTES
# About what an edge takes in a snapshot.
EDGE_BYTES = 26
# Pieces of a snapshot that are written for each batch, so that none takes much longer than others.
PIECES_AT_ONCE = 3
# Tombstones are dropped when they are older than this, by the newest word we know: what an outbox
# brings that was away for longer may bring an edge back that was cut since.
TOMBSTONE_DAYS = 30
# How long records are played back between two looks at the loop, so that Ctrl-C is heard.
REPLAY_SLICE_S = 0.1


ABOUT = """\
Run the service that keeps the users, and who follows whom. Of several, each has all that was acked.
"""
EXAMPLES = (
    "--port 5690",
    "--port 5691 --no-journal",
)


class Followers(Service):
    kind = "followers"
    default_port = 5690

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        journal_arguments(parser)

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.add_handler(Put, self.on_put)
        self.add_handler(Credit, self.on_credit)
        self.graph = Graph()
        self.journal: Journal | NoJournal = NoJournal()
        self._publisher = Publisher(self.graph)
        self._replicas = Replicas(
            self, self._replicate, self._commit, self._drop_batch, self._sync_changed
        )
        self._serving = False
        self._staged: list[tuple[bytes, dict[str, Any]]] = []
        self._waited_for: set[str] | None = None  # of this batch: who does not replicate us
        # By link: number and serial of what is to be acked, in order.
        self._upstreams: dict[Link, deque[tuple[int, int]]] = {}
        self._taken = 0
        self._checked_segment = 0
        self._suspects = Suspects()
        self._snapshot: Iterator[tuple[bytes, bool]] | None = None
        self._snapshot_from = 0

    # --- life ---

    async def prepare(self) -> None:
        if not self.args.no_journal:
            self.journal = Journal(self.args.state / "journal" / self.name, fsync=self.args.fsync)
        begun, records = self.now(), 0
        looked = begun
        for segment, line in self.journal.recover():
            try:
                self._replay(line)
            except (AttributeError, BarkerError, LookupError, TypeError, ValueError) as fault:
                log.warning("a record of segment %d makes no sense: %r", segment, fault)
                self.journal.report_damage()
            records += 1
            if self.now() - looked > REPLAY_SLICE_S:
                await asyncio.sleep(0)
                looked = self.now()
                if self._stop.is_set():
                    return
        self._publisher.begin(self.journal.epoch)
        with contextlib.suppress(OSError):  # until it can be written, puts are refused
            self.journal.begin(lambda: {"serial": self._publisher.last})
        if records:
            log.info("recovered from %d records in %.2f s", records, self.now() - begun)
        if not len(self.graph):
            self.graph.sow(files.world(self.args.state))
            pieces = (piece for piece, _ in self.graph.pieces())
            try:
                self.journal.append([messages.encode(Change(1, piece)) for piece in pieces])
            except OSError as fault:
                self.give_up(f"the seed can't be written: {fault.strerror}")
            self._publisher.start_at(1)
        else:
            self._sow_more()

    def _sow_more(self) -> None:
        """Let users join that were added to ``users.json`` by hand, and follow as it has them.

        Follows between users of an earlier start are left alone: they may have changed since.
        """
        world = files.world(self.args.state)
        new = {user for user in world.names if user not in self.graph}
        if not new:
            return
        events = [bodies.Event(bodies.JOIN, f"users-json-{user}", user, 0) for user in sorted(new)]
        events += [
            bodies.Event(bodies.FOLLOW, f"users-json-{user}-{whom}", user, 0, whom)
            for user, followed in world.follows.items()
            for whom in followed
            if user in new or whom in new
        ]
        for event in events:
            body = bodies.encode_event(event)
            self._staged.append((body, strictjson.loads(body)))
        if self._commit():
            log.info("new in users.json, and users from now on: %s", ", ".join(sorted(new)[:20]))

    def _replay(self, line: bytes) -> None:
        record = messages.decode_record(line)
        if isinstance(record, Change):
            self.graph.apply(strictjson.loads(record.body))
            if record.serial > self._publisher.last:  # else it is a piece of a snapshot
                self._publisher.add(record.serial, record.body, set())
        elif isinstance(record, Segment) and record.serial > self._publisher.last:
            self._publisher.start_at(record.serial)

    async def ready(self) -> None:
        self.serve(REPLICA, ORDERED)
        self._sync_changed()

    async def stopping(self) -> None:
        await super().stopping()
        self.journal.close()

    def _sync_changed(self) -> None:
        """Serve once we have had all that those before us have."""
        if not self._serving and self._replicas.in_sync:
            self._serving = True
            self.serve(FOLLOWERS, ORDERED)
            self.serve(GRAPH, ORDERED)

    def thawed(self) -> None:
        """Others have gone on without us: be as one that has just started."""
        self.told.clear()
        self._serving = False
        self._serves = [s for s in self._serves if s[0] not in (FOLLOWERS, GRAPH)]
        super().thawed()

    # --- events ---

    def link_up(self, link: Link) -> None:
        self._upstreams[link] = deque()

    def on_put(self, link: Link, put: Put) -> None:
        link.count_puts(put.seq, len(put.bodies))
        if put.trace:
            self.note_traces(put.trace)
        if link.received - link.acked > protocol.UNACKED_WINDOW:
            raise ProtocolError(
                protocol.PROTOCOL, f"over {protocol.UNACKED_WINDOW} puts are unacked"
            )
        jobs = self._upstreams[link]
        meanings = strictjson.objects(put.bodies)
        rows = zip(count(put.seq), put.entries(), put.bodies, meanings, strict=False)
        for seq, entry, body, fields in rows:
            try:
                if self._suspects:
                    self._suspects.check(body)
                self._take(entry, body, fields)
            except BadMessage as fault:
                jobs.append((seq, 0))
                refusal = Refuse(seq, fault.code, fault.reason, addresses_in(entry))
                link.send(messages.encode(refusal))
            except Exception as fault:
                self._suspects.blame(body, fault)
                raise
            else:
                jobs.append((seq, self._publisher.last + len(self._staged)))

    def _take(self, entry: str, body: bytes, fields: dict[str, Any] | None) -> None:
        """Stage it, if it is news. Raises BadMessage."""
        if entry != FOLLOWERS:
            raise BadMessage(BAD_MESSAGE, f"this is {FOLLOWERS}")
        body = bodies.admitted(body, fields)
        assert fields is not None
        event = bodies.check_event(fields)
        if self._waited_for is None:
            self._waited_for = {*self._replicas.others} - self._publisher.replicas
        if self._waited_for:
            names = ", ".join(sorted(self._waited_for))
            raise BadMessage(protocol.FULL, f"{names} does not replicate us yet")
        words = self.graph.edges + self.graph.tombstones
        if words >= MAX_EDGES and event.kind == bodies.FOLLOW:
            raise BadMessage(protocol.FULL, f"{words} edges are all that we hold")
        if self.graph.is_news(fields):
            self._staged.append((body, fields))

    def batch_failed(self, link: Link) -> None:
        self._drop_batch()

    def _drop_batch(self) -> None:
        self._staged = []
        self._waited_for = None

    def batch_end(self, link: Link) -> None:
        self._waited_for = None
        if self._staged:
            before = self._publisher.last
            if not self._commit():
                jobs = self._upstreams[link]
                for i, (seq, serial) in enumerate(jobs):
                    if serial > before:
                        jobs[i] = (seq, 0)
                        reason = "the journal can't be written"
                        refusal = Refuse(seq, protocol.FULL, reason, [FOLLOWERS])
                        link.send(messages.encode(refusal))
        self._ack_upstreams()

    def _replicate(self, body: bytes, fields: dict[str, Any]) -> None:
        if self.graph.is_news(fields):
            self._staged.append((body, fields))

    def _commit(self) -> bool:
        """Keep what is staged, in one write, and have it hold; False if the disk has no room."""
        staged, self._staged = self._staged, []
        if not staged:
            return True
        first = self._publisher.last + 1
        lines = [messages.encode(Change(n, body)) for n, (body, _) in enumerate(staged, first)]
        try:
            self.journal.append(lines)
        except OSError:
            return False
        try:
            for serial, (body, fields) in enumerate(staged, first):
                changes = self.graph.apply(fields)
                touched = {name for change in changes for name in change[:2] if name}
                self._publisher.add(serial, body, touched)
        except Exception:
            self.fail("the journal has events that could not be applied")
            return True
        self._taken += len(staged)
        self._publisher.publish()
        self._clean()
        return True

    def _ack_upstreams(self) -> None:
        """Ack what every replica has: one ack for each link, for the last of it."""
        settled = self._publisher.settled
        for link, jobs in self._upstreams.items():
            done = 0
            while jobs and jobs[0][1] <= settled:
                done = jobs.popleft()[0]
            if done:
                link.ack(done)

    # --- subscribers ---

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        self._publisher.subscribe(link, wish)

    def on_credit(self, link: Link, credit: Credit) -> None:
        self._publisher.credit(link, credit)
        self._ack_upstreams()

    def link_down(self, link: Link) -> None:
        self._upstreams.pop(link, None)
        self._publisher.link_down(link)
        self._ack_upstreams()

    # --- the journal ---

    def _clean(self) -> None:
        """If the journal is long, write some pieces of a snapshot, and drop what is before it."""
        journal = self.journal
        if self._snapshot is None:
            if journal.current == self._checked_segment:
                return  # nothing is dropped but when a segment is full
            self._checked_segment = journal.current
            words = self.graph.edges + self.graph.tombstones + len(self.graph)
            if journal.size <= ROOM_BYTES + JOURNAL_FACTOR * EDGE_BYTES * words:
                return
            self.graph.forget(self.graph.newest - TOMBSTONE_DAYS * 24 * 3600 * 1000)
            self._snapshot, self._snapshot_from = self.graph.pieces(), journal.current
        try:
            for _ in range(PIECES_AT_ONCE):
                piece, more = next(self._snapshot)
                journal.append([messages.encode(Change(self._publisher.last, piece))])
                if not more:
                    break
            else:
                return
        except OSError:
            pass  # the journal has logged why; another turn comes with the next segment
        else:
            for number in [n for n in journal.segments if n < self._snapshot_from]:
                journal.drop(number)
        self._snapshot = None

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        waiting = [(link.name, len(jobs)) for link, jobs in self._upstreams.items() if jobs]
        return {
            **super().gauges(),
            "in": self._taken,
            "unacked": sum(count for _, count in waiting),
            "streams": len(self.graph),
            "edges": self.graph.edges,
            "readers": self._publisher.readers,
            "deepest": deepest(waiting),
        }


def main(argv: list[str] | None = None) -> int:
    return run_service(Followers, "followers", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
