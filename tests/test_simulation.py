"""The whole pipeline, simulated: real logic, a made-up network, and every mishap by seed.

Outboxes, bizlogics, inboxes, a client and a listener are the real ones. What is faked is the edge:
links, dialers, clocks, timers, the directory and the disk. Links are as TCP has them: in order
while a connection lives, with delays, and a break loses the end of what was on the way. A process
that dies leaves exactly what its journal had been given, also in the middle of a write.

A run is a list of named events. It is made by a seed, event by event from what is possible then,
and afterwards it can be played again with any of its events left out: what is not possible is
passed over. So a failure is shrunk to the few events that it takes, and they are printed.
"""

import argparse
import contextlib
import functools
import itertools
import json
import logging
import pathlib
import random
import tempfile
import traceback
import unittest
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

from barker import (
    acks,
    barks,
    delivery,
    handover,
    inbox,
    keeper,
    listen,
    node,
    peers,
    readers,
    routing,
    wire,
)
from barker.bizlogic import BizLogic, Targets
from barker.delivery import Delivery
from barker.graph import Graph
from barker.inbox import Inbox
from barker.link import Conversation, Link
from barker.listen import Reader
from barker.node import DirectoryTalk, Node
from barker.outbox import Outbox
from barker.ring import Ring
from barker.routing import CONSISTENT, ORDERED, Target
from barker.service import Service
from barker.streams import Cursor, Duplicates, Stream
from barker.users import World
from barker.window import Window
from barker.wire import BarkerError
from tests.fleet import SLOW, run_to_its_end

# Who follows whom. Of these names every instance below owns some, and every change moves some.
FOLLOWS = {
    "ann": ["dan", "lea", "ned"],
    "dan": ["ann"],
    "lea": ["ann", "ned"],
    "ned": ["lea"],
    "fay": ["ann", "dan"],
}
# Small, so that every limit is met within a run.
WINDOW = 6
READER_WINDOW = 8
BUSY_MESSAGES = 5  # of which one line may have many
EVENT_S = 0.001  # how long each event takes, so that some acks are due at once and some later
HANDFUL = 3  # of puts in a line, in a record, of messages to one reader
BACKLOG = 7
KEEP = 200  # far more than are said: what is retained is a limit of its own
SEGMENT_BYTES = 2000

Event = tuple[Any, ...]
Shown = tuple[str, str, int, bool]  # author, id, number, whether it was marked late


class Killed(BaseException):
    """kill -9, in the middle of whatever the process was doing."""


# --- the disk ------------------------------------------------------------------------------------


class Disk:
    """What one manifold has on its disk, for as long as the simulation lasts."""

    def __init__(self) -> None:
        self.segments: dict[int, list[bytes]] = {}
        self.torn = False
        self.closed = False  # nothing was written since somebody closed it in good order
        self.full = False
        self.trap = ""  # the next write kills: "before", "after", or in the middle of it: "torn"


