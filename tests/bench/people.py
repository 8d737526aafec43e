"""Loads and what counts them, as processes of their own: producers and listeners.

    python -m tests.bench.people producer --count 50000 --users 100 ...
    python -m tests.bench.people listener --expect 100000 --users 100 ...

A producer waits for a line on standard input, says its barks as fast as they are acked (or at
`--rate`), and tells when all of them are; then come the line and the barks of the next part. A
listener reads inboxes, over one link or several, and tells when it was shown as many barks as it
expects. Both end with the last of these marks.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from barker.client.reader import Reader
from barker.client.tracked import Outcome, TrackedSender
from barker.links.link import Link
from barker.process.arguments import common_arguments
from barker.process.node import Node, log
from barker.process.running import run_node
from barker.wire import protocol
from barker.wire.ops import Gap, Item
from tests.bench import load
from tests.bench.children import DEADLINE_S
from tests.tools.children import until

# Barks that a producer has handed over and nobody has acked: what all outboxes together let it have
# on the way, and as much again.
AHEAD = 4 * protocol.UNACKED_WINDOW
HANDFUL = 256


class Loader(Node):
    """Says so many barks by everybody in turn, part by part.

    The laboratory's producer remembers each bark, which would be a part of what is measured. Here
    all barks share one outcome.
    """

    kind = "producer"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        said = load.bodies(sum(args.count), args.users, args.seed)
        self._parts = [[] if args.rate else list(islice(said, count)) for count in args.count]
        self.watch("bizlogic", lambda: None)
        self.sender = TrackedSender(self, on_refused=self._refused)
        self._all = Outcome()

    async def started(self) -> None:
        self._told = asyncio.Semaphore(0)
        load.obey(lambda: self._loop.call_soon_threadsafe(self._told.release))
        self.start(self._work(), name="producer")

    @property
    def _is_served(self) -> bool:
        """A bizlogic has its graph, so that barks need not wait for that."""
        return self.args.alone or bool(self.routes.route("bizlogic").targets)

    async def _work(self) -> None:
        args = self.args
        await until(
            lambda: len(self.sender.sender.peers) >= args.outboxes and self._is_served,
            "all outboxes and a bizlogic are there",
            DEADLINE_S,
        )
        for count, part in zip(args.count, self._parts, strict=True):
            load.say("ready")
            await self._told.acquire()
            await (self._at_rate(count) if args.rate else self._at_once(part))
            await self.sender.all_answered()
            load.say("said", cpu_s=time.process_time())
        self.stop()

    async def _at_once(self, prepared: list[tuple[str, bytes]]) -> None:
        to = {user: f"outbox/{user}" for user, _ in prepared}
        for i in range(0, len(prepared), HANDFUL):
            for user, body in prepared[i : i + HANDFUL]:
                self.sender.track(to[user], Item(body), self._all)
            self.sender.pump()
            while len(self.sender) > AHEAD:
                await self.sender.progress()
            await asyncio.sleep(0)

    async def _at_rate(self, count: int) -> None:
        users, begun, done = load.names(self.args.users), self.now(), 0
        while done < count:
            due = load.due(count, self.args.rate, self.now() - begun)
            for i in range(done, due):
                user = users[i % len(users)]
                body = load.timed_body(user, i, time.time_ns())
                self.sender.track(f"outbox/{user}", Item(body), self._all)
            self.sender.pump()
            done = due
            await asyncio.sleep(begun + done / self.args.rate - self.now())

    def _refused(self, outcome: Outcome) -> None:
        log.error("%s (%s)", outcome.reason, outcome.refused)
        self.stop(1)


class Counter(Node):
    """Counts what it is shown, and how long that was on its way if the barks tell.

    The laboratory's audience remembers all of it, which would be a part of what is measured.
    """

    kind = "listener"

    async def started(self) -> None:
        args = self.args
        self._shown = 0
        self._latencies = load.Latencies()
        self._marks: Iterator[int] = iter(args.expect)
        self._next = next(self._marks)
        show = self._timed if args.timed else self._count
        readers = load.names(args.users)[args.first :]
        readers = readers[: args.inboxes or None]
        self._readers = [
            GaplessReader(self, readers[i :: args.links], show, self._refused, history=0)
            for i in range(args.links)
        ]
        self.start(self._say_ready(), name="listener")

    async def _say_ready(self) -> None:
        await until(
            lambda: all(reader.is_ready for reader in self._readers),
            "every inbox has answered",
            DEADLINE_S,
        )
        load.say("ready")

    def _count(self, reader: str, fields: dict[str, Any], late: bool) -> None:
        self._shown += 1
        if self._shown == self._next:
            self._mark()

    def _timed(self, reader: str, fields: dict[str, Any], late: bool) -> None:
        self._latencies.add(fields["content"], time.time_ns())
        self._count(reader, fields, late)

    def _mark(self) -> None:
        load.say("shown", cpu_s=time.process_time(), latency=self._latencies.figures())
        self._next = next(self._marks, 0)
        if not self._next:
            self.stop()

    def _refused(self, user: str, reason: str) -> None:
        log.error("%s: %s", user, reason)
        self.stop(1)


class GaplessReader(Reader):
    """Some of the inboxes, over one link. What was not shown can't be counted, so a gap ends us."""

    def on_gap(self, link: Link, gap: Gap) -> None:
        log.error("%s: %d messages are gone", gap.address, gap.missed)
        self.node.stop(1)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.people")
    parser.add_argument("role", choices=("producer", "listener"))
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--count", type=int, nargs="+", help="barks of each part")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--outboxes", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="don't wait for a bizlogic")
    parser.add_argument("--expect", type=int, nargs="+", help="rising numbers of barks")
    parser.add_argument("--first", type=int, default=0, help="pass over so many users")
    parser.add_argument("--inboxes", type=int, help="read only so many (default: all)")
    parser.add_argument("--links", type=int, default=1, help="over which they are spread")
    parser.add_argument("--timed", action="store_true")
    common_arguments(parser)
    args = parser.parse_args(argv)
    return run_node(Loader if args.role == "producer" else Counter, args)


if __name__ == "__main__":
    sys.exit(main())
