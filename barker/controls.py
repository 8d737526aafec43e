"""Controls: passes an operator's requests to the launcher.

    python launch.py --controls

A request is a put to the address ``controls``, and what runs is a stream there. Controls itself
starts, signals and reaps nothing. It checks a request and writes it to the launcher, which holds
the other ends of its pipes (`barker.launching.talk`), and acks it once the launcher has done it.

It listens at this machine's loopback addresses alone, and takes requests of the role ``operator``.
Left out: running on its own. Without a launcher there is nothing to control.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import os
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

from barker.disk.files import UsageError
from barker.launching.slots import ACTS
from barker.launching.talk import (
    MAX_REPORT_BYTES,
    MAX_REQUESTS,
    Request,
    request_line,
)
from barker.links.link import Link
from barker.manifold.broadcast import Broadcast
from barker.process import logs
from barker.process.arguments import CONTROLLED, LEASH
from barker.process.service import Service, log, run_service
from barker.routing.routes import ORDERED
from barker.wire import bodies, messages, protocol, strictjson
from barker.wire.fields import is_count, is_id, is_name
from barker.wire.ops import Credit, Put, Refuse, Subscribe
from barker.wire.protocol import BAD_MESSAGE, FAILED, FULL, BadMessage, ProtocolError
from barker.wire.rights import CONTROLS

# Requests whose outcome is remembered by id: one that comes again is answered, and not done again.
REMEMBERED = 1000

ABOUT = """\
Pass requests of the monitor's page to the launcher, which kills, freezes and starts its processes.
The launcher starts it by its flag --controls; it does not run without a launcher.
"""
EXAMPLES = (
    "--port 5701",
    "--port 5702 -v",
)


class Entry:
    """One request on a link, numbered `seq` there, until it is answered."""

    __slots__ = ("id", "is_done", "link", "seq")

    def __init__(self, link: Link, seq: int) -> None:
        self.link = link
        self.seq = seq
        self.id = ""
        self.is_done = False

    def done(self, why: BadMessage | None) -> None:
        """Refuse it, or let it be acked."""
        self.is_done = True
        if why and not self.link.closed:
            refusal = Refuse(self.seq, why.code, why.reason[:500], [CONTROLS])
            self.link.send(messages.encode(refusal))


class Controls(Service):
    kind = "controls"
    default_port = 5701
    loopback_only = True

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._states = Broadcast(CONTROLS, keep=1)
        self.add_handler(Put, self.on_put)
        self.add_handler(Credit, self._states.on_credit)
        self._unacked: dict[Link, deque[Entry]] = {}
        self._requests: dict[int, Entry] = {}  # with the launcher, by number
        self._outcomes: dict[str, BadMessage | None] = {}  # by id, oldest first
        self._count = self._answered = 0

    async def ready(self) -> None:
        self.serve(CONTROLS, ORDERED)

    # --- links ---

    def link_up(self, link: Link) -> None:
        self._unacked[link] = deque()

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        if wish.address == CONTROLS:
            self._states.subscribe(link, wish)
        else:
            super().subscribe(link, wish)

    def on_put(self, link: Link, put: Put) -> None:
        link.count_puts(put.seq, len(put.bodies))
        entries = self._unacked[link]
        for seq, to, body in zip(
            range(put.seq, link.received + 1), put.entries(), put.bodies, strict=True
        ):
            if len(entries) >= protocol.UNACKED_WINDOW:
                raise ProtocolError(
                    protocol.PROTOCOL, f"over {protocol.UNACKED_WINDOW} puts are unacked"
                )
            entry = Entry(link, seq)
            entries.append(entry)
            try:
                self._receive(entry, to, body)
            except BadMessage as fault:
                entry.done(fault)

    def batch_end(self, link: Link) -> None:
        self._ack(link)

    def link_down(self, link: Link) -> None:
        self._states.link_down(link)
        self._unacked.pop(link, None)

    def _ack(self, link: Link) -> None:
        """Ack all requests at the front that are answered."""
        entries, last = self._unacked.get(link, ()), 0
        while entries and entries[0].is_done:
            last = entries.popleft().seq
        if last and not link.closed:
            link.ack(last)

    # --- requests ---

    def _receive(self, entry: Entry, to: str, body: bytes) -> None:
        """Pass the request to the launcher, or answer it as before. Raises BadMessage."""
        if to != CONTROLS:
            raise BadMessage(BAD_MESSAGE, f"this is {CONTROLS}")
        entry.id, act, process = request_of(body)
        if entry.id in self._outcomes:
            entry.done(self._outcomes[entry.id])
            return
        if any(other.id == entry.id for other in self._requests.values()):
            raise BadMessage(BAD_MESSAGE, f"the request {entry.id} is with the launcher")
        if len(self._requests) >= MAX_REQUESTS:
            raise BadMessage(FULL, f"{MAX_REQUESTS} requests are with the launcher")
        self._count += 1
        self._requests[self._count] = entry
        logs.say(self.kind, request_line(Request(self._count, act, process)))

    def launcher_said(self, line: bytes) -> None:
        super().launcher_said(line)
        if not line.startswith(b"{") or len(line) > MAX_REPORT_BYTES:
            return
        report = strictjson.loads(line)
        if "state" in report:
            self._states.append(strictjson.dumps(report["state"]))
        elif is_count(report.get("n")):
            entry = self._requests.pop(report["n"], None)
            if entry:
                self._answer(entry, report["why"])

    def _answer(self, entry: Entry, why: str) -> None:
        outcome = BadMessage(FAILED, why) if why else None
        self._answered += 1
        self._outcomes[entry.id] = outcome
        if len(self._outcomes) > REMEMBERED:
            del self._outcomes[next(iter(self._outcomes))]
        entry.done(outcome)
        self._ack(entry.link)
        log.debug("%s: %s", entry.id, why or "done")

    def gauges(self) -> dict[str, Any]:
        return {
            **super().gauges(),
            "in": self._count,
            "out": self._answered,
            "backlog": len(self._requests),
            "readers": len(self._states.readers),
        }


def request_of(body: bytes) -> tuple[str, str, str]:
    """Id, act and process of a request. Raises BadMessage."""
    fields = bodies.check_object(body)
    bodies.admitted(body, fields)
    if fields.keys() != {"id", "act", "process"}:
        raise BadMessage(BAD_MESSAGE, "a request has an id, an act and a process")
    id_, act, process = fields["id"], fields["act"], fields["process"]
    if not is_id(id_):
        raise BadMessage(BAD_MESSAGE, "bad id")
    if act not in ACTS:
        raise BadMessage(BAD_MESSAGE, f"an act is one of {', '.join(ACTS)}")
    if not is_name(process):
        raise BadMessage(BAD_MESSAGE, "a process is named by its label")
    return id_, act, process


def under_launcher(args: argparse.Namespace) -> Controls:
    """Raises UsageError if no launcher holds our pipes."""
    if os.environ.get(LEASH) != CONTROLLED:
        raise UsageError("`python launch.py --controls` starts it, and is what it controls")
    return Controls(args)


def main(argv: Sequence[str] | None = None) -> int:
    return run_service(
        Controls,
        "controls",
        ABOUT,
        EXAMPLES,
        list(argv) if argv is not None else None,
        under_launcher,
    )


if __name__ == "__main__":
    sys.exit(main())
