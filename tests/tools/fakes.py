"""Fakes for what has a socket or a clock: links, a node, and its dialers.

A fake does nothing by itself. A link keeps the lines that it is sent, and the test plays the far
end; a node keeps what is to be done later until the test lets the time pass. Messages, routes and
what a link counts are the real ones.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from barker.links.link import Link
from barker.process.slices import Slices, Steps
from barker.routing.routes import RouteTable, Target
from barker.wire import messages, protocol
from barker.wire.fields import addresses_in
from barker.wire.ops import Item, Put
from tests.tools.wireclient import Message, Streams

Work = Callable[[], None]


class Sent(NamedTuple):
    """One entry of a put that a link was sent."""

    seq: int
    addresses: Sequence[str]
    item: Item

    @property
    def n(self) -> int:
        return self.item.n


def stamped(origin: str, n: int, body: bytes = b"{}", *, old: bool = False) -> Item:
    """An item as a first manifold stamps it."""
    return Item(body, origin, n, "ark3", f"id{n}", 1, old=old)


class FakeLink:
    """Keeps every line that it is sent while it is open, as bytes, as a message, and its puts.

    It is busy from `room` lines on.
    """

    count_puts, commit, ack = Link.count_puts, Link.commit, Link.ack

    def __init__(self, name: str = "peer", room: float = math.inf) -> None:
        self.name = name
        self.room = room
        self.closed = False
        self.received = self.committed = self.acked = 0
        self.pings = 0
        self.lines: list[bytes] = []
        self.sent: list[Message] = []
        self.puts: list[Sent] = []
        self._streams = Streams()
        self.flushed = 0  # so many of the lines wait for nothing more
        self._taken = self._taken_puts = 0

    @property
    def busy(self) -> bool:
        return len(self.lines) >= self.room

    def send(self, line: bytes) -> None:
        if self.closed:
            return
        assert len(line) <= protocol.MAX_LINE_BYTES
        message = messages.decode(line)
        self.lines.append(line)
        self.sent += self._streams.one_by_one(json.loads(line, strict=False))
        if isinstance(message, Put):
            rows = enumerate(zip(message.entries(), message.items(), strict=True), message.seq)
            self.puts += [Sent(seq, addresses_in(to), item) for seq, (to, item) in rows]

    def write(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.send(line)
        self.flush()

    def flush(self) -> None:
        self.flushed = len(self.lines)

    def ping(self) -> None:
        self.pings += 1

    def abort(self, reason: str = "") -> None:
        self.closed = True

    def take(self) -> list[Message]:
        """The messages that were sent since the last time."""
        new, self._taken = self.sent[self._taken :], len(self.sent)
        return new

    def take_puts(self) -> list[Sent]:
        """The puts that were sent since the last time."""
        new, self._taken_puts = self.puts[self._taken_puts :], len(self.puts)
        return new


class FakeDialer:
    """Instead of the real one: remembers whom it should dial."""

    def __init__(self, node: Any, host: str, port: int, _: object, expect: str) -> None:
        self.place = (host, port)
        self.expect = expect
        node.dialers.append(self)
        self._node = node

    def close(self) -> None:
        self._node.dialers.remove(self)


class AtOnce(Slices):
    """Long work in one slice, however busy the machine is."""

    def add(self, steps: Steps) -> None:
        for _ in steps:
            pass


class FakeNode:
    """Routes, the dialers that are at work, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.routes = RouteTable()
        self.dialers: list[FakeDialer] = []
        self.links: set[Link] = set()
        self.clock = 100.0
        self.timers: list[tuple[float, Work]] = []  # when, and what
        self._watchers: dict[str, Work] = {}
        self.slices = AtOnce(self)

    def watch(self, service: str, changed: Work) -> None:
        self._watchers[service] = changed

    def told(self, service: str, policy: str, targets: Sequence[Target]) -> None:
        """The directory says so."""
        if self.routes.update(service, policy, targets):
            self._watchers[service]()

    def now(self) -> float:
        return self.clock

    def later(self, delay_s: float, work: Work) -> None:
        self.timers.append((self.clock + delay_s, work))

    def fire(self, until: float = math.inf) -> None:
        """Do what is to be done up to then, whatever the clock says."""
        due = [work for at, work in self.timers if at <= until]
        self.timers = [(at, work) for at, work in self.timers if at > until]
        for work in due:
            work()

    def pass_time(self, seconds: float) -> None:
        self.clock += seconds
        self.fire(self.clock)
