"""Mute: a reader is not shown the barks of an author whom that reader has muted."""

import json
from collections.abc import Mapping, Sequence

from barker.laboratory.bizlogiccases import Scene, acked, items, puts, scene
from barker.laboratory.conformance import Case
from barker.laboratory.lab import Broken
from barker.laboratory.peer import Entry, Peer
from barker.laboratory.stand import Stand
from barker.laboratory.task import Task
from barker.wire.ops import Ack, Put, Refuse

# Users of the stand: toto and ella follow ark3, ark3 and toto follow rdl; user1 has no follower.
ALONE = "user1"
# Barks of one line in which some have no reader.
MIXED = (ALONE, "ark3", ALONE, "rdl", "ark3", ALONE)


async def _scene(stand: Stand, mutes: Mapping[str, Sequence[str]] | None) -> tuple[Scene, Peer]:
    path = stand.lab.state / "mutes.json"
    path.unlink(missing_ok=True)
    if mutes is not None:
        path.write_text(json.dumps(mutes), encoding="utf-8")
    there = await scene(stand)
    return there, await there.open()


def _readers(entry: Entry) -> set[str]:
    return {address.removeprefix("inbox/") for address in entry.addresses}


async def _shown(there: Scene, outbox: Peer, author: str, seq: int, named: str = "") -> set[str]:
    """The readers of one more bark, which every inbox takes."""
    outbox.send(*puts(items(author, [f"m{seq}"], seq, named), seq))
    ((entry,),) = await there.entries([1])
    there.links[0].send(Ack(entry.seq))
    await acked(outbox, seq)
    return _readers(entry)


async def _expect(
    there: Scene, outbox: Peer, author: str, seq: int, due: set[str], named: str = ""
) -> None:
    readers = await _shown(there, outbox, author, seq, named)
    for reader in sorted(readers - due):
        raise Broken(f"a bark of {author} goes to {reader}, who has muted {author}")
    for reader in sorted(due - readers):
        raise Broken(f"a bark of {author} does not go to {reader}, who has not muted {author}")


async def hides(stand: Stand) -> None:
    there, outbox = await _scene(stand, {"toto": ["ark3"]})
    await _expect(there, outbox, "ark3", 1, {"ark3", "ella"})
    await _expect(there, outbox, "rdl", 2, {"rdl", "ark3", "toto"})
    await _expect(there, outbox, "ark3", 3, {"ark3", "ella"})


async def is_one_way(stand: Stand) -> None:
    there, outbox = await _scene(stand, {"toto": ["ark3"], "ark3": []})
    await _expect(there, outbox, "toto", 1, {"toto", "ark3"}, "ark3")
    await _expect(there, outbox, "toto", 2, {"toto"})


async def hides_mentions(stand: Stand) -> None:
    there, outbox = await _scene(stand, {"user2": ["rdl"]})
    await _expect(there, outbox, "rdl", 1, {"rdl", "ark3", "toto"}, "user2")
    await _expect(there, outbox, "ark3", 2, {"ark3", "toto", "ella", "user2"}, "user2")


async def needs_no_reader(stand: Stand) -> None:
    there, outbox = await _scene(stand, {ALONE: [ALONE]})
    outbox.send(*puts(items(ALONE, ["n1"], 1), 1))
    await _settled(outbox, 1)
    await there.links[0].silence()
    await _expect(there, outbox, "ark3", 2, {"ark3", "toto", "ella"})


async def mixes(stand: Stand) -> None:
    there, outbox = await _scene(stand, {ALONE: [ALONE]})
    some = [items(author, [f"x{n}"], n)[0] for n, author in enumerate(MIXED, 1)]
    outbox.send(Put.of(1, ["bizlogic"] * len(some), some))
    due = [item.id for item in some if item.user != ALONE]
    (entries,) = await there.entries([len(due)])
    ids = [entry.item.id for entry in entries]
    if ids != due:
        raise Broken(f"of a line {', '.join(ids)} come to the inbox, and {', '.join(due)} are due")
    there.links[0].send(Ack(entries[-1].seq))
    await _settled(outbox, len(some))


async def works_without(stand: Stand) -> None:
    there, outbox = await _scene(stand, None)
    await _expect(there, outbox, "ark3", 1, {"ark3", "toto", "ella"})


async def _settled(outbox: Peer, seq: int) -> None:
    """All up to there is acked, and nothing is refused."""
    reached = 0
    while reached < seq:
        try:
            message = await outbox.next()
        except TimeoutError:
            why = "a bark without readers has no ack: its outbox keeps it, and all behind it"
            raise Broken(why) from None
        if isinstance(message, Refuse):
            what = f"is refused ({message.code}: {message.reason})"
            raise Broken(f"an acked bark without readers {what}, and is a dead letter now")
        if not isinstance(message, Ack):
            raise Broken("the link to its outbox ends at a bark without readers")
        reached = message.seq


MUTE = Task(
    name="mute",
    title="Mute an author",
    chapter="07-failover",
    about="""
    A reader mutes an author, and is not shown that author's barks any more. All other readers are.

    The mutes are in mutes.json in the state folder (var/ of the project; a service has it as
    args.state): for each reader the muted authors. bizlogic reads it when it starts; without that
    file, all is as before. You choose how to treat a malformed one.

      {"toto": ["ark3", "rdl"], "user1": ["user1"]}

    A mute counts for mentions, too. It works in one direction: ark3 goes on seeing what toto
    barks. Users may mute themselves. So a bark may have no reader at all. It is settled then: think
    about its ack, before the judge does.
    """,
    where=(
        ("barker/bizlogic.py", "Recipients.of and known; BizLogic.on_put and Upstream.ack"),
        ("barker/delivery/batches.py", "reach_of, which counts addresses"),
        ("docs/07-failover.rst", "what an ack of bizlogic means"),
    ),
    role="bizlogic",
    cases=(
        Case("hides", "the barks of a muted author are not shown", "7", hides),
        Case("one way", "the muted author still sees that reader's barks", "7", is_one_way),
        Case("mentions", "a mention by a muted author is not shown either", "7", hides_mentions),
        Case("no reader", "promise 1: a bark without readers is acked", "7", needs_no_reader),
        Case("a line", "promise 3: the others of its line come, in order", "7", mixes),
        Case("no file", "without mutes.json all is as before", "7", works_without),
    ),
)
