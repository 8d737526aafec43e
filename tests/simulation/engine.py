"""The engine: one run. It does events, one after the other, and can let everything come to rest."""

import functools
import itertools
import pathlib
import shutil
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from barker.bizlogic import BizLogic
from barker.client.reader import Reader
from barker.client.tracked import TrackedSender
from barker.followers import Followers
from barker.graph.feed import FOLLOWERS, GRAPH
from barker.graph.replicas import REPLICA
from barker.inbox import Inbox
from barker.manifold.push import Push
from barker.outbox import Outbox
from barker.process.service import Service
from barker.routing.routes import CONSISTENT, ORDERED, Target
from barker.wire import protocol
from barker.wire.bodies import FOLLOW, JOIN, UNFOLLOW
from barker.wire.ops import Item
from tests.simulation import client
from tests.simulation.client import Saying
from tests.simulation.disk import EPOCHS, Disk, Killed
from tests.simulation.links import BORNE, End, SimDialer
from tests.simulation.losses import Losses
from tests.simulation.parties import Party
from tests.simulation.settings import (
    BACKLOG,
    EVENT_S,
    FOLLOWS,
    HEARTBEAT_S,
    KEEP,
    NEWCOMERS,
    POISON,
    Event,
    Failure,
    Setting,
    Shown,
)
from tests.simulation.social import Social

POLICIES = {
    "outbox": CONSISTENT,
    "inbox": CONSISTENT,
    "bizlogic": ORDERED,
    FOLLOWERS: ORDERED,
    GRAPH: ORDERED,
    REPLICA: ORDERED,
}
# People who want the same name.
RIVALS = 8
ROUNDS = 300  # in which everything has to come to rest
SLICES = 500  # of long work in one of them, at most


