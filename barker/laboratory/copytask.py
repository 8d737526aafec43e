"""Copy: an outbox acks when a standby has the record, too. The judge deletes the outbox's disk."""

import asyncio
import pathlib
import shutil
from collections.abc import Sequence
from typing import Self

from barker.disk.files import ROOT, make_folder
from barker.laboratory.conformance import Case, NotTried
from barker.laboratory.lab import CAN_FREEZE, Broken, Child
from barker.laboratory.outboxcases import said, taken
from barker.laboratory.peer import ANSWER_S, Entry, Peer
from barker.laboratory.stand import Stand
from barker.laboratory.task import Task
from barker.launching.fleet import PATIENCE_S
from barker.wire.ops import Ack

FLAG = "--standby"
BARKS, MORE = 20, 5
# No ack comes within this, while no standby can have the record.
ALONE_S = 1.5


class Second:
    """The standby, a folder that stands for its machine's disk, and a client of the outbox."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.disk = stand.lab.state.parent / f"second-{stand.port}"
        make_folder(self.disk)
        for name in ("users.json", "secret"):
            shutil.copy(stand.lab.state / name, self.disk / name)
        self.process: Child | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """The next case has a standby of its own."""
        if self.process:
            if CAN_FREEZE:
                self.process.thaw()
            self.process.kill()
            await asyncio.to_thread(self.process.close)

    async def start(self) -> None:
        port = str(self.stand.port + 400)
        flags = ["--port", port, "--name", f"standby-{port}", "--heartbeat", "1"]
        flags += ["--directory", f"127.0.0.1:{self.stand.lab.place[1]}"]
        file = pathlib.Path("barker", "standby.py")
        if not (ROOT / file).exists():
            raise Broken(f"there is no {file.as_posix()}")
        argv = [str(ROOT / file), *flags, "--state", str(self.disk)]
        self.process = Child("standby", argv)
        self.stand.lab.children.append(self.process)
        await self.process.until_ready()

    async def begin(self) -> Peer:
        """Standby and outbox are ready: a client's link."""
        await self.start()
        await self.stand.begin(FLAG)
        return await self.stand.open("client")

    async def lose(self, *, orderly: bool = True) -> None:
        """kill -9 of the outbox, and its disk is gone. It starts again with the standby's disk."""
        self.stand.end()
        shutil.rmtree(self.stand.lab.state / "journal" / self.stand.name)
        assert self.process
        if orderly:
            self.process.stop()
        else:
            self.process.kill()
        await asyncio.to_thread(self.process.close, PATIENCE_S)
        await self.stand.start("--state", str(self.disk))

    async def came(self, count: int) -> list[Entry]:
        bizlogic = await (await self.stand.play("bizlogic", "bizlogic-1")).link()
        try:
            return await bizlogic.entries(count)
        except Broken:
            files = [p.relative_to(self.disk).as_posix() for p in self.disk.rglob("*.log")]
            raise Broken(
                f"{count} barks were acked, the first disk is gone, and an outbox with the "
                f"standby's disk does not put all of them; it has {', '.join(files) or 'none'}"
            ) from None


async def _no_ack(client: Peer, why: str) -> None:
    try:
        message = await client.next(ALONE_S)
    except TimeoutError:
        return
    if isinstance(message, Ack):
        raise Broken(f"a bark is acked, though {why}: one disk alone has it")
    raise Broken(f"a bark is refused, or the link ended, because {why}: it may wait")


def _ids(first: int, count: int) -> list[str]:
    return [f"c{n}" for n in range(first, first + count)]


def _in_order(entries: Sequence[Entry], ids: Sequence[str]) -> None:
    came = [entry.item.id for entry in entries]
    if came != list(ids):
        raise Broken(
            f"of the standby's disk come {' '.join(came[:6])} ..., not {ids[0]} to {ids[-1]}"
        )


async def survives_a_disk(stand: Stand) -> None:
    async with Second(stand) as there:
        client = await there.begin()
        ids = _ids(1, BARKS)
        client.send(said(1, ids[:-MORE]))
        for seq in range(BARKS - MORE + 1, BARKS + 1):
            client.send(said(seq, [ids[seq - 1]]))
        await taken(client, BARKS)
        await there.lose()
        _in_order(await there.came(BARKS), ids)


async def survives_two_kills(stand: Stand) -> None:
    async with Second(stand) as there:
        client = await there.begin()
        client.send(said(1, _ids(1, BARKS)))
        await taken(client, BARKS)
        await there.lose(orderly=False)
        _in_order(await there.came(BARKS), _ids(1, BARKS))


