"""The followers service: which users exist, and whom they follow.

    python -m barker.followers

Outboxes put events about it (`barker.wire.bodies`) to ``followers``. An event is journaled, becomes
part of the graph (`barker.graph.graph`), and is published (`barker.graph.publisher`) to all copies.
With several instances, each replicates all others
(`barker.graph.replicas`):

* A `put` is acked when it is in our journal and in that of every other instance the directory
  knows. A known instance that does not replicate us, for whatever reason, is waited for (`full`:
  retry), until it does, or until the directory has dropped it.
* An instance serves when it has all changes of those before it.
* A name is given to one event, by the one instance that may (`barker.graph.deciding`).

The journal is the stream: its records are the messages for subscribers (*event sourcing*). Now and
then it gets a snapshot of the graph, piece by piece between other records, and all earlier records
are deleted. At the very first start the graph is the world of ``users.json``; users that are added
to the file later join at the next start.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import itertools
import sys
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from barker.disk import files
from barker.disk.journal import SEGMENT_BYTES, Journal
from barker.disk.nojournal import AnyJournal
from barker.graph.claims import Claims
from barker.graph.deciding import Decider
from barker.graph.feed import FOLLOWERS, GRAPH
from barker.graph.graph import PIECE_SIZE, Graph
from barker.graph.publisher import Publisher
from barker.graph.replicas import REPLICA, Replicas
from barker.graph.upstreams import Upstreams
from barker.graph.waited import Waited
from barker.links.link import Link
from barker.manifold.cleaning import Cleaner, Needed, clean_up
from barker.manifold.intake import Faults, Intake
from barker.manifold.recovery import recover
from barker.process.agent import deepest
from barker.process.arguments import journal_arguments
from barker.process.service import Service, log, run_service
from barker.routing.routes import ORDERED
from barker.wire import bodies, messages, protocol, strictjson
from barker.wire.bodies import FOLLOW, JOIN
from barker.wire.ops import Credit, Put, Subscribe
from barker.wire.protocol import BAD_MESSAGE, FULL, TOO_MANY, BadMessage, ProtocolError
from barker.wire.records import Change, Record, Segment

# Edges with their tombstones, of some 90 bytes, and users, of some 290: 1.5 GB together. Beyond
# them, an event that would add one is refused as full, and waits in its outbox.
MAX_EDGES = 10_000_000
MAX_USERS = 2_000_000
# Followers of one user. A bark's addresses are joined in one turn of bizlogic, which takes some
# 10 ms then. Further follows are refused for good; in one put, a few more may pass.
MAX_FOLLOWERS = 50_000
# Users that one user follows or has lately unfollowed.
MAX_WORDS = 20_000
# The journal may be larger than two snapshots by these bytes. More costs disk, and time at a start;
# with less, snapshots are written more often.
ROOM_BYTES = SEGMENT_BYTES
# About the bytes of an edge in a snapshot.
EDGE_BYTES = 26
# The work of a full piece of a snapshot, and of a slice of the search before it: a few a batch.
PIECE_WORK = 300
# Tombstones are dropped when they are older than this, by our newest event: an outbox that was away
# for longer may then bring an edge back that was cut since.
TOMBSTONE_DAYS = 30

# An event that is news: its body, and its fields.
News = tuple[bytes, dict[str, Any]]


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
        self.claims = Claims()
        self._publisher = Publisher(
            self.graph, self._pieces, self.slices, lambda: self._waited.holds
        )
        self._replicas = Replicas(
            self, self._replicate, self._sync_changed, lambda work: self._intake.durable.then(work)
        )
        self._waited = Waited(self, self._replicas, self._publisher)
        self._decider = Decider(self, self._replicas, self._publisher, self._waited, self.claims)
        self.watch(FOLLOWERS, self._sync_changed)
        # An event may overtake another: of two about one edge, the later `at` counts.
        self._intake = Intake(self, self._check, self._record, self._apply, in_order=False)
        self._serving = False
        self._upstreams = Upstreams(self._has_name, self._check_told)
        self._settled = 0  # all that are waited for have all changes up to there
        self._taken = 0
        self._cleaner = Cleaner(self, ROOM_BYTES, whole=True)

    # --- life ---

    async def prepare(self) -> None:
        if not self.args.no_journal:
            folder = self.args.state / "journal" / self.name
            self._intake.open(Journal(folder, fsync=self.args.fsync))
        journal = self._intake.journal
        self._publisher.begin(journal.epoch)
        if not await recover(self, journal, self._replay, self._header):
            return
        if not len(self.graph):
            self.graph.sow(files.world(self.args.state))
            pieces = (piece for piece, _ in self.graph.pieces())
            try:
                journal.append([messages.encode(Change(1, piece)) for piece in pieces])
            except OSError as fault:
                self.give_up(f"the seed can't be written: {fault.strerror}")
            self._publisher.start_at(1)
        else:
            self._sow_more()
        self._decider.began(self._publisher.last)
        await clean_up(self, self._cleaner, journal)

    def _sow_more(self) -> None:
        """Let users join that were added to ``users.json`` by hand, with their follows there.

        Follows between users of an earlier start are left alone: they may have changed since.
        """
        world = files.world(self.args.state)
        new = {user for user in world.names if user not in self.graph}
        if not new:
            return
        events = [bodies.Event(JOIN, f"users-json-{user}", user, 0) for user in sorted(new)]
        events += [
            bodies.Event(FOLLOW, f"users-json-{user}-{whom}", user, 0, whom)
            for user, followed in world.follows.items()
            for whom in followed
            if user in new or whom in new
        ]
        news = [(body, strictjson.loads(body)) for body in map(bodies.encode_event, events)]
        if self._intake.keep(news) is None:
            log.info("new in users.json, and users from now on: %s", ", ".join(sorted(new)[:20]))

    def _header(self) -> dict[str, Any]:
        return {"serial": self._publisher.last}

    def _replay(self, segment: int, record: Record) -> None:
        if isinstance(record, Change):
            fields = strictjson.loads(record.body)
            self.graph.apply(fields)
            self.claims.apply(fields)
            if record.serial > self._publisher.last:  # else it is a piece of a snapshot
                self._publisher.add(record.serial, record.body, set())
        elif isinstance(record, Segment) and record.serial > self._publisher.last:
            self._publisher.start_at(record.serial)

    async def ready(self) -> None:
        self.serve(REPLICA, ORDERED)
        self._sync_changed()

    async def stopping(self) -> None:
        await super().stopping()
        await self._intake.durable.close()

    def _sync_changed(self) -> None:
        """Serve once we have all changes of those before us."""
        if not self._serving and self._replicas.in_sync:
            self._serving = True
            self._publisher.open()
            self.serve(FOLLOWERS, ORDERED)
            self.serve(GRAPH, ORDERED)
        reign = self._decider.look() if self._serving else None
        if reign:
            body = reign.body()
            if self._intake.keep([(body, strictjson.loads(body))]) is None:
                log.info("decides about names, reign %d", reign.n)
        self._ack_upstreams()

    def lacks(self) -> str:
        lacks, missing = super().lacks(), self._decider.missing
        if not lacks and missing and self._serving:
            lacks = f"joins wait for {', '.join(missing)}, which may have given names away"
        return lacks or self._waited.words()

    def ticked(self) -> None:
        if self._waited.look():
            self._ack_upstreams()
            self._publisher.tell_lists()

    def thawed(self, ended: Sequence[Link]) -> None:
        """If the directory has dropped us, others have gone on: begin as after a start."""
        if not self.has_directory:
            self.told.clear()
            self._serving = False
            self._publisher.close()
            self._serves = [s for s in self._serves if s[0] not in (FOLLOWERS, GRAPH)]

    # --- events ---

    def link_up(self, link: Link) -> None:
        self._upstreams.link_up(link)

    def on_put(self, link: Link, put: Put) -> None:
        room = protocol.UNACKED_WINDOW - (put.seq - 1 - link.acked)
        over = len(put.bodies) - room
        if room > 0:
            some = put if over <= 0 else put.select(range(room))
            self._intake.take(link, some)
            self._upstreams.add(link, some, self._publisher.last)
        if over > 0:
            raise ProtocolError(
                protocol.PROTOCOL, f"over {protocol.UNACKED_WINDOW} puts are unacked"
            )

    def _check_room(self, event: bodies.Event) -> None:
        """Raises BadMessage if one of the two has as many edges as allowed."""
        user, whom, graph = event.user, event.whom, self.graph
        count = len(graph.followers(whom))
        if event.kind == FOLLOW and count >= MAX_FOLLOWERS and not graph.has(user, whom):
            raise BadMessage(TOO_MANY, f"{whom} has {count} followers, and no more may come")
        count = graph.words_of(user)
        if count >= MAX_WORDS and not graph.knows(user, whom):
            raise BadMessage(TOO_MANY, f"{user} has followed or unfollowed {count} users")

    def _has_name(self, event: bodies.Event) -> bool:
        return self.claims.id_of(event.user) == event.id

    def _check_join(self, event: bodies.Event, *, given: str | None = None) -> None:
        """Does this event have the name, or may it? `given`: the same put gives it to that one.

        Raises BadMessage.
        """
        user = event.user
        held = given or self.claims.id_of(user)
        if held != event.id and (held or user in self.graph):
            raise BadMessage(protocol.NAME_TAKEN, f"there is a user {user} already")
        why = self._decider.why_not()
        if why:
            raise BadMessage(protocol.UNDECIDED, why)

    def _check_told(self, event: bodies.Event, serial: int) -> None:
        """Raises BadMessage unless all instances have this join, which has that serial at most."""
        self._check_join(event)
        if serial > self._waited.settled:
            raise BadMessage(protocol.UNDECIDED, "not all instances of followers have it yet")

    def _check(self, put: Put) -> tuple[list[News] | None, Faults]:
        news: list[News] = []
        given: dict[str, str] = {}
        faults: list[tuple[int, BadMessage]] = []
        waited_for = self._waited.strangers
        users, words = len(self.graph), self.graph.edges + self.graph.tombstones
        meanings = strictjson.objects(put.bodies)
        rows = zip(put.entries(), put.bodies, meanings, strict=True)
        for place, (entry, body, fields) in enumerate(rows):
            try:
                if entry != FOLLOWERS:
                    raise BadMessage(BAD_MESSAGE, f"this is {FOLLOWERS}")
                body = bodies.admitted(body, fields)
                assert fields is not None
                event = bodies.check_event(fields)
                if waited_for:
                    names = ", ".join(waited_for)
                    raise BadMessage(FULL, f"{names} does not replicate us yet")
                if event.kind != JOIN:
                    self._check_room(event)
                more_users, more_words = self.graph.growth(fields)
                if more_words and words + more_words > MAX_EDGES:
                    raise BadMessage(FULL, f"{words} edges are all that we hold")
                if more_users and users + more_users > MAX_USERS:
                    raise BadMessage(FULL, f"{users} users are all that we hold")
                if event.kind == JOIN:
                    self._check_join(event, given=given.get(event.user))
                    given[event.user] = event.id
                    fields = {**fields, "reign": self.claims.reign.n}
                    body = strictjson.dumps(fields)
                users, words = users + more_users, words + more_words
                if self._is_news(fields):
                    news.append((body, fields))
            except BadMessage as fault:
                faults.append((place, fault))
        return news or None, faults

    def _record(
        self, news: list[News], segment: int
    ) -> tuple[Sequence[bytes], Sequence[tuple[int, News]]]:
        numbered = list(enumerate(news, self._publisher.last + 1))
        return [messages.encode(Change(n, body)) for n, (body, _) in numbered], numbered

    def _apply(self, news: Sequence[tuple[int, News]], segment: int) -> None:
        for serial, (body, fields) in news:
            changes = self.graph.apply(fields)
            self.claims.apply(fields)
            if "reign" in fields and self.claims.reign.by == self.name:
                self._decider.began(serial)
            touched = {name for change in changes for name in change[:2] if name}
            self._publisher.add(serial, body, touched)
        self._taken += len(news)
        self._publisher.publish()

    def _replicate(self, events: Sequence[News]) -> str:
        """Another instance has these; returns why not all of it holds here, or ""."""
        why = ""
        if any(self.claims.contradict(fields) for _, fields in events):
            why = "gave away a name that is another's here"
        news = [(body, fields) for body, fields in events if self._is_news(fields)]
        if news and self._intake.keep(news) is not None:
            why = "sent more than our disk has room for"
        self._cleaner.clean(self._intake.journal)
        return why

    def _is_news(self, fields: dict[str, Any]) -> bool:
        return self.graph.is_news(fields) or self.claims.is_news(fields)

    def _pieces(self) -> Iterator[tuple[bytes, bool]]:
        """Of the claims and of the graph, with which the snapshot ends."""
        return itertools.chain(self.claims.pieces(), self.graph.pieces())

    def batch_end(self, link: Link) -> None:
        self._ack_upstreams()
        self._cleaner.clean(self._intake.journal)

    def _ack_upstreams(self) -> None:
        """Ack the changes that every replica has."""
        if not self._waited.strangers:
            self._settled = self._waited.acked  # else one is there that has lost its link
        settled = self._settled
        self._intake.durable.then(lambda: self._upstreams.ack(settled))

    # --- subscribers ---

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        self._publisher.subscribe(link, wish)
        self._sync_changed()  # it may be the last replica that was missing

    def on_credit(self, link: Link, credit: Credit) -> None:
        self._publisher.credit(link, credit)
        self._ack_upstreams()

    def link_down(self, link: Link) -> None:
        self._upstreams.link_down(link)
        self._intake.link_down(link)
        self._publisher.link_down(link)
        self._ack_upstreams()

    # --- the journal ---

    def needed(self, journal: AnyJournal) -> Generator[int, None, Needed]:
        """For the cleaner: a snapshot's size. Until there is one, all of the journal counts."""
        yield 0
        words = self.graph.edges + self.graph.tombstones + len(self.graph)
        return Needed(EDGE_BYTES * words, 0)

    def rewrite(self, journal: AnyJournal, last: int) -> Iterator[int]:
        """For the cleaner: write a snapshot, piece by piece."""
        for _ in self.graph.forget(self.graph.newest - TOMBSTONE_DAYS * 24 * 3600 * 1000):
            yield PIECE_WORK
        for piece, _ in self._pieces():
            journal.copy([messages.encode(Change(self._publisher.last, piece))])
            yield 1 + PIECE_WORK * len(piece) // (PIECE_SIZE * EDGE_BYTES)

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        waiting = self._upstreams.waiting()
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