class MemoryJournal:
    """A journal as `barker.journal` has it, in memory. What was appended survives the process."""

    def __init__(self, disk: Disk, epochs: Iterator[str]) -> None:
        self.disk = disk
        self.epoch = ""
        self.damages = 0
        self.undone = True
        self._epochs = epochs
        self._header: Callable[[], dict[str, Any]] = dict
        self._sizes = {n: sum(map(len, lines)) for n, lines in disk.segments.items()}
        self._begun = False

    @property
    def segments(self) -> dict[int, int]:
        return self._sizes

    @property
    def size(self) -> int:
        return sum(self._sizes.values())

    @property
    def current(self) -> int:
        return next(reversed(self._sizes), 0)

    def recover(self) -> Iterator[tuple[int, bytes]]:
        for number, lines in list(self.disk.segments.items()):
            for line in lines:
                if line.startswith(b'{"op":"segment"'):
                    self.epoch = wire.loads(line)["epoch"]
                yield number, line
        self.damages, self.disk.torn = int(self.disk.torn), False
        if self.damages or not self.disk.closed or not self.epoch:
            self.epoch = next(self._epochs)

    def begin(self, header: Callable[[], dict[str, Any]]) -> None:
        self._header = header
        self._rotate()

    def _rotate(self) -> None:
        if self.disk.full:
            raise OSError(28, "No space left on device")
        number = self.current + 1
        self._sizes[number] = 0
        self.disk.segments[number] = []
        self._begun = True
        self.disk.closed = False
        self._write([wire.encode("segment", epoch=self.epoch, **self._header())])

    def turn(self) -> int:
        if not self._begun or self._sizes[self.current] > SEGMENT_BYTES:
            self._rotate()
        return self.current

    def append(self, lines: Sequence[bytes]) -> int:
        if self.disk.full:
            raise OSError(28, "No space left on device")
        trap, self.disk.trap = self.disk.trap, ""
        if trap == "before":
            raise Killed
        self.turn()
        if trap == "torn":
            self._write(lines[: len(lines) // 2])
            self.disk.torn = True
            raise Killed
        self._write(lines)
        if trap:
            raise Killed
        return self.current

    def _write(self, lines: Sequence[bytes]) -> None:
        self.disk.segments[self.current] += lines
        self._sizes[self.current] += sum(map(len, lines))

    def drop(self, number: int) -> None:
        del self.disk.segments[number], self._sizes[number]

    def close(self) -> None:
        self.disk.closed = self.disk.closed or self._begun


# --- links ---------------------------------------------------------------------------------------


class End:
    """One side's end of a connection: what a party takes for a `Link`."""

    name = "simulated"
    count_puts = Link.count_puts

    def __init__(self, party: "Party", conversation: Conversation) -> None:
        self.party = party
        self.conversation = conversation
        self.other: End = self
        self.peer: dict[str, Any] = {}
        self.closed = False  # as our own side has it
        self.down = False  # link_down was called
        self.pipe: deque[bytes] = deque()  # on its way from here to the other end
        self.broken = False  # nothing more gets from here to the other end
        self.out: list[bytes] = []
        self.received = self.acked = 0
        self.pings = self.pongs = 0
        self.messages_in = self.messages_out = 0
        self.waits: Callable[[], None] | None = None  # to be called when there is room

    def __repr__(self) -> str:
        return f"{self.party.name}>{self.other.party.name}"

    @property
    def busy(self) -> bool:
        return sum(1 + line.count(wire.BETWEEN) for line in (*self.out, *self.pipe)) > BUSY_MESSAGES

    def when_free(self, work: Callable[[], None]) -> None:
        self.waits = work

    def see_room(self) -> None:
        """The other side has read something: whoever waited for that goes on at his next turn."""
        if self.waits and not self.busy:
            work, self.waits = self.waits, None
            self.party.timers.append(lambda: None if self.closed else work())

    def ping(self) -> None:
        self.pings += 1
        self.send(wire.PING)

    def send(self, message: bytes) -> None:
        if not self.closed:
            self.out.append(message)

    def write(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.send(message)
        self.flush()

    def flush(self) -> None:
        if not self.closed and not self.broken:
            self.pipe += self.out
        self.out.clear()

    def abort(self, reason: str = "") -> None:
        self.closed = self.broken = True
        self.out.clear()

    def close(self, fault: BarkerError | None = None) -> None:
        if fault:
            self.party.world.fault(f"{self!r} closed with {fault}")
        self.flush()
        self.closed = self.broken = True

    def hear(self, count: int) -> None:
        """One batch, as `Link.run` and `Link._handle` have it, or the end of the connection."""
        lines = [self.other.pipe.popleft() for _ in range(min(count, len(self.other.pipe)))]
        self.other.see_room()
        if self.closed or not lines:
            self.go_down()
            return
        ops = self.conversation.ops
        try:
            try:
                for line in lines:
                    message = wire.decode(line)
                    if message["op"] == "ping":
                        self.send(wire.PONG)
                    elif message["op"] == "pong":
                        self.pongs += 1
                    else:
                        ops[message["op"]](self, message)  # type: ignore[arg-type]
                    if self.closed:
                        return
            finally:
                self.conversation.batch_end(self)  # type: ignore[arg-type]
                self.flush()
        except BarkerError as fault:
            self.close(fault)

    def go_down(self) -> None:
        if not self.down:
            self.down = True
            self.abort()
            self.party.ends.remove(self)
            if self.party.alive:
                self.conversation.link_down(self)  # type: ignore[arg-type]

    @property
    def has_news(self) -> bool:
        """Is there anything to hear, be it the end?"""
        return not self.down and bool(self.other.pipe or self.other.broken or self.closed)


class SimDialer:
    """Instead of `barker.dialing.Dialer`: connects when the network says so."""

    def __init__(
        self, owner: Any, host: str, port: int, conversation: Conversation, expect: str
    ) -> None:
        self.place = (host, port)
        self.expect = expect
        self.conversation = conversation
        self.end: End | None = None
        self.party: Party = owner.party
        self.party.dialers.append(self)

    def close(self) -> None:
        self.party.dialers.remove(self)
        if self.end:
            self.end.abort()


# --- parties -------------------------------------------------------------------------------------


class Party:
    """One process: a real node, without its loop."""

    def __init__(self, world: "Simulation", name: str, since: int) -> None:
        self.world = world
        self.name = name
        self.kind = name.partition("-")[0]
        self.alive = True
        self.frozen = False
        self.since = since
        self.ends: list[End] = []
        self.dialers: list[SimDialer] = []
        self.timers: list[Callable[[], None]] = []
        self.told: deque[tuple[str, str, tuple[Target, ...]]] = deque()
        self.node: Node = self.make()
        self.talk = DirectoryTalk(self.node, self.node._watched)
        if isinstance(self.node, Service):
            run_to_its_end(self.node.prepare())

    def make(self) -> Node:
        args = argparse.Namespace(**self.world.args)
        made: Node
        if self.kind in ("client", "listener"):
            made = Node(args)
        elif self.kind == "bizlogic":
            made = BizLogic(args)
            made.graph_came(Graph.of(World(FOLLOWS)))
        elif self.kind == "outbox":
            made = Outbox(argparse.Namespace(**self.world.args, address="outbox", push="bizlogic"))
        else:
            made = Inbox(argparse.Namespace(**self.world.args, address="inbox", push=None))
        made.name = self.name
        made.party = self  # type: ignore[attr-defined]
        made.now = lambda: self.world.now_s  # type: ignore[method-assign]
        made.later = lambda delay_s, work: self.timers.append(work)  # type: ignore[method-assign]
        made.tell_directory = self.tell_directory  # type: ignore[method-assign]
        made.start = lambda work, name: work.close()  # type: ignore
        if isinstance(made, keeper.Keeper):
            disk = self.world.disks.setdefault(self.name, Disk())
            made.journal = MemoryJournal(disk, self.world.epochs)  # type: ignore[assignment]
        return made

    @property
    def runs(self) -> bool:
        return self.alive and not self.frozen

    def tell_directory(self, message: bytes) -> None:
        assert wire.decode(message)["op"] == "unregister"
        self.world.unregister(self.name)

    @property
    def leaving(self) -> bool:
        return isinstance(self.node, Inbox) and self.node._leaving

    def do(self, work: Callable[[], None]) -> None:
        """One turn of the loop; what was sent during it leaves at its end, unless it was killed."""
        try:
            work()
        except Killed:
            self.world.kill(self)
        for end in list(self.ends):
            end.flush()

    def hear_route(self) -> None:
        service, policy, targets = self.told.popleft()
        message = {
            "address": service,
            "policy": policy,
            "targets": [t._asdict() for t in targets],
        }
        self.talk.on_routes(None, message)  # type: ignore[arg-type]

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for work in timers:
            work()


class Saying:
    """A bark of the client; a `Job`."""

    void = False

    def __init__(self, bark: barks.Bark) -> None:
        self.bark = bark
        self.pending = 0
        self.acked = False


class Mouth(Delivery):
    def settled(self, jobs: list[Any]) -> None:
        for job in jobs:
            job.pending -= 1
            job.acked = True

    def refused(self, put: Any, code: str, reason: str, addresses: Sequence[str]) -> None:
        raise AssertionError(f"{put.job.bark} was refused: {reason} ({code})")


# --- the simulation ------------------------------------------------------------------------------


class Setting(NamedTuple):
    """Who there is, and what may happen to whom."""

    names: tuple[str, ...]
    at_first: tuple[str, ...]
    mortal: tuple[str, ...]  # kinds that are killed, stopped, frozen
    disks: bool = False  # disks fill up
    power: bool = False  # power cuts take the end of a journal
    ordered: bool = True  # owners never change: every author's order holds
    punctual: bool = False  # and nothing is ever late


WORKERS = ("bizlogic-a", "bizlogic-b")
SETTINGS = {
    # Nothing but links, bizlogics and the directory's word come and go.
    "calm": Setting(
        names=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        at_first=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        mortal=("bizlogic",),
        punctual=True,
    ),
    # Everything dies, but there is only one owner, ever.
    "alone": Setting(
        names=("outbox-a", *WORKERS, "inbox-a"),
        at_first=("outbox-a", *WORKERS, "inbox-a"),
        mortal=("bizlogic", "outbox", "inbox"),
        punctual=True,
    ),
    # Disks fill up, and nobody's share ever changes its owner.
    "full": Setting(
        names=("outbox-a", *WORKERS, "inbox-a"),
        at_first=("outbox-a", *WORKERS, "inbox-a"),
        mortal=("bizlogic", "outbox", "inbox"),
        disks=True,
        punctual=True,
    ),
    # Rings change.
    "rings": Setting(
        names=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b", "inbox-c"),
        at_first=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        mortal=("bizlogic", "outbox", "inbox"),
        ordered=False,
    ),
    # The same with disks that fill up.
    "disks": Setting(
        names=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b", "inbox-c"),
        at_first=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        mortal=("bizlogic", "outbox", "inbox"),
        disks=True,
        ordered=False,
    ),
    # The same, and without --fsync.
    "power": Setting(
        names=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b", "inbox-c"),
        at_first=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        mortal=("bizlogic", "outbox", "inbox"),
        power=True,
        ordered=False,
    ),
}
POLICIES = {"outbox": CONSISTENT, "inbox": CONSISTENT, "bizlogic": ORDERED}


class Failure(Exception):
    """A promise was broken."""


class Simulation:
    """One run. `play` does one event; `finish` lets everything come to rest and judges."""

    def __init__(self, setting: Setting, state: pathlib.Path) -> None:
        self.setting = setting
        self.args: dict[str, Any] = {
            "state": state,
            "secret_file": None,
            "tls_cert": None,
            "tls_key": None,
            "tls_ca": None,
            "heartbeat": 1.0,
            "directory": ("127.0.0.1", 1),
            "name": None,
            "no_journal": True,  # but the one that it is given
            "fsync": False,
            "history": KEEP,
            "keep": KEEP,
            "max_backlog": BACKLOG,
        }
        self.clock = 1000
        self.now_s = 0.0
        self.faults: list[str] = []
        self.disks: dict[str, Disk] = {}
        self.epochs = (f"{n:016x}" for n in itertools.count(1))
        self.parties: dict[str, Party] = {}
        self.registered: dict[str, dict[str, Target]] = {s: {} for s in POLICIES}
        self.said: list[Saying] = []
        self.numbers: Counter[str] = Counter()
        self.shown: dict[str, list[Shown]] = {u: [] for u in FOLLOWS}
        # Who begins to read in the middle, without any history, is due what is said afterwards.
        self.shown_later: dict[str, list[Shown]] = {u: [] for u in FOLLOWS}
        self.due_later: list[Saying] = []
        self.forgiven: set[str] = set()  # ids of what a power cut may have taken
        self.readers: dict[str, Reader] = {}
        self.targets = Targets(World(FOLLOWS))
        for name in ("client", "listener"):
            self.parties[name] = Party(self, name, 0)
        self.mouth = Mouth(self.parties["client"].node, "outbox")
        self.read(self.parties["listener"], self.shown, KEEP)
        for name in setting.at_first:
            self.play(("start", name))
            self.play(("register", name))
        while self._let_all_do(setting.at_first):
            pass  # from here on it is a system that runs

    def read(self, party: Party, shown: dict[str, list[Shown]], history: int) -> None:
        def show(reader: str, body: dict[str, Any], late: bool) -> None:
            shown[reader].append((body["user"], body["id"], int(body["content"]), late))

        def refused(user: str, reason: str) -> None:
            self.fault(f"{user} can't be read: {reason}")

        reader = Reader(party.node, list(FOLLOWS), show, refused, history)
        self.readers[party.name] = reader
        for service, members in self.registered.items():
            party.told.append((service, POLICIES[service], tuple(members.values())))

    def is_reading(self, name: str) -> bool:
        places = self.readers[name]._places.values() if name in self.readers else []
        return bool(places) and all(place.epoch for place in places)

    def fault(self, text: str) -> None:
        self.faults.append(text)

    # --- events ---

    def play(self, event: Event) -> None:
        """Do it; what is not possible now is passed over."""
        action, name, *more = event
        self.now_s += EVENT_S
        getattr(self, f"_{action}")(name, *more)
        if self.faults:
            raise Failure(self.faults[0])

    def running(self, name: str) -> Party | None:
        party = self.parties.get(name)
        return party if party and party.runs else None

    def _say(self, author: str, count: int, later_ms: int) -> None:
        for _ in range(count):
            self.clock += later_ms
            self.say(author)

    def say(self, author: str) -> None:
        self.numbers[author] += 1
        number = self.numbers[author]
        bark = barks.Bark(f"{author}{number}", author, str(number), self.clock)
        saying = Saying(bark)
        self.said.append(saying)
        if self.is_reading("listener-b"):
            self.due_later.append(saying)
        self._put(saying)

    def _repeat(self, _: str, back: int) -> None:
        """The client says something again that it has said before, because it forgot that."""
        if len(self.said) > back:
            self._put(Saying(self.said[-1 - back].bark))

    def _put(self, saying: Saying) -> None:
        bark = saying.bark

        def work() -> None:
            self.mouth.put(
                (f"outbox/{bark.user}",), wire.unstamped(barks.encode_bark(bark)), saying
            )
            self.mouth.pump()

        self.parties["client"].do(work)

    def _start(self, name: str) -> None:
        if name not in self.parties or not self.parties[name].alive:
            self.clock += 1
            party = self.parties[name] = Party(self, name, self.clock)
            for service, members in self.registered.items():
                party.told.append((service, POLICIES[service], tuple(members.values())))

    def _listen(self, name: str) -> None:
        if name not in self.parties:
            party = self.parties[name] = Party(self, name, 0)
            self.read(party, self.shown_later, 0)

    def _register(self, name: str) -> None:
        party = self.running(name)
        service = name.partition("-")[0]
        if party and service in POLICIES and not party.leaving:
            target = Target(name, "127.0.0.1", 5000 + ord(name[-1]), party.since)
            if self.registered[service].get(name) != target:
                self.registered[service][name] = target
                self._tell(service)

    def _gone(self, name: str) -> None:
        """The directory notices that it is dead or frozen."""
        service = name.partition("-")[0]
        party = self.parties.get(name)
        if (not party or not party.runs) and name in self.registered.get(service, {}):
            self.unregister(name)

    def unregister(self, name: str) -> None:
        service = name.partition("-")[0]
        if self.registered[service].pop(name, None):
            self._tell(service)

    def _tell(self, service: str) -> None:
        for party in self.parties.values():
            if party.alive:
                targets = tuple(self.registered[service].values())
                party.told.append((service, POLICIES[service], targets))

    def _told(self, name: str) -> None:
        party = self.running(name)
        if party and party.told:
            party.do(party.hear_route)

    def _dial(self, name: str, to: str) -> None:
        party, target = self.running(name), self.running(to)
        for dialer in party.dialers if party else ():
            # One dialer has one link at a time; the last one has to be down on this side.
            if dialer.expect == to and (dialer.end is None or dialer.end.down):
                if party and target and isinstance(target.node, Service):
                    self._connect(party, dialer, target, target.node)
                return

    def _connect(self, party: Party, dialer: SimDialer, target: Party, service: Service) -> None:
        here, there = End(party, dialer.conversation), End(target, service)
        here.other, there.other = there, here
        here.peer, there.peer = {"name": target.name}, {"name": party.name}
        dialer.end = here
        party.ends.append(here)
        target.ends.append(there)
        target.do(lambda: there.conversation.link_up(there))  # type: ignore[arg-type]
        party.do(lambda: here.conversation.link_up(here))  # type: ignore[arg-type]

    def _ends(self, name: str, to: str) -> list[End]:
        party = self.running(name)
        return [e for e in party.ends if e.other.party.name == to] if party else []

    def _hear(self, name: str, of: str, count: int) -> None:
        party = self.running(name)
        for end in self._ends(name, of):
            if party and end.has_news:
                party.do(functools.partial(end.hear, count))
                return

    def _cut(self, name: str, to: str, kept: int, kept_back: int) -> None:
        """The connection breaks; so many messages of either direction still arrive."""
        for end in self.parties[name].ends if name in self.parties else ():
            if end.other.party.name == to and not end.broken:
                self._break(end, kept)
                self._break(end.other, kept_back)
                return

    @staticmethod
    def _break(end: End, kept: int) -> None:
        end.broken = True
        while len(end.pipe) > kept:
            end.pipe.pop()

    def _freeze(self, name: str) -> None:
        party = self.running(name)
        if party:
            party.frozen = True

    def _thaw(self, name: str, noticed: bool) -> None:
        party = self.parties.get(name)
        if party and party.frozen:
            party.frozen = False
            if noticed:
                for end in list(party.ends):
                    end.abort()

    def _fire(self, name: str) -> None:
        party = self.running(name)
        if party and party.timers:
            party.do(party.fire)

    def _kill(self, name: str, kept: int) -> None:
        party = self.parties.get(name)
        if party and party.alive:
            self.kill(party, kept)

    def kill(self, party: Party, kept: int = 2) -> None:
        party.alive = party.frozen = False
        for end in list(party.ends):
            self._break(end, kept)
            end.other.broken = True
            end.other.pipe.clear()
            end.abort()
            end.down = True
        party.ends.clear()
        party.dialers.clear()
        party.timers.clear()
        party.told.clear()

    def _stop(self, name: str) -> None:
        """SIGTERM: the last words still leave."""
        party = self.running(name)
        if party:
            party.do(lambda: run_to_its_end(party.node.stopping()))
            if party.alive:
                self.kill(party, 10**6)

    def _leave(self, name: str) -> None:
        """SIGTERM for an inbox: it is taken off the ring, and hands over before it goes."""
        party = self.running(name)
        if party and isinstance(party.node, Inbox):
            party.do(party.node.interrupted)

    def _left(self, name: str, in_time: bool) -> None:
        """It has handed over, or its time is up."""
        party = self.running(name)
        if party and party.leaving and not (in_time and not self.may_go(party)):
            self._stop(name)

    @staticmethod
    def may_go(party: Party) -> bool:
        return isinstance(party.node, Inbox) and party.node._hand_over.may_go

    def _blackout(self, name: str, records: int) -> None:
        """A power cut: so many records had not come to the disk yet."""
        if name in self.disks:
            self._kill(name, 0)
            disk = self.disks[name]
            disk.closed = False
            for number in reversed(disk.segments):
                lines = disk.segments[number]
                while lines and records:
                    self.forgiven |= {s.bark.id for s in self.said if _says(lines[-1], s.bark.id)}
                    lines.pop()
                    records -= 1

    def _trap(self, name: str, where: str) -> None:
        """kill -9 around or within the next write of its journal."""
        if self.running(name) and name in self.disks:
            self.disks[name].trap = where

    def _full(self, name: str, full: bool) -> None:
        if name in self.disks:
            self.disks[name].full = full

    # --- what could happen next ---

    def choose(self, dice: random.Random) -> Event:
        mishap = dice.random() < 0.09
        return self._mishap(dice) if mishap else self._progress(dice)

    def _progress(self, dice: random.Random) -> Event:
        """What the system does if nobody disturbs it, each thing as early or late as it happens."""
        if dice.random() < 0.15:
            return ("say", dice.choice([*FOLLOWS]), dice.choice((1, 1, 2, 5)), dice.choice((0, 1)))
        if dice.random() < 0.02:
            return ("repeat", "client", dice.randrange(6))
        if dice.random() < 0.01:
            return ("listen", "listener-b")
        possible: list[Event] = []
        for party in self.parties.values():
            name = party.name
            if not party.alive:
                possible += [("start", name)] + [("gone", name)] * 2
                continue
            if party.frozen:
                possible += [("thaw", name, dice.random() < 0.7), ("gone", name)]
                continue
            if self.registered.get(party.kind, {}).get(name, name) == name:
                possible += [("register", name)] * (party.kind in POLICIES)
            if party.leaving:
                possible.append(("left", name, dice.random() < 0.9))
            if party.told:
                possible += [("told", name)] * 3
            if party.timers:
                possible.append(("fire", name))
            possible += [
                ("dial", name, d.expect) for d in party.dialers if d.end is None or d.end.down
            ]
            for end in party.ends:
                if end.has_news:
                    event = ("hear", name, end.other.party.name, dice.choice((1, 2, 3, 9)))
                    possible += [event, event]
        possible += [("full", n, False) for n, disk in self.disks.items() if disk.full]
        return dice.choice(possible) if possible else ("say", "ann", 1, 1)

    def _mishap(self, dice: random.Random) -> Event:
        names = [n for n in self.setting.names if n.partition("-")[0] in self.setting.mortal]
        name = dice.choice(names)
        manifold = name.partition("-")[0] != "bizlogic"
        match dice.randrange(10):
            case 0 | 1:
                ends = [repr(e) for p in self.parties.values() for e in p.ends if p.alive]
                if ends:
                    here, _, there = dice.choice(ends).partition(">")
                    return ("cut", here, there, dice.randint(0, 4), dice.randint(0, 4))
            case 2:
                return ("freeze", name)
            case 3 | 4 if manifold:
                return ("trap", name, dice.choice(("before", "after", "torn")))
            case 5:
                return ("stop", name)
            case 6 if self.setting.disks and manifold:
                return ("full", name, True)
            case 7 | 8 if name.startswith("inbox"):
                return ("leave", name)
            case 9 if self.setting.power and manifold:
                return ("blackout", name, dice.randint(1, 6))
        if name not in self.parties:
            return ("start", name)
        return ("kill", name, dice.randint(0, 4))

    # --- the end ---

    def finish(self) -> None:
        """Nothing bad happens any more; soon everything is at rest, and then it is judged."""
        for disk in self.disks.values():
            disk.full, disk.trap = False, ""
        self.rest()
        self.judge()
        if "outbox" in self.setting.mortal:
            # What is on the disks is all that there is.
            for name in self.setting.names:
                self._kill(name, 0)
            self.rest()
            self.judge()

    def rest(self) -> None:
        for _ in range(60):
            if not self._let_all_do(self.setting.names):
                return
        raise Failure(f"does not come to rest: {self.unsettled()}")

    def _let_all_do(self, names: Sequence[str]) -> bool:
        """All of these come back and do all there is to do, once; False if there was nothing."""
        active = False
        for name in names:
            party = self.parties.get(name)
            if party is None:
                continue
            if party.frozen:
                self.play(("thaw", name, True))
            if not party.alive:
                self.play(("gone", name))
                self.play(("start", name))
            self.play(("register", name))
            if party.leaving and self.may_go(party):
                active = True
                self.play(("left", name, True))
        for party in list(self.parties.values()):
            while party.told:
                active = True
                self.play(("told", party.name))
            if party.timers:
                active = True
                self.play(("fire", party.name))
            for dialer in list(party.dialers):
                if dialer.end is None or dialer.end.down:
                    active = True
                    self.play(("dial", party.name, dialer.expect))
            for end in list(party.ends):
                while end.has_news:
                    active = True
                    self.play(("hear", party.name, end.other.party.name, 100))
        return active

    def unsettled(self) -> dict[str, int]:
        found = {"client": len(self.mouth)}
        for name, party in self.parties.items():
            some: Any = party.node
            if isinstance(some, Outbox):
                found[name] = len(some._push)
            elif isinstance(some, BizLogic):
                found[name] = len(some._inboxes)
            elif isinstance(some, Inbox):
                found[name] = len(some._hand_over) + len(some._hand_over._queue)
        return {name: count for name, count in found.items() if count}

    def judge(self) -> None:
        if self.unsettled():
            raise Failure(f"at rest, and not settled: {self.unsettled()}")
        if not all(s.acked for s in self.said):
            raise Failure("at rest, and not acked")
        due = {
            reader: sorted(s.bark.id for s in self.said if f"inbox/{reader}" in self.to(s))
            for reader in FOLLOWS
        }
        self.compare("the listener", due, self.shown)
        if self.readers["listener"].gaps:
            raise Failure("gap: the listener was told that something is no longer kept")
        for reader, shown in self.shown_later.items():
            ids = Counter(id_ for _, id_, _, _ in shown)
            for saying in self.due_later:
                if saying.bark.id in self.forgiven:
                    continue
                if f"inbox/{reader}" in self.to(saying) and saying.bark.id not in ids:
                    raise Failure(f"lost: {saying.bark.id} for {reader}, who came later")
            for id_, times in ids.items():
                if times > 1:
                    raise Failure(f"twice: {id_} for {reader}, who came later")
        for reader, shown in self.shown.items():
            self.check_order(reader, shown)
        self.check_timelines()
        fresh: dict[str, list[Shown]] = {u: [] for u in FOLLOWS}
        party = self.parties["listener-2"] = Party(self, "listener-2", 0)
        self.read(party, fresh, KEEP)
        self.rest()
        self.compare("a new reader", due, fresh)
        self.kill(party)
        del self.parties["listener-2"]
        self.rest()

    def to(self, saying: Saying) -> tuple[str, ...]:
        return self.targets.of(saying.bark.user, saying.bark.content)

    def compare(self, who: str, due: dict[str, list[str]], got: dict[str, list[Shown]]) -> None:
        for reader, ids in due.items():
            shown = Counter(id_ for _, id_, _, _ in got[reader])
            for id_ in ids:
                if id_ not in shown and id_ not in self.forgiven:
                    raise Failure(f"lost: {who} was not shown {id_} as {reader}")
            for id_, times in shown.items():
                if times > 1:
                    raise Failure(f"twice: {who} was shown {id_} {times} times as {reader}")
                if id_ not in ids:
                    raise Failure(f"unexpected: {who} was shown {id_} as {reader}")

    def check_order(self, reader: str, shown: list[Shown]) -> None:
        last: Counter[str] = Counter()
        for author, id_, number, late in shown:
            if late and self.setting.punctual:
                raise Failure(f"late: {id_} for {reader}, though no owner has changed")
            if number < last[author] and self.setting.ordered:
                raise Failure(f"out of order: {reader} was shown {id_} after {last[author]}")
            last[author] = max(last[author], number)

    def check_timelines(self) -> None:
        for name, party in self.parties.items():
            if isinstance(party.node, Inbox):
                for address, timeline in party.node._timelines.items():
                    bodies = Counter(json.loads(e.body)["id"] for e in timeline.entries)
                    for id_, times in bodies.items():
                        if times > 1:
                            raise Failure(f"twice: {name} holds {id_} {times} times in {address}")


# --- running and shrinking -----------------------------------------------------------------------


@contextlib.contextmanager
def small_world() -> Iterator[pathlib.Path]:
    """Limits that are met within a run; and nothing real: no dialer, no clock, no file."""
    with contextlib.ExitStack() as stack:

        def patch(where: object, name: str, value: object) -> None:
            stack.enter_context(mock.patch.object(where, name, value))

        state = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (state / "users.json").write_text(json.dumps(FOLLOWS))
        duplicates = functools.partial(Duplicates, window=2 * WINDOW)
        patch(wire, "UNACKED_WINDOW", WINDOW)
        patch(acks, "AT_ONCE", WINDOW // 2)
        patch(inbox, "Duplicates", duplicates)
        patch(listen, "WINDOW", READER_WINDOW)
        for module in (delivery, keeper, readers):
            patch(module, "HANDFUL", HANDFUL)
        patch(handover, "HANDED_OVER_AT_ONCE", 4)
        patch(peers, "Dialer", SimDialer)
        patch(routing, "Ring", lambda names: _ring(tuple(names)))
        patch(Node, "now", staticmethod(lambda: 0.0))
        patch(Service, "stopping", _nothing)
        patch(Node, "has_directory", True)
        world, secret = World(FOLLOWS), b"x" * 64
        for module in (keeper, node):
            patch(module.state, "world", lambda state: world)
            patch(module.state, "secret", lambda *_: secret)
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        yield state


async def _nothing(self: Service) -> None:
    pass


def _says(record: bytes, id_: str) -> bool:
    """Is this bark in that record, by itself or within a whole timeline (with quotes escaped)?"""
    return b'"id":"%b"' % id_.encode() in record.replace(b"\\", b"")


@functools.lru_cache
def _ring(names: tuple[str, ...]) -> Ring:
    return Ring(names, 32)


class Outcome(NamedTuple):
    events: list[Event]
    failure: str


def run(
    setting: Setting,
    state: pathlib.Path,
    dice: random.Random | None = None,
    steps: int = 0,
    events: Sequence[Event] = (),
) -> Outcome:
    """By dice or by a list of events; the failure is empty if there is none."""
    done: list[Event] = []
    try:
        simulation = Simulation(setting, state)
        for _ in range(steps) if dice else ():
            assert dice
            done.append(simulation.choose(dice))
            simulation.play(done[-1])
        for event in events:
            done.append(event)
            simulation.play(event)
        simulation.finish()
    except Failure as failure:
        return Outcome(done, str(failure))
    except Exception as failure:
        where = traceback.extract_tb(failure.__traceback__)[-1]
        return Outcome(done, f"{type(failure).__name__}: {failure} ({where.name})")
    return Outcome(done, "")


def shrink(setting: Setting, state: pathlib.Path, outcome: Outcome) -> Outcome:
    """Leave out what it does not take: halves, quarters, ... single events, until nothing gives."""
    kind = outcome.failure.partition(":")[0]
    size = len(outcome.events) // 2
    while size:
        at, shorter = 0, False
        while at < len(outcome.events):
            less = outcome.events[:at] + outcome.events[at + size :]
            again = run(setting, state, events=less)
            if again.failure.partition(":")[0] == kind:
                outcome, shorter = again, True
            else:
                at += size
        size = size if shorter and size == 1 else size // 2
    return outcome


def story(setting: str, seed: int, outcome: Outcome) -> str:
    lines = [f"{setting}, seed {seed}: {outcome.failure}"]
    lines += [f"    {action:<8} {' '.join(map(str, more))}" for action, *more in outcome.events]
    return "\n".join([*lines, "    and then everybody comes back and all is delivered"])


# Runs that failed once, shrunk: the setting, what was wrong, and the events that it took.
STORIES = {
    "disks: a counter that the disk refused made an old bark look settled": """
        say ned 2 0; hear outbox-a client 2; hear bizlogic-a outbox-a 2; full outbox-a True;
        trap inbox-b torn; say ned 2 0; say ann 1 0; hear client outbox-a 3; hear outbox-a client 3;
        hear client outbox-a 2; hear client outbox-a 1; fire client; hear inbox-b bizlogic-a 1;
        say ann 2 1; hear client outbox-a 1; hear outbox-a client 2; hear outbox-a client 3""",
    "rings: a former owner forgot a timeline before all of it was handed over": """
        say dan 2 1; say ned 5 0; freeze inbox-b; hear outbox-b client 2; hear outbox-a client 9;
        gone inbox-b; told inbox-a; told bizlogic-a; told bizlogic-b; hear bizlogic-a outbox-b 9;
        hear inbox-a bizlogic-a 3; kill bizlogic-a 3; hear outbox-a bizlogic-a 3;
        hear bizlogic-b outbox-a 3; start inbox-c; hear inbox-a bizlogic-b 9; register inbox-c;
        told inbox-a; told inbox-c; told inbox-c; told inbox-c; dial inbox-a inbox-c; told inbox-c;
        hear inbox-c inbox-a 3; hear inbox-a inbox-c 3""",
    "rings: void puts held the place of timelines that were to be handed over": """
        say ann 1 1; trap inbox-b after; kill inbox-b 0; gone inbox-b; told bizlogic-a;
        told inbox-a; say ann 1 1; hear outbox-a client 2; hear client outbox-a 2;
        hear bizlogic-a outbox-a 9; say ann 5 0; hear outbox-a client 3; hear inbox-a bizlogic-a 1;
        hear bizlogic-a inbox-a 2; hear outbox-a bizlogic-a 1; hear outbox-a client 3;
        hear bizlogic-a outbox-a 9; hear inbox-a bizlogic-a 3; start inbox-b;
        hear inbox-a bizlogic-a 3; told inbox-b; register inbox-b; told inbox-a;
        dial inbox-a inbox-b; told inbox-b; told inbox-b; hear inbox-b inbox-a 9; told inbox-b;
        hear inbox-a inbox-b 9; hear inbox-b inbox-a 3""",
    "alone: a reader took for old what its inbox had never sent it": """
        say ned 5 1; trap inbox-a torn; hear outbox-a client 3; hear bizlogic-a outbox-a 9;
        hear inbox-a bizlogic-a 9""",
}


def parsed(text: str) -> list[Event]:
    """The events of a story, as `story` prints them."""
    return [tuple(map(_value, line.split())) for line in text.split(";")]


def _value(word: str) -> object:
    return int(word) if word.isdecimal() else {"True": True, "False": False}.get(word, word)


class SimulationTest(unittest.TestCase):
    """Acked is kept, shown once, in order; and everything comes to rest."""

    RUNS = 300 if SLOW else 5
    STEPS = 150

    def assertAllGood(self, name: str, runs: int = RUNS) -> None:
        setting = SETTINGS[name]
        with small_world() as state:
            for seed in range(runs):
                outcome = run(setting, state, random.Random(seed), self.STEPS)
                if outcome.failure:
                    self.fail(story(name, seed, shrink(setting, state, outcome)))

    def test_nothing_is_lost_late_or_twice_whatever_becomes_of_links_and_bizlogics(self) -> None:
        self.assertAllGood("calm")

    def test_an_only_owner_keeps_the_order_however_often_it_dies(self) -> None:
        self.assertAllGood("alone")

    def test_nothing_is_lost_or_twice_whatever_becomes_of_the_rings(self) -> None:
        self.assertAllGood("rings")

    def test_nothing_is_lost_or_twice_when_disks_fill_up(self) -> None:
        self.assertAllGood("disks")

    def test_promise_3_what_a_full_disk_refuses_comes_in_its_order_all_the_same(self) -> None:
        self.assertAllGood("full")

    def test_nothing_else_is_lost_with_what_a_power_cut_takes(self) -> None:
        self.assertAllGood("power")

    def test_what_failed_once_does_not_fail_again(self) -> None:
        for name, events in STORIES.items():
            with self.subTest(name), small_world() as state:
                outcome = run(SETTINGS[name.partition(":")[0]], state, events=parsed(events))
                self.assertEqual(outcome.failure, "")

    def test_a_run_can_be_played_again_and_is_the_same(self) -> None:
        with small_world() as state:
            first = run(SETTINGS["rings"], state, random.Random(1), 100)
            again = run(SETTINGS["rings"], state, events=first.events)
            self.assertEqual(again, first)
            self.assertEqual(parsed(";".join(map(_words, first.events))), first.events)

    def test_a_failure_is_shrunk_to_what_it_takes(self) -> None:
        with small_world() as state, mock.patch.object(Duplicates, "admit", _everything):
            outcomes = (
                run(SETTINGS["alone"], state, random.Random(seed), self.STEPS) for seed in range(20)
            )
            outcome = next(o for o in outcomes if o.failure.startswith("twice"))
            shrunk = shrink(SETTINGS["alone"], state, outcome)
            self.assertIn("twice", shrunk.failure)
            self.assertLess(len(shrunk.events), 20)
            self.assertIn("say", story("alone", 0, shrunk))


def _words(event: Event) -> str:
    return " ".join(map(str, event))


def _everything(
    self: Duplicates, key: tuple[str, str], origin: str | None, n: int, addresses: list[str]
) -> tuple[Sequence[str], bool]:
    return addresses, False


class Hop:
    """One hop alone, without anything around it: a window, two relays, duplicates, a cursor.

    The sender's link breaks as it likes, and whatever the relays held then may come at any time
    later, as from a process that was frozen. A reader's link breaks, too.
    """

    LIMIT = 5

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.window: Window[int] = Window(self.LIMIT)
        self.said = 0
        self.sent: deque[tuple[int, int]] = deque()  # on the living link: number, counter
        self.held: list[deque[tuple[int, int]]] = []  # by relays whose links have broken
        self.duplicates = Duplicates(window=2 * self.LIMIT, min_keys=10_000)
        self.stream: Stream[int] = Stream(10_000)
        self.cursor = Cursor(0, 3)
        self.coming: deque[tuple[int, int]] = deque()  # to the reader: serial, counter
        self.place = 0
        self.shown: list[int] = []
        self.late = 0

    def step(self) -> None:
        match self.dice.randrange(12):
            case 0 | 1 | 2:
                self.said += 1
                self.window.add(self.said)
            case 3 | 4:
                self.send()
            case 5 | 6 if self.sent:
                self.receive(self.sent, answers=True)
            case 7:  # another link; the old one is with a relay that still has some of it
                for _ in range(self.dice.randint(0, 3)):
                    self.sent and self.sent.pop()
                self.held.append(self.sent)
                self.sent = deque()
                self.window.rewind()
            case 8 if self.held:
                self.receive(self.dice.choice(self.held), answers=False)
            case 9 | 10:
                self.read()
            case 11:
                self.coming.clear()
                self.cursor = Cursor.start(
                    self.stream,
                    same_epoch=True,
                    new_reader=False,
                    after=self.place,
                    history=0,
                    window=3,
                )

    def send(self) -> None:
        seq, entries = self.window.send(3)
        self.sent += enumerate(entries, seq)

    def receive(self, link: deque[tuple[int, int]], answers: bool) -> None:
        seq = 0
        for _ in range(min(len(link), self.dice.randint(1, 4))):
            seq, n = link.popleft()
            fresh, late = self.duplicates.admit(("ann", str(n)), "origin", n, ["inbox/bob"])
            self.late += bool(fresh) and late
            if fresh:
                self.stream.append(n)
        if answers and seq and self.dice.random() < 0.8:
            self.window.ack(seq)

    def read(self) -> None:
        _, serial, entries = self.cursor.take(self.stream)
        self.coming += enumerate(entries, serial)
        for _ in range(min(len(self.coming), self.dice.randint(0, 3))):
            self.place, n = self.coming.popleft()
            self.shown.append(n)
            self.cursor.ack(self.place)

    def finish(self) -> None:
        for _ in range(2 * self.said + 20):
            self.send()
            while self.sent:
                self.receive(self.sent, answers=True)
            for link in self.held:
                while link:
                    self.receive(link, answers=False)
            if len(self.window):
                self.window.rewind()  # an ack was lost
            self.read()


class HopTest(unittest.TestCase):
    RUNS = 50_000 if SLOW else 1000

    def test_each_is_shown_once_and_in_order_however_links_break(self) -> None:
        for seed in range(self.RUNS):
            hop = Hop(random.Random(seed))
            for _ in range(60):
                hop.step()
            hop.finish()
            everything = list(range(1, hop.said + 1))
            if (len(hop.window), hop.shown, hop.late) != (0, everything, 0):
                self.fail(f"seed {seed}: {hop.shown} instead of 1 to {hop.said}; {hop.late} late")


if __name__ == "__main__":
    unittest.main()
