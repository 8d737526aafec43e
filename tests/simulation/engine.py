"""The engine: one run. It does events, one after the other, and can let everything come to rest."""

import functools
import itertools
import pathlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from barker import barks, wire
from barker.bizlogic import BizLogic, Targets
from barker.inbox import Inbox
from barker.listen import Reader
from barker.outbox import Outbox
from barker.routing import Target
from barker.service import Service
from barker.users import World
from tests.fleet import run_to_its_end
from tests.simulation.disk import Disk
from tests.simulation.links import End, SimDialer
from tests.simulation.parties import Mouth, Party, Saying
from tests.simulation.settings import (
    BACKLOG,
    EVENT_S,
    FOLLOWS,
    KEEP,
    POLICIES,
    Event,
    Failure,
    Setting,
    Shown,
)


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
        while self.let_all_do(setting.at_first):
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

    # --- coming to rest ---

    def rest(self) -> None:
        for _ in range(60):
            if not self.let_all_do(self.setting.names):
                return
        raise Failure(f"does not come to rest: {self.unsettled()}")

    def let_all_do(self, names: Sequence[str]) -> bool:
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


def _says(record: bytes, id_: str) -> bool:
    """Is this bark in that record, by itself or within a whole timeline (with quotes escaped)?"""
    return b'"id":"%b"' % id_.encode() in record.replace(b"\\", b"")
