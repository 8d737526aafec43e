"""Cases for an outbox: an entry that it has acked is its own until bizlogic has acked it."""

from barker.laboratory.conformance import Case
from barker.laboratory.lab import Broken
from barker.laboratory.outboxcases import AUTHOR, said, scene, taken
from barker.laboratory.stand import Stand, of_kind
from barker.wire import protocol
from barker.wire.ops import Ack, Put, Refuse
from barker.wire.protocol import FAILED, FULL


async def keeps_what_it_acks(stand: Stand) -> None:
    await stand.begin()  # there is no bizlogic yet
    client = await stand.open("client")
    ids = [f"a{i}" for i in range(1, 51)]
    client.send(said(1, ids))
    await taken(client, len(ids))
    stand.end()
    await stand.start()
    bizlogic = await (await stand.play("bizlogic", "bizlogic-1")).link()
    came = [entry.item.id for entry in await bizlogic.entries(len(ids))]
    if came != ids:
        raise Broken(f"after kill -9 come {' '.join(came[:5])} ..., and {' '.join(ids[:5])} ...")


async def knows_what_comes_again(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    client.send(said(1, ["a1", "a2"]), said(3, ["a1"]))
    await taken(client, 3)
    client.abort()
    client = await stand.open("client")
    client.send(said(1, ["a2", "a3"]), said(3, ["a2"], "rdl"))
    await taken(client, 3)
    came = [(entry.item.user, entry.item.id) for entry in await bizlogic.entries(4)]
    if came != [(AUTHOR, "a1"), (AUTHOR, "a2"), (AUTHOR, "a3"), ("rdl", "a2")]:
        raise Broken(f"behind it come {came}")
    await bizlogic.silence()


async def knows_it_after_kill_9(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    client.send(said(1, ["a1"]))
    await taken(client, 1)
    await bizlogic.entries(1)
    stand.end()
    await stand.start()
    bizlogic = await there.bizlogic.link()
    await bizlogic.entries(1)  # it can't know that it was put before
    client = await stand.open("client")
    client.send(said(1, ["a1"]))
    await taken(client, 1)
    await bizlogic.silence()


async def begins_an_epoch(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    client.send(said(1, ["a1"]))
    (before,) = await bizlogic.entries(1)
    await taken(client, 1)
    stand.end()
    await stand.start()
    bizlogic = await there.bizlogic.link()
    client = await stand.open("client")
    client.send(said(1, ["a2"]))
    again, after = await bizlogic.entries(2)
    if again.item != before.item:
        raise Broken("what comes again after kill -9 has another stamp than before")
    if after.item.origin == before.item.origin:
        raise Broken("after a start its origin is the one before")


async def puts_again_after_a_cut(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    client.send(said(1, ["a1", "a2", "a3"]))
    before = await bizlogic.entries(3)
    bizlogic.send(Ack(1))
    await taken(client, 3)
    bizlogic.abort()
    client.send(said(4, ["a4"]))
    bizlogic = await there.bizlogic.link()
    again = [entry.item for entry in await bizlogic.entries(3)]
    # The ack may have been lost with the link; then the first comes again, too.
    if again[0].id == "a1":
        again = [*again[1:], *(entry.item for entry in await bizlogic.entries(1))]
    if again[:2] != [entry.item for entry in before[1:]] or again[2].id != "a4":
        raise Broken(f"after the cut come {' '.join(item.id for item in again)}, not a2 a3 a4")


async def forgets_what_is_refused(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    client.send(said(1, ["a1", "a2"]))
    await bizlogic.entries(2)
    await taken(client, 2)
    bizlogic.send(Refuse(1, FAILED, "three links", ["bizlogic"]), Ack(2))
    await bizlogic.silence()
    client.send(said(3, ["a3"]))
    await bizlogic.entries(1)


async def puts_off_what_is_full(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    client.send(said(1, ["a1", "a2", "a3"]))
    await bizlogic.entries(3)
    bizlogic.send(*(Refuse(seq, FULL, "later", ["bizlogic"]) for seq in (1, 2, 3)), Ack(3))
    bizlogic.write(b'{"op":"ping"}\n')
    await bizlogic.until_pongs(1)
    client.send(said(4, ["a4"]))
    came = [entry.item.id for entry in await bizlogic.entries(4)]
    if came != ["a1", "a2", "a3", "a4"]:
        raise Broken(f"after a full come {' '.join(came)}, and a1 a2 a3 a4 is right")


async def has_a_window(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    number, each = 5000, 200
    for seq in range(1, number, each):
        client.send(said(seq, [f"a{seq + i}" for i in range(each)]))
    await taken(client, number)
    came = sum(len(put.bodies) for put in of_kind(await bizlogic.rest(1.0), Put))
    if came > protocol.UNACKED_WINDOW:
        raise Broken(f"{came} entries come without an ack")
    bizlogic.send(Ack(came))
    while came < number:
        came += len((await bizlogic.expect(Put)).bodies)


KEPT = [
    Case(
        "kept",
        "promise 1: acked is kept, whatever is killed",
        "8",
        keeps_what_it_acks,
    ),
    Case("duplicates", "promise 2: known by user and id", "9", knows_what_comes_again),
    Case(
        "known after kill",
        "promise 2: also after kill -9",
        "9",
        knows_it_after_kill_9,
    ),
    Case("epochs", "a start has a new origin; stamps stay", "2", begins_an_epoch),
    Case("cut", "promise 3: unacked is put again, in order", "7", puts_again_after_a_cut),
    Case(
        "refused for good",
        "not put again; the next one is",
        "9",
        forgets_what_is_refused,
    ),
    Case("full", "put again a moment later, in order", "protocol", puts_off_what_is_full),
    Case("window", "4096, and no more", "protocol", has_a_window),
]
