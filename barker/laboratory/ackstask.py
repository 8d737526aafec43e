"""Acks: a journal that acks first. It is found by chaos, mended, and proved to be mended."""

import asyncio
import contextlib
import pathlib
import shutil

from barker.laboratory.conformance import Case, NotTried
from barker.laboratory.lab import CAN_FREEZE, Broken
from barker.laboratory.outboxcases import AUTHOR, said, taken
from barker.laboratory.stand import Stand, bark
from barker.laboratory.task import Task
from barker.wire.ops import Ack, Put, Refuse

# Barks in one line.
GROUP = 8


def _folder(stand: Stand) -> pathlib.Path:
    return stand.lab.state / "journal" / stand.name


def _written(stand: Stand, id_: str) -> bool:
    """Does a whole record in any segment have it?"""
    segments = [path.read_bytes() for path in _folder(stand).glob("*.log")]
    return any(f'"{id_}"'.encode() in line for data in segments for line in data.split(b"\n")[:-1])


async def writes_first(stand: Stand) -> None:
    if not CAN_FREEZE:
        raise NotTried("no process can be frozen here")
    await stand.begin()  # there is no bizlogic: barks wait
    client = await stand.open("client")
    assert stand.program
    seq = 1
    for look in range(25):  # acks after which it is frozen, and its files are read
        ids = [f"w{look}-{n}" for n in range(1 if look % 2 else GROUP)]
        client.send(said(seq, ids))
        seq += len(ids)
        await taken(client, seq - 1)
        stand.program.freeze()
        missing = [id_ for id_ in ids if not _written(stand, id_)]
        stand.program.thaw()
        if missing:
            raise Broken(
                f"{missing[0]} is acked, and at this moment no file of its journal has it: "
                "kill -9 would lose it"
            )
        await asyncio.sleep(0.001 * look)


async def survives_kill_9(stand: Stand) -> None:
    await stand.begin()
    ids: list[str] = []
    kills = 4
    for turn in range(kills):
        client = await stand.open("client")
        new = [f"k{turn}-{n}" for n in range(GROUP)]
        client.send(said(1, new))
        await taken(client, GROUP)
        stand.end()
        ids += new
        await stand.start()
    bizlogic = await (await stand.play("bizlogic", "bizlogic-1")).link()
    try:
        came = {entry.item.id for entry in await bizlogic.entries(len(ids))}
    except Broken:
        came = {id_ for id_ in ids if _written(stand, id_)}
    if lost := [id_ for id_ in ids if id_ not in came]:
        raise Broken(f"{len(lost)} of {len(ids)} acked barks were lost at {kills} kills")


async def survives_a_new_segment(stand: Stand) -> None:
    await stand.begin()
    client = await stand.open("client")
    ids: list[str] = []
    acked = 0
    for line in range(180):  # more than a segment of 8 MiB has, with 50 of the longest barks a line
        new = [f"l{line}-{n}" for n in range(50)]
        bodies = [bark(AUTHOR, id_, "🐕" * 280) for id_ in new]
        client.send(Put(len(ids) + 1, [f"outbox/{AUTHOR}"], bodies))
        ids += new
        while acked < len(ids) - 1000:
            acked = (await client.expect(Ack)).seq
    while acked < len(ids):
        acked = (await client.expect(Ack)).seq
    stand.end()
    await stand.start()
    bizlogic = await (await stand.play("bizlogic", "bizlogic-1")).link()
    came: list[str] = []
    while len(came) < len(ids):
        try:
            (entry,) = await bizlogic.entries(1)
        except Broken:
            raise Broken(f"{len(ids) - len(came)} of {len(ids)} acked barks were lost") from None
        came.append(entry.item.id or "")
        bizlogic.send(Ack(entry.seq))
    for place, (id_, due) in enumerate(zip(came, ids, strict=True)):
        if id_ != due:
            raise Broken(f"bark {place} of {len(ids)} comes back as {id_}, and {due} is due")


async def survives_a_stop(stand: Stand) -> None:
    await stand.begin()
    client = await stand.open("client")
    client.send(said(1, [f"s{n}" for n in range(GROUP)]))
    await taken(client, GROUP)
    await stand.stop()
    await stand.start()
    bizlogic = await (await stand.play("bizlogic", "bizlogic-1")).link()
    await bizlogic.entries(GROUP)


async def acks_nothing_without_a_journal(stand: Stand) -> None:
    await stand.begin()
    client = await stand.open("client")
    client.send(said(1, ["d1"]))
    await taken(client, 1)
    shutil.rmtree(_folder(stand))
    client.send(said(2, ["d2"]))
    refused = False
    with contextlib.suppress(TimeoutError):
        while message := await client.next():
            refused = refused or isinstance(message, Refuse)
            if isinstance(message, Ack) and message.seq >= 2:
                if not refused:
                    raise Broken("a bark is acked, though the folder of the journal is gone")
                return


ACKS = Task(
    name="acks",
    title="The lying ack",
    chapter="08-the-journal-and-kill-9",
    about="""
    docs/labs/lying.py is an outbox whose journal is faster than ours: it writes the records of 50
    milliseconds together. Read it; predict which promise it breaks, and at which blow. Then have
    it found:

      python -m barker.judge --with outbox='python docs/labs/lying.py' --seed 7

    The report has a lost bark's way: the last lines show when it was acked, and that no journal
    has it. Now mend docs/labs/lying.py, and prove that the fault is gone. A trial without a loss
    is no proof, since the next kill may come at a worse moment. So the judge freezes the outbox at
    an ack, and reads its files.

    It is allowed to write each batch at once. It is better to go on collecting, and to let the acks
    wait: barker/manifold/durable.py does that for --fsync, with three things of a journal. Its sync
    returns a Future. With fsync set, the journal itself syncs, too. If nothing can be written, a
    put is refused, or the process ends. When a new segment begins, no record may be left over.
    """,
    where=(
        ("docs/labs/lying.py", "all of it"),
        ("barker/manifold/durable.py", "is_all, then, and what they use of a journal"),
        ("barker/disk/journal.py", "append, rotate_if_full, fsync, is_synced, sync"),
        ("docs/08-the-journal-and-kill-9.rst", "an entry is in a file before its ack is sent"),
    ),
    role="outbox",
    cases=(
        Case("in the file", "promise 1: acked means that a file has it", "8", writes_first),
        Case("kill -9", "promise 1: killed at the ack, and started again", "8", survives_kill_9),
        Case("a new segment", "promise 1: all, once, in order", "8", survives_a_new_segment),
        Case("a stop", "promise 1: the same for SIGTERM", "8", survives_a_stop),
        Case("no folder", "what can't be kept is not acked", "8", acks_nothing_without_a_journal),
    ),
    program="docs/labs/lying.py",
)
