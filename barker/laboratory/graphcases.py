"""Cases for a bizlogic: the readers of an author, by the graph as it is at the moment."""

import asyncio

from barker.laboratory.bizlogiccases import DUE, INBOXES, items, puts, scene
from barker.laboratory.conformance import Case
from barker.laboratory.lab import Broken, until
from barker.laboratory.peer import ANSWER_S
from barker.laboratory.stand import Stand


async def finds_the_readers(stand: Stand) -> None:
    there = await scene(stand, INBOXES)
    owned = stand.owned(INBOXES)
    outbox = await there.open()
    outbox.send(*puts(items("ark3", ["a1"])))
    for named in ("rdl", "toto", "ghost"):  # he does not follow, he does, there is no such user
        seq = {"rdl": 2, "toto": 3, "ghost": 4}[named]
        outbox.send(*puts(items("ark3", [f"a{seq}"], seq, named), seq))
    due = {"a1": DUE, "a2": {*DUE, "rdl"}, "a3": DUE, "a4": DUE}
    for link, name in zip(there.links, INBOXES, strict=True):
        for id_, readers in due.items():
            wanted = sorted(f"inbox/{user}" for user in readers if user in owned[name])
            if wanted:
                (entry,) = await link.entries(1)
                if (entry.item.id, sorted(entry.addresses)) != (id_, wanted):
                    raise Broken(
                        f"{name} is put {entry.item.id} to {' '.join(entry.addresses)},"
                        f" and {id_} to {' '.join(wanted)} is right"
                    )
        await link.silence()


async def gives_credit(stand: Stand) -> None:
    await scene(stand)
    assert stand.graph
    await stand.graph.until_credited()
    early = stand.graph.credits[: stand.graph.credits.index(stand.graph.serial)]
    if any(early):
        raise Broken(f"it credits {early} before the snapshot's end, and 0 is right")
    for _ in range(3):
        stand.graph.say("join", "newcomer")
    await stand.graph.until_credited()


async def follows_the_graph(stand: Stand) -> None:
    there = await scene(stand)
    assert stand.graph
    outbox, graph = await there.open(), stand.graph
    graph.say("follow", "rdl", "ark3", at=50)
    graph.say("unfollow", "toto", "ark3", at=50)
    graph.say("follow", "toto", "ark3", at=40)  # older than the last word
    graph.say("join", "newcomer")
    graph.say("follow", "newcomer", "ark3")
    await graph.until_credited()
    outbox.send(*puts(items("ark3", ["a1"])))
    ((entry,),) = await there.entries([1])
    wanted = sorted(f"inbox/{user}" for user in ("ark3", "ella", "rdl", "newcomer"))
    if sorted(entry.addresses) != wanted:
        raise Broken(f"it puts to {' '.join(sorted(entry.addresses))}, not {' '.join(wanted)}")


async def goes_on_in_the_graph(stand: Stand) -> None:
    there = await scene(stand)
    assert stand.graph
    graph = stand.graph
    graph.say("follow", "rdl", "ark3")
    await graph.until_credited()
    graph.cut()
    await until(lambda: len(graph.asked) > 1, "it comes back to the graph after a cut", ANSWER_S)
    wish = graph.asked[-1]
    if wish.epoch and (wish.epoch, wish.after) != (graph.epoch, graph.serial):
        raise Broken(f"it asks from {wish.after} of {wish.epoch}, and had {graph.serial}")
    await asyncio.sleep(0.1)
    graph.say("unfollow", "rdl", "ark3", at=3000)
    await graph.until_credited()
    graph.begin_anew("f" * 16, {"rdl": ["ark3"], "toto": []})
    await graph.until_credited()
    outbox = await there.open()
    outbox.send(*puts(items("ark3", ["a1"])))
    ((entry,),) = await there.entries([1])
    if sorted(entry.addresses) != ["inbox/ark3", "inbox/ella", "inbox/rdl"]:
        raise Broken("a new snapshot does not take the place of what it knew")


READERS = [
    Case(
        "readers",
        "the author, followers, who is mentioned; each once",
        "2",
        finds_the_readers,
    ),
    Case(
        "credit",
        "0 up to the end of a snapshot, then the serial",
        "17",
        gives_credit,
    ),
    Case(
        "graph",
        "the last word about two users counts",
        "17",
        follows_the_graph,
    ),
    Case(
        "epochs",
        "goes on, or takes another snapshot",
        "17",
        goes_on_in_the_graph,
    ),
]
