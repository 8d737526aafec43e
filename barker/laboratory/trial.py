"""Trial: a system with the reader's program in the place of one service, hurt for a while.

All instances of that service are the reader's program; all others are ours. The links of the
program go through relays (`barker.laboratory.relay`). Barks with known ids are put all the time,
and events about the graph, if the program keeps it. The blows follow from the seed: the program is
hurt most, and now and then a service beside it. Then the system is left to come to rest, and judged
(`barker.laboratory.findings`).
"""

import asyncio
import contextlib
import json
import logging
import random
import shutil
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from barker.disk import files
from barker.laboratory import blows, findings
from barker.laboratory.audience import Audience
from barker.laboratory.blows import Blow, Times, Victim
from barker.laboratory.cast import PORTS, Cast, Wish
from barker.laboratory.crowd import Crowd
from barker.laboratory.findings import Finding, Seen
from barker.laboratory.guest import Guest
from barker.laboratory.lab import CAN_FREEZE, PATIENT_S, Broken, Lab, until
from barker.laboratory.strangers import visit
from barker.laboratory.verdict import Key
from barker.laboratory.witness import Witness
from barker.wire import protocol

# Barks a second: enough to be interrupted in the middle, few enough for two cores.
RATE = 40.0
EVENTS_RATE = 10.0
# One bark of so many mentions a user.
MENTIONS_ONE_IN = 5
# For `listen`: whose inboxes it reads.
READERS = 12
# Time for all to learn of a change of a ring, and to settle its effects.
SETTLED_S = 3.0
# A bark that comes twice comes within this, after all is shown.
QUIET_S = 1.0
# The blows to the program.
HARM = ("kill", "kill", "freeze", "stop", "cut", "cut", "stranger")
TIMES = {
    **blows.TIMES,
    "cut": Times(0.0, 0.1, 0.5),
    "stranger": Times(0.0, 0.1, 0.5),
    "pile": Times(0.1, 1.0, 4.0),
}
# A program that forwards barks is killed while the services behind it are frozen, so that barks
# wait in it. So short a freeze ends no link.
NEXT_HOP = {"outbox": "bizlogic", "bizlogic": "inbox"}
PILE_S, PILES = 1.5, 6
# Of each reader, so many of the last barks have to be there for a reader that begins anew.
RETAINED = 700
# The services beside a program that are hurt, too, the likelier the more often they are here.
AROUND = {
    "bizlogic": ("outbox", "inbox"),
    "outbox": ("bizlogic", "directory"),
    "inbox": ("bizlogic", "outbox"),
    "followers": ("outbox", "bizlogic"),
    "directory": ("bizlogic", "inbox"),
    "listen": ("inbox", "inbox", "directory", "bizlogic"),
}
# How much likelier it is itself.
ITSELF = 4


