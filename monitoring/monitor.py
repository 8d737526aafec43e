"""The monitor: watches every agent, keeps ten minutes, shows them to any number of pages.

    python -m monitoring.monitor            a service; open monitoring/index.html
    python -m monitoring.monitor --once     the same as a table, now; with --json for scripts

Each second becomes one frame (see ``picture``), and frames are a stream like any other. A
subscriber to ``monitor`` gets the last ten minutes as messages and then one message a second, and a
page that was away requests the frames that it has missed.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import asyncio
import json
import sys
import time
from typing import Any

from barker.links import hosts
from barker.links.link import Link
from barker.manifold.broadcast import Broadcast
from barker.process import terminal
from barker.process.arguments import Parser
from barker.process.dialing import Dialer
from barker.process.faults import Ticker
from barker.process.node import Node
from barker.process.peers import Peers
from barker.process.running import run_node
from barker.process.service import Service, add_flags, log
from barker.routing.routes import ORDERED, Target
from barker.wire import messages, protocol, strictjson
from barker.wire.ops import Credit, Moved, Sample, Subscribe, Unreadable
from barker.wire.protocol import ProtocolError
from monitoring.picture import MAX_SERVICES, BadSample, Picture, without_details
from monitoring.table import table

# Ten minutes: the widest window of the page.
HISTORY = 600
# Agents take their samples at full seconds; half a second later even a busy one's has come.
FRAME_PHASE_S = 0.5
# `--once` waits for two samples of each agent, a second apart, and not for those that don't answer.
GLANCE_S = 3.0
DIRECTORY_S = 1.5  # nor for a directory that doesn't
# A peer that lives sends a sample or answers a ping before it was silent for this long. A frozen
# one was silent for longer when the first of its peers, the directory perhaps, drops it.
ALIVE_HEARTBEATS = 1.25


ABOUT = """\
Run the monitor, which watches all services, keeps ten minutes of their figures, and shows them to
pages: open monitoring/index.html in a browser. With --once, print how things are as a table, and
stop.
"""
EXAMPLES = (
    "-m monitoring.monitor",
    "-m monitoring.monitor --once",
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Agents(Peers):
    """A link to every agent there is; its samples go into the picture."""

    def __init__(self, node: Node) -> None:
        super().__init__(node, "agent")
        self.add_handler(Sample, self.on_sample)
        self.add_handler(Moved, self.on_moved)
        self.add_handler(Unreadable, self.on_unreadable)
        self.picture = Picture(node.routes, node.name)
        node.watch("", self._any_route_changed)

    def wanted(self, target: Target) -> bool:
        return target in self.route.targets[:MAX_SERVICES]

    def _any_route_changed(self) -> None:
        self.picture.routes_changed(now_ms())

    def link_up(self, link: Link) -> None:
        super().link_up(link)
        link.send(messages.encode(Subscribe(f"agent/{link.name}")))

    def on_sample(self, link: Link, sample: Sample) -> None:
        try:
            self.picture.sampled(link.name, strictjson.loads(sample.body), now_ms())
        except BadSample as fault:
            raise ProtocolError(protocol.PROTOCOL, str(fault)) from None

    def on_moved(self, link: Link, moved: Moved) -> None:
        """Called if it has another name than in its greeting. The next link will show it."""
        link.close()

    def on_unreadable(self, link: Link, answer: Unreadable) -> None:
        log.warning("%r has no agent: %s", link, answer.reason)

    def link_down(self, link: Link) -> None:
        super().link_down(link)
        if self.node.is_looking:
            self.picture.blind(link.name, now_ms())
            return
        silent_s = self.node.now() - link.heard
        silent = silent_s > ALIVE_HEARTBEATS * self.node.heartbeat_s
        self.picture.lost(link.name, now_ms(), silent=silent)


class Monitor(Service):
    kind = "monitor"
    default_port = 5700

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="don't serve: print how things are, and stop"
        )
        parser.add_argument(
            "--json", action="store_true", help="with --once: print it as one JSON object"
        )

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._frames = Broadcast("monitor", HISTORY)
        self.add_handler(Credit, self._frames.on_credit)
        self._frames_alone = 0  # frames since there was a directory
        self._why_alone = ""

    async def ready(self) -> None:
        self._agents = Agents(self)
        self.serve("monitor", ORDERED)
        self._ticker = Ticker(self.later, self._delay_s, self._frame)
        self._ticker.start()

    def dial_failed(self, dialer: Dialer, fault: Exception) -> None:
        super().dial_failed(dialer, fault)
        if dialer.place == self.args.directory:
            self._why_alone = dialer.why(fault)

    def gauges(self) -> dict[str, Any]:
        return {
            **super().gauges(),
            "out": self._frames.sent,
            "streams": len(self._agents.peers),
            "readers": len(self._frames.readers),
        }

    # --- once a second ---

    @staticmethod
    def _delay_s() -> float:
        delay_s = 1 - (time.time() - FRAME_PHASE_S) % 1
        return delay_s if delay_s > 0.1 else delay_s + 1

    def _frame(self) -> None:
        # It shows the state at the full second, when its samples were taken.
        frame = self._agents.picture.frame(now_ms() - round(1000 * FRAME_PHASE_S))
        if self.has_directory:
            self._frames_alone, self._why_alone = 0, ""
        else:
            self._frames_alone += 1
        if self._frames_alone > 1:  # for a moment, at a start, every monitor is
            where = hosts.spell(*self.args.directory)
            frame["alone"] = f"{where}: {self._why_alone or 'it does not answer'}"
        body = strictjson.dumps(frame)
        most = protocol.MAX_LINE_BYTES - 200
        if len(body) > most:  # long names, many services
            body = strictjson.dumps(without_details(frame, most))
        self._frames.append(body)

    # --- pages ---

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        if wish.address == "monitor":
            self._frames.subscribe(link, wish)
        else:
            super().subscribe(link, wish)

    def link_down(self, link: Link) -> None:
        self._frames.link_down(link)


class Glance(Node):
    """Looks at the system until it has rates, prints them, and stops."""

    kind = "glance"
    has_deadline = True

    @property
    def has_job(self) -> bool:
        return True

    async def started(self) -> None:
        self._agents = Agents(self)
        self.start(self._look(), name="glance")

    async def _look(self) -> None:
        begun = self.now()
        while not self._agents.picture.complete:
            await asyncio.sleep(0.02)
            if self.now() > begun + (GLANCE_S if self.directory_epoch else DIRECTORY_S):
                break
        if self.directory_epoch is None:
            terminal.complain("monitor", self.lacks())
            self.stop(1)
            return
        frame = self._agents.picture.frame(now_ms())
        lines = [json.dumps(frame)] if self.args.json else table(frame)
        shown = terminal.say("monitor", *lines)
        self.stop(0 if shown else 1)  # 1: the reader of our output has gone


def parser() -> argparse.ArgumentParser:
    return add_flags(Monitor, Parser("-m monitoring.monitor", ABOUT, EXAMPLES))


def main(argv: list[str] | None = None) -> int:
    command = parser()
    args = command.parse_args(argv)
    if args.name is not None and not protocol.INSTANCE_NAME.fullmatch(args.name):
        command.error("--name takes letters, digits, '.', '_' and '-'")
    if args.json and not args.once:
        command.error("--json goes with --once")
    return run_node(Glance if args.once else Monitor, args)


if __name__ == "__main__":
    sys.exit(main())