async def waits_for_a_frozen_one(stand: Stand) -> None:
    if not CAN_FREEZE:
        raise NotTried("no process can be frozen here")
    async with Second(stand) as there:
        client = await there.begin()
        client.send(said(1, ["c1"]))
        await taken(client, 1)
        assert there.process
        there.process.freeze()
        client.send(said(2, ["c2"]))
        try:
            await _no_ack(client, "the standby is frozen")
        finally:
            there.process.thaw()
        await _taken_later(client, 2)


async def waits_for_a_dead_one(stand: Stand) -> None:
    async with Second(stand) as there:
        client = await there.begin()
        client.send(said(1, _ids(1, MORE)))
        await taken(client, MORE)
        assert there.process
        there.process.kill()
        await asyncio.to_thread(there.process.close)
        client.send(said(MORE + 1, _ids(MORE + 1, MORE)))
        await _no_ack(client, "the standby is dead")
        await there.start()
        await _taken_later(client, 2 * MORE)
        await there.lose()
        _in_order(await there.came(2 * MORE), _ids(1, 2 * MORE))


async def _taken_later(client: Peer, seq: int) -> None:
    reached = 0
    while reached < seq:
        try:
            reached = (await client.expect(Ack, 2 * ANSWER_S)).seq
        except Broken:
            text = f"the standby is back, and within {2 * ANSWER_S:g} s its barks have no ack"
            raise Broken(text) from None


async def keeps_stamps(stand: Stand) -> None:
    async with Second(stand) as there:
        bizlogic = await stand.play("bizlogic", "bizlogic-1")
        client = await there.begin()
        client.send(said(1, _ids(1, MORE)))
        await taken(client, MORE)
        link = await bizlogic.link()
        before = await link.entries(MORE)
        await there.lose()
        after = await (await bizlogic.link()).entries(MORE)
        stamps = [[(e.item.id, e.item.origin, e.item.n) for e in some] for some in (before, after)]
        if stamps[0] != stamps[1]:
            id_, origin, n = stamps[0][0]
            raise Broken(
                f"{id_} had the stamp {origin} {n}, and comes from the second disk with "
                f"{stamps[1][0][1]} {stamps[1][0][2]}: inboxes take it for another way of the bark"
            )


async def is_off(stand: Stand) -> None:
    await stand.begin()
    client = await stand.open("client")
    client.send(said(1, ["c1"]))
    await taken(client, 1)


COPY = Task(
    name="copy",
    title="A second copy",
    chapter="22-across-machines-and-beyond",
    about=f"""
    A bark that an outbox has acked is on one disk, and a lost disk loses it. Write a service
    standby (barker/standby.py), and give the outbox a flag {FLAG}. With it, the outbox acks what
    is in its own journal and in the standby's.

    The judge starts both, each with a folder that stands for a disk:

      python barker/standby.py --port P --name standby-P --state SECOND ...
      python barker/outbox.py  --port Q --name outbox-Q --state FIRST {FLAG} ...

    They find each other by the directory: the standby registers at the address standby. The judge
    puts barks. It kills the outbox, deletes FIRST/journal, ends the standby, and starts

      python barker/outbox.py  --port Q --name outbox-Q --state SECOND ...

    So the standby keeps a journal as an outbox has it, in SECOND/journal/outbox-Q. (A link has the
    name of its peer. The judge has put the secret and the users into SECOND.)

    No ack goes out while no standby can have the record; barks wait for that, and are not refused.
    A client may put a bark again that has no ack yet. Left out: when the standby may forget, and
    that it takes over by itself.
    """,
    where=(
        ("barker/outbox.py", "_record, _apply, _replay, prepare: what a record is"),
        ("barker/manifold/intake.py", "take: which acks wait, and for what"),
        ("barker/manifold/durable.py", "acks that wait for the disk itself: the same idea"),
        ("barker/delivery/sender.py", "puts again what was not acked; an address may have a key"),
        ("barker/disk/journal.py", "recover, begin, append"),
        ("docs/10-a-service-of-your-own.rst", "the smallest service"),
        ("docs/22-across-machines-and-beyond.rst", "two disks on one machine"),
    ),
    role="outbox",
    cases=(
        Case("a lost disk", "promise 1, and one disk is gone", "22", survives_a_disk),
        Case("two kills", "the standby is killed, too: it keeps first", "22", survives_two_kills),
        Case("frozen", "no ack while the standby is frozen", "22", waits_for_a_frozen_one),
        Case("dead", "the same while it is dead; later it gets all", "22", waits_for_a_dead_one),
        Case("stamps", "promise 2: they are the same on both disks", "22", keeps_stamps),
        Case("no flag", f"without {FLAG} no standby is needed", "22", is_off),
    ),
    replaceable=False,
)