class Trial:
    """One of them. `complaints` are the program's faults besides broken promises."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.cast = Cast(wish)
        self.findings: list[Finding] = []
        self.way: list[str] = []
        self._dice = random.Random(wish.seed)
        self._story: list[tuple[float, str]] = []
        self._plan: list[Blow] = []
        self._changes: list[tuple[float, float]] = []
        self._strangers = 0
        self._intruders: list[str] = []
        self._away: list[tuple[float, float]] = []
        self._began = 0.0
        self._witness: Witness | None = None
        self._loop: asyncio.AbstractEventLoop

    @property
    def doing(self) -> str:
        """For a person who waits."""
        witness = self._witness
        if not self._began or not witness:
            return f"judge: starting, seed {self.wish.seed}"
        spent_s = witness.now - self._began
        barks = f"{witness.producer.acked} barks acked, {witness.producer.unanswered} waiting"
        if spent_s < self.wish.seconds:
            done = sum(blow.at_s < spent_s for blow in self._plan)
            of = f"{done} of {len(self._plan)} blows"
            return f"judge: {spent_s:.0f} of {self.wish.seconds:.0f} s, {of}, {barks}"
        return f"judge: coming to rest, {barks}"

    @property
    def held(self) -> bool:
        return not self.cast.complaints and all(f.state != findings.BROKEN for f in self.findings)

    def tidy(self) -> None:
        """Remove the program's logs, if there is no reason to read them."""
        shutil.rmtree(self.cast.logs, ignore_errors=True)

    async def go(self) -> None:
        """Raises Broken if the program does not come to serve."""
        logging.getLogger("barker").setLevel(logging.CRITICAL)  # that links break is the point
        self._loop = asyncio.get_running_loop()
        async with Lab() as lab:
            lab.find_ports([f"{kind} --port {port}" for kind, port in self.cast.places()])
            try:
                await self._all(lab)
            finally:
                await self.cast.end()
                for child in lab.children:
                    child.kill()

    async def _all(self, lab: Lab) -> None:
        await self.cast.assign(lab)
        world = files.world(lab.state)
        readers = self._dice.sample(world.names, READERS)
        others = readers if self.wish.role == "listen" else []
        order = list(self.cast.victims.values())
        self._dice.shuffle(order)
        async with asyncio.timeout(None), self._running(lab, others, readers) as witness:
            await _gathered([victim.start() for victim in order])
            witness.producer.say(readers)
            try:
                await witness.settled()
            except Broken as fault:
                raise Broken(f"no bark gets through, though nothing is hurt: {fault}") from None
            await self._hurt(lab, witness)

    @contextlib.asynccontextmanager
    async def _running(
        self, lab: Lab, others: Sequence[str], readers: Sequence[str]
    ) -> AsyncIterator[Witness]:
        guest = Guest(lab.args())
        witness = self._witness = Witness(guest, files.world(lab.state), others)
        for ring in ("inbox", "outbox"):
            guest.watch(ring, lambda: self._ring_changed(witness))
        if others:
            self._listen(lab, readers, witness)
        async with guest.running():
            yield witness

    def _ring_changed(self, witness: Witness) -> None:
        self._changes.append((witness.now, witness.now + SETTLED_S))

    def _listen(self, lab: Lab, readers: Sequence[str], witness: Witness) -> None:
        """Start a `listen`; the barks that it prints count as shown."""

        def line(text: str) -> None:
            self._loop.call_soon_threadsafe(self._shown, text, witness)

        flags = [*readers, "--json", "--history", "1000", *lab.flags]
        self.cast.program("listen", flags, None, on_line=line)

    def _shown(self, line: str, witness: Witness) -> None:
        if not line.startswith("{"):
            return
        try:
            fields = json.loads(line)
            reader, late = fields["reader"], fields.get("late", False)
            witness.audience.shown[reader]
            witness.audience.show(reader, fields, late)
        except (KeyError, TypeError, ValueError):
            self.cast.complain("listen", f"prints a line that is no bark: {line[:80]}")

    # --- the blows ---

    async def _hurt(self, lab: Lab, witness: Witness) -> None:
        role, seconds = self.wish.role, self.wish.seconds
        around = [kind for kind in AROUND[role] if kind != role]
        kinds = [*([role] * ITSELF if role in PORTS else []), *around]
        counts = {k: sum(kind == k for kind, _ in self.cast.victims) for k in kinds}
        able = [a for a in (*HARM, *blows.TIMES) if CAN_FREEZE or a != "freeze"]
        if CAN_FREEZE and role in NEXT_HOP:
            able += ["pile"] * PILES
        harm = {k: able if k == role else [a for a in able if a in blows.TIMES] for k in kinds}
        victims = {kind: (counts[kind], harm[kind]) for kind in kinds}
        first = None
        if role in PORTS:  # with any seed it is killed at least once, with work on its hands
            first = (role, "pile" if "pile" in able else "kill")
        self._plan = blows.plan(self._dice, seconds, kinds, victims, TIMES, first=first)
        self._began = witness.now
        crowd = Crowd(lab.args(), witness.world, self.wish.seed)
        gone, events, rest = "", 0, ""
        async with contextlib.AsyncExitStack() as stack:
            load = [self._talk(witness)]
            if role == "followers":
                await stack.enter_async_context(crowd.running())
                await crowd.join()
                load.append(crowd.mingle(EVENTS_RATE, seconds))
            await _gathered([*load, *(self._do(blow, witness) for blow in self._plan)])
            await _gathered([victim.start() for victim in self.cast.victims.values()])
            try:
                await until(lambda: not witness.producer.unanswered, "all barks are acked")
            except Broken:
                waiting = witness.producer.unanswered
                rest = f"{waiting} barks have no ack after {PATIENT_S:g} s of rest"
            due = witness.expected()
            with contextlib.suppress(Broken):  # the missing ones are reported as lost
                await until(lambda: due <= witness.audience.got, "all is shown")
            if role == "inbox":
                gone = await self._forgotten(lab, witness)
            if role == "followers":
                try:
                    await crowd.agree()
                except Broken as fault:
                    gone = str(fault)
                events = sum(asked.acked for asked in crowd.asked)
            await asyncio.sleep(QUIET_S)
        seen = Seen(
            changes=self._changes,
            strangers=self._strangers,
            intruders=self._intruders,
            away=self._acked_while_away(witness),
            gone=gone,
            events=events,
            rest=rest,
        )
        self.findings = findings.findings(witness, seen)
        if guilty := findings.offender(witness, seen):
            self.way = findings.way_of(guilty, witness, self.cast.ways, self._story, lab.state)

    async def _talk(self, witness: Witness) -> None:
        """Barks, now and then with a mention, until the trial ends."""
        names, end = witness.world.names, self._began + self.wish.seconds
        said = 0
        while witness.now < end:
            while said < (witness.now - self._began) * RATE:
                author, other = self._dice.choice(names), self._dice.choice(names)
                mention = f"@{other}" if said % MENTIONS_ONE_IN == 0 else "woof"
                witness.producer.say([author], mention)
                said += 1
            await asyncio.sleep(0.5 / RATE)

    async def _do(self, blow: Blow, witness: Witness) -> None:
        await asyncio.sleep(max(0.0, self._began + blow.at_s - witness.now))
        victim = self.cast.victims[blow.kind, blow.number]
        process = victim.process
        if process is None:
            return
        name = getattr(process, "name", blow.kind)
        if blow.action == "cut":
            count = self.cast.relay("directory" if blow.kind == "directory" else name).cut()
            self._story.append((witness.now, f"all {count} links of {name} are cut"))
        elif blow.action == "stranger":
            if fault := await visit(int(name.rpartition("-")[2]), self._dice):
                self._intruders.append(f"{name} {fault}")
            else:
                self._strangers += 1
        elif blow.action == "pile":
            behind = [
                v for (kind, _), v in self.cast.victims.items() if kind == NEXT_HOP[blow.kind]
            ]
            self._story.append(
                (witness.now, f"those behind {name} are frozen, and all of its kind are killed")
            )
            # One of them works, and the others are spares: which is which, the directory knows.
            killed = [v for (kind, _), v in self.cast.victims.items() if kind == blow.kind]
            await _gathered(
                [
                    *(v.suffer("freeze", PILE_S) for v in behind if v.process),
                    *(self._later(PILE_S / 2, v, blow.hold_s) for v in killed),
                ]
            )
        else:
            begun = witness.now
            self._story.append((begun, f"{blow.action} {name}, for {blow.hold_s:.1f} s"))
            await victim.suffer(blow.action, blow.hold_s)
            if blow.kind == "directory":
                self._away.append((begun, witness.now))

    async def _later(self, delay_s: float, victim: Victim, hold_s: float) -> None:
        await asyncio.sleep(delay_s)
        if victim.process:
            await victim.suffer("kill", hold_s)

    async def _forgotten(self, lab: Lab, witness: Witness) -> str:
        """The barks that an inbox lacks for a new reader; "" if none."""
        async with Guest(lab.args()).running() as guest:
            audience = Audience(guest)
            audience.read(witness.world.names, history=protocol.MAX_COUNT)
            order = {said.bark.id: i for i, said in enumerate(witness.producer.said)}
            by_reader: dict[str, list[Key]] = {}
            for key in sorted(witness.expected(), key=lambda key: order[key[1]]):
                by_reader.setdefault(key[0], []).append(key)
            due = {key for keys in by_reader.values() for key in keys[-RETAINED:]}
            try:
                await until(lambda: due <= audience.got, "a new reader is shown what is kept")
            except Broken:
                missing = due - audience.got
                return f"{len(missing)} of {len(due)} are no longer there for a new reader"
        return ""

    def _acked_while_away(self, witness: Witness) -> int:
        return sum(
            any(begun < said.acked_at < ended for begun, ended in self._away)
            for said in witness.producer.said
            if said.acked_at
        )


async def _gathered(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """All of these at once. The first that is Broken is raised, and ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except* Broken as several:
        fault: BaseException = several
        while isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
        raise Broken(str(fault)) from None