class Simulation:
    """One run. `play` does one event; `rest` lets everything come to rest."""

    def __init__(self, setting: Setting, state: pathlib.Path) -> None:
        self.setting = setting
        self.folder = state / "run"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.args: dict[str, Any] = {
            "state": state,
            "secret_file": None,
            "tls_cert": None,
            "tls_key": None,
            "tls_ca": None,
            "heartbeat": HEARTBEAT_S,
            "directory": ("127.0.0.1", 1),
            "name": None,
            "no_journal": True,  # but the one that it is given
            "fsync": False,
            "history": KEEP,
            "keep": KEEP,
            "max_backlog": BACKLOG,
        }
        EPOCHS.begin()
        BORNE.clear()
        self.kinds = {name.partition("-")[0] for name in setting.names}
        self.clock = 1000
        self.now_s = 0.0
        self.step = 0
        self.faults: list[str] = []
        self.disks: dict[str, Disk] = {}
        self.parties: dict[str, Party] = {}
        self.directory_is_there = True
        self.registered: dict[str, dict[str, Target]] = {s: {} for s in POLICIES}
        self.said: list[Saying] = []
        self.numbers: Counter[str] = Counter()
        self.shown: dict[str, list[Shown]] = {u: [] for u in FOLLOWS}
        # Who begins to read in the middle, without any history, is due what is said afterwards.
        self.shown_later: dict[str, list[Shown]] = {u: [] for u in FOLLOWS}
        self.due_later: list[Saying] = []
        self.losses = Losses(self)
        self.social = Social(self)
        self.readers: dict[str, Reader] = {}
        for name in ("client", "listener"):
            self.parties[name] = Party(self, name, 0)
        self.sender = TrackedSender(self.parties["client"].node, on_refused=self._refused)
        self.read(self.parties["listener"], self.shown, KEEP)
        for name in setting.at_first:
            self.play(("start", name))
            self.play(("register", name))
        while self.let_all_do(setting.at_first):
            pass  # from here on it is a system that runs

    @property
    def everybody(self) -> tuple[str, ...]:
        return (*FOLLOWS, *NEWCOMERS)

    def end(self) -> None:
        for disk in self.disks.values():
            disk.let_go()

    def disk_of(self, name: str) -> Disk:
        return self.disks.setdefault(name, Disk(self.folder / name))

    def read(
        self,
        party: Party,
        shown: dict[str, list[Shown]],
        history: int,
        users: Iterable[str] = FOLLOWS,
    ) -> None:
        def show(reader: str, body: dict[str, Any], late: bool) -> None:
            number = int(body["content"].split()[0])
            shown[reader].append((body["user"], body["id"], number, late))
            self.social.shown(body)

        def refused(user: str, reason: str) -> None:
            self.fault(f"unreadable: {user} can't be read: {reason}")

        reader = Reader(party.node, list(users), show, refused, history)
        self.readers[party.name] = reader
        self.tell_all(party)

    def is_reading(self, name: str) -> bool:
        return name in self.readers and self.readers[name].is_ready

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def decided(self, author: str, content: str, addresses: Sequence[str]) -> None:
        self.social.decided(author, content, addresses)

    def may_refuse(self, saying: Saying, code: str) -> bool:
        """An outbox may not have heard of a newcomer yet; and a fault may meet one body thrice."""
        if code == protocol.NAME_TAKEN:
            return self.social.has_rival(saying)
        if code == protocol.UNKNOWN_USER:
            return saying.user in NEWCOMERS or saying.fields.get("whom") in NEWCOMERS
        return code == "failed" and self.setting.faults

    # --- events ---

    def play(self, event: Event) -> None:
        """Do it; what is not possible now is passed over."""
        action, name, *more = event
        self.now_s += EVENT_S
        self.step += 1
        getattr(self, f"_{action}")(name, *more)
        if self.setting.events:
            self.social.look()
        for fault in BORNE:
            where = traceback.extract_tb(fault.__traceback__)[-1]
            self.fault(f"{type(fault).__name__}: {fault} ({where.name})")
        BORNE.clear()
        if self.faults:
            raise Failure(self.faults[0])

    def running(self, name: str) -> Party | None:
        party = self.parties.get(name)
        return party if party and party.runs else None

    def alive(self, kind: type[Any]) -> list[Party]:
        return [p for p in self.parties.values() if p.alive and isinstance(p.node, kind)]

    # --- what the client says ---

    def _say(self, author: str, count: int, later_ms: int, words: str = "") -> None:
        if author in FOLLOWS or self.social.has_joined(author):
            for _ in range(count):
                self.clock += later_ms
                self.numbers[author] += 1
                number = self.numbers[author]
                self.put(client.bark(author, number, self.clock, self.step, words and f" {words}"))

    def _poison(self, author: str) -> None:
        self._say(author, 1, 1, f"@{POISON}")

    def _odd(self, author: str, style: int) -> None:
        self.clock += 1
        self.numbers[author] += 1
        self.put(client.odd_bark(author, self.numbers[author], self.clock, self.step, style))

    def _follow(self, user: str, whom: str, count: int) -> None:
        """So many changes of one mind, one after the other."""
        for _ in range(count):
            self.clock += 1
            follows = self.social.meant(user, whom)
            kind = UNFOLLOW if follows else FOLLOW
            self.numbers["events"] += 1
            id_ = f"e{self.numbers['events']}"
            self.put(client.event(kind, id_, user, self.clock, self.step, whom))

    def _join(self, user: str) -> None:
        """Several people want the same name, each under an id of their own."""
        rivals = self.social.joins[user]
        if len(rivals) < RIVALS:
            self.clock += 1
            id_ = f"j{user}{len(rivals)}"
            self.put(client.event(JOIN, id_, user, self.clock, self.step))

    def put(self, saying: Saying) -> None:
        self.social.said(saying)
        if "kind" not in saying.fields:
            self.said.append(saying)
            if self.is_reading("listener-b"):
                self.due_later.append(saying)
        self._client_says(saying)

    def _client_says(self, saying: Saying) -> None:
        def say() -> None:
            self.sender.track(f"outbox/{saying.user}", Item(saying.body), saying)
            self.sender.pump()

        self.parties["client"].do(say)

    def _refused(self, saying: Saying) -> None:
        if not (saying.odd or self.may_refuse(saying, saying.refused)):
            self.fault(f"refused: {saying} was refused: {saying.reason} ({saying.refused})")

    def _repeat(self, _: str, back: int) -> None:
        """The client says something again that it has said before, because it forgot that."""
        if len(self.said) > back:
            old = self.said[-1 - back]
            again = Saying(old.id, old.user, old.body, old.step, odd=old.odd)
            self._client_says(again)

    # --- processes ---

    def _start(self, name: str) -> None:
        if name not in self.parties or not self.parties[name].alive:
            self.clock += 1
            try:
                party = self.parties[name] = Party(self, name, self.clock)
            except Killed:  # as it writes anew what it has found
                self.disk_of(name).let_go()
                return
            self.tell_all(party)
            if party.node._stop.is_set():
                self.kill(party)

    def _listen(self, name: str) -> None:
        if name not in self.parties:
            party = self.parties[name] = Party(self, name, 0)
            self.read(party, self.shown_later, 0)

    def _freeze(self, name: str) -> None:
        party = self.running(name)
        if party:
            party.frozen = True

    def _thaw(self, name: str, noticed: bool) -> None:
        party = self.parties.get(name)
        if party and party.frozen:
            party.frozen = False
            # Its own stall is seen sooner than the directory gives it up.
            if noticed or (party.unregistered and isinstance(party.node, Followers | BizLogic)):
                party.do(functools.partial(self._look_around, party))

    def _look_around(self, party: Party) -> None:
        """As `barker.process.stalls` has it: what peers have ended goes, with what it brought."""
        ended = [end for end in party.ends if end.other.broken or end.closed]
        for end in ended:
            end.other.pipe.clear()
            end.go_down()
        if party.unregistered:
            party.talk.link = None
        party.node.thawed(ended)  # type: ignore[arg-type]
        if party.unregistered:
            self.reconnect(party)

    def _tick(self, name: str) -> None:
        party = self.running(name)
        if party:
            party.do(party.node.ticked)

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
        if party.name in self.disks:
            self.disks[party.name].let_go()

    def _stop(self, name: str) -> None:
        """SIGTERM: the last words still leave."""
        party = self.running(name)
        if party:
            party.node.stop()
            party.do(lambda: None)

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

    def _fault(self, name: str, where: str, nth: int) -> None:
        """An exception at a step of this process, when it comes there for the nth time."""
        party = self.running(name)
        if party:
            party.arm(where, nth)

    # --- the directory ---

    def tell_all(self, party: Party) -> None:
        """It has come to the directory: it is told all there is."""
        if self.directory_is_there:
            for service, members in self.registered.items():
                party.told.append((service, POLICIES[service], tuple(members.values())))

    def reconnect(self, party: Party) -> None:
        """Its link with the directory was broken, and is there again."""
        if self.directory_is_there and isinstance(party.node, Followers):
            serves = [address for address, _ in party.node._serves]
            for address, members in self.registered.items():
                if party.name in members and address not in serves:
                    self.unregister(address, party.name)
            party.new_talk()
            self.tell_all(party)

    def _register(self, name: str) -> None:
        party = self.running(name)
        for address, _ in party.unregistered if party else ():
            assert party
            self.registered[address][name] = party.target
            self._tell(address)

    def _gone(self, name: str) -> None:
        """The directory notices that it is dead or frozen."""
        party = self.parties.get(name)
        if self.directory_is_there and not (party and party.runs):
            for address in self.registered:
                self.unregister(address, name)
            for end in party.ends if party else ():
                end.other.abort()  # all others notice it, too

    def unregister(self, address: str, name: str) -> None:
        if self.registered[address].pop(name, None):
            self._tell(address)

    def _tell(self, service: str) -> None:
        if self.directory_is_there:
            for party in self.parties.values():
                if party.alive:
                    targets = tuple(self.registered[service].values())
                    party.told.append((service, POLICIES[service], targets))

    def _told(self, name: str) -> None:
        party = self.running(name)
        if party and party.told:
            party.do(party.hear_route)

    def _directory(self, what: str) -> None:
        """It is killed and started anew, and knows nothing; later, it has settled."""
        if what == "again":
            self.directory_is_there = False
            for members in self.registered.values():
                members.clear()
            for party in self.parties.values():
                party.new_talk()
        elif not self.directory_is_there:
            self.directory_is_there = True
            for party in self.parties.values():
                if party.alive:
                    self.tell_all(party)

    # --- the network ---

    def _dial(self, name: str, to: str) -> None:
        party, target = self.running(name), self.running(to)
        for dialer in party.dialers if party else ():
            # One dialer has one link at a time; the last one has to be down on this side.
            is_free = dialer.expect == to and (dialer.end is None or dialer.end.down)
            if is_free and party and target and isinstance(target.node, Service):
                self._connect(party, dialer, target, target.node)
                return

    def _connect(self, party: Party, dialer: SimDialer, target: Party, service: Service) -> None:
        here, there = End(party, dialer.conversation), End(target, service)
        here.other, there.other = there, here
        here.name, there.name = target.name, party.name
        dialer.end = here
        for end in (there, here):
            end.party.ends.append(end)
            end.party.node.links.add(end)  # type: ignore[arg-type]
        target.do(there.come_up)
        if party.alive:
            party.do(here.come_up)

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

    # --- disks ---

    def _blackout(self, name: str, records: int) -> None:
        """A power cut: so many records had not come to the disk yet."""
        if name in self.disks:
            self._kill(name, 0)
            self.losses.blackout(self.disks[name], records)

    def _damage(self, name: str, nth: int, records: int) -> None:
        """A segment of its journal is lost, or so many records at the end of one."""
        if name in self.disks:
            self._kill(name, 0)
            self.losses.damage(self.disks[name], nth, records)

    def _trap(self, name: str, where: str) -> None:
        """kill -9 around or within the next write of its journal."""
        if self.running(name) and name in self.disks:
            self.disks[name].trap = where

    def _full(self, name: str, full: bool) -> None:
        if name in self.disks:
            self.disks[name].full = full

    def _backup(self, name: str, stopped: bool) -> None:
        """A copy of its journal is made: while it works, or after a stop in good order."""
        if name in self.disks and name in self.parties:
            if stopped:
                self._stop(name)
            self.losses.backup(name)
            if stopped:
                self._start(name)

    def _restore(self, name: str) -> None:
        """It is stopped the hard way, and an old copy takes the place of its journal."""
        if name in self.losses.backups and name in self.parties:
            self._kill(name, 2)
            self.losses.restore(name)

    def _copy(self, name: str, to: str) -> None:
        """The copy of one's journal becomes that of another instance, which had none."""
        if name in self.losses.backups and to not in self.disks:
            self.losses.copy(name, to)

    # --- coming to rest ---

    def calm(self) -> None:
        """From now on nothing bad happens any more."""
        for disk in self.disks.values():
            disk.full, disk.trap = False, ""
        for party in self.parties.values():
            party.armed.clear()

    def rest(self) -> None:
        for _ in range(ROUNDS):
            if not self.let_all_do(self.setting.names):
                return
        raise Failure(f"restless: {self.unsettled()}")

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
                party = self.parties[name]
            self.play(("register", name))
            health = getattr(party.node, "_health", None)
            was_out = health is not None and health.is_out
            self.play(("tick", name))
            if was_out or (health and health.is_out):  # it has to register, at least
                active = True
                self.now_s += HEARTBEAT_S
            if party.leaving and self.may_go(party):
                active = True
                self.play(("left", name, True))
        if not self.directory_is_there:
            active = True
            self.play(("directory", "settled"))
        for party in list(self.parties.values()):
            while party.told:
                active = True
                self.play(("told", party.name))
            if party.timers:
                active = True
                self.play(("fire", party.name))
            for _ in range(SLICES):  # a step of long work each
                if party.node.slices:
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
        found = {"client": len(self.sender)}
        for name, party in self.parties.items():
            some: Any = party.node
            if isinstance(some, Outbox):
                found[name] = sum(map(len, some._pushes)) + len(some._parking._waiting)
                found[name] += len(some._joining)
            elif isinstance(some, BizLogic):
                found[name] = len(some._inboxes)
            elif isinstance(some, Inbox):
                found[name] = some._hand_over.left
                found[name] += len(some._parking._waiting)
            elif isinstance(some, Followers):
                found[name] = sum(count for _, count in some._upstreams.waiting())
        return {name: count for name, count in found.items() if count}

    def waiting(self, name: str) -> list[bytes]:
        """Bodies of which this outbox does not know that they are settled, dead or alive."""
        some: Any = self.parties[name].node
        return list(itertools.chain.from_iterable(map(_bodies, some._pushes)))


def _bodies(push: Push) -> list[bytes]:
    sender = push.sender
    placing = sender._placing
    batches = [b for lane in placing.lanes.values() for b in lane.window.head(10**6)]
    return [
        body
        for batch in (*batches, *placing.waiting, *sender._deferred)
        for body in batch.put().bodies
    ]
