"""Cases for a bizlogic: the readers of a bark, and its owner until every inbox has it."""

import asyncio
from collections.abc import Iterator, Sequence

from barker.laboratory.conformance import Case
from barker.laboratory.lab import Broken
from barker.laboratory.peer import Entry, Peer
from barker.laboratory.stand import Played, Stand, bark, of_kind
from barker.wire import protocol, strictjson
from barker.wire.ops import Ack, Item, Put, Refuse
from barker.wire.protocol import BAD_MESSAGE, FULL, MOVED

ORIGIN = "d02a2615274dde4f"
# Of a ring of these two, each has some of the readers of ark3.
INBOXES = ("inbox-1", "inbox-2")
DUE = {"ark3", "toto", "ella"}
# Entries of one line: it stays below 32 KiB.
GROUP = 100


def items(user: str, ids: Sequence[str], first: int = 1, named: str = "") -> list[Item]:
    content = f"woof @{named}" if named else "woof"
    return [
        Item(bark(user, id_, content), ORIGIN, n, user, id_, 1000, named)
        for n, id_ in enumerate(ids, first)
    ]


def puts(some: Sequence[Item], seq: int = 1) -> Iterator[Put]:
    for i in range(0, len(some), GROUP):
        group = some[i : i + GROUP]
        yield Put.of(seq + i, ["bizlogic"] * len(group), group)


class Scene:
    """A bizlogic that is ready, an outbox's link to it, and its links to inboxes."""

    def __init__(self, stand: Stand, inboxes: Sequence[Played]) -> None:
        self.stand = stand
        self.inboxes = inboxes
        self.links: list[Peer] = []

    async def open(self) -> Peer:
        return await self.stand.open("outbox-1")

    async def entries(self, counts: Sequence[int]) -> list[list[Entry]]:
        """By inbox, its next entries, so many."""
        rows = zip(self.links, counts, strict=False)
        return [await link.entries(number) for link, number in rows]


async def scene(stand: Stand, inboxes: Sequence[str] = INBOXES[:1]) -> Scene:
    played = [await stand.play("inbox", name) for name in inboxes]
    await stand.begin()
    result = Scene(stand, played)
    for each in played:
        result.links.append(await each.link())
    return result


async def acked(outbox: Peer, seq: int) -> None:
    """An ack up to there; it may come in several."""
    while (ack := await outbox.expect(Ack)).seq < seq:
        pass
    if ack.seq > seq:
        raise Broken(f"{seq} entries were put, and it acks {ack.seq}")


async def keeps_the_stamp(stand: Stand) -> None:
    there = await scene(stand)
    outbox = await there.open()
    body = bark("ark3", "a1", 'Schön: "é" \\ 🐕 \n @rdl', 7, more=True, z=None)
    item = Item(body, ORIGIN, 41, "ark3", "a1", 7, "rdl", trace="t1")
    outbox.send(Put.of(1, ["bizlogic"], [item]))
    ((entry,),) = await there.entries([1])
    for name, wanted, got in zip(Item._fields, item, entry.item, strict=True):
        if wanted != got and name != "trace":
            raise Broken(f"{name} is {got!r} behind it, and was {wanted!r}")


async def acks_when_all_have(stand: Stand) -> None:
    there = await scene(stand, INBOXES)
    outbox = await there.open()
    outbox.send(*puts(items("ark3", ["a1"])))
    await there.entries([1, 1])
    await outbox.silence()
    there.links[0].send(Ack(1))
    await outbox.silence()
    there.links[1].send(Ack(1))
    await acked(outbox, 1)


async def acks_in_order(stand: Stand) -> None:
    there = await scene(stand, INBOXES)
    owned = stand.owned(INBOXES)
    alone = [next(u for u in owned[name] if u.startswith("user")) for name in INBOXES]
    outbox = await there.open()
    for seq, user in enumerate(alone, 1):
        outbox.send(*puts(items(user, [f"b{seq}"], seq), seq))
    await there.entries([1, 1])
    there.links[1].send(Ack(1))  # the second bark is kept, and an ack of it would cover the first
    await outbox.silence()
    there.links[0].send(Ack(1))
    await acked(outbox, 2)


async def counts(stand: Stand) -> None:
    there = await scene(stand)
    outbox = await there.open()
    outbox.send(*puts(items("ark3", ["a1"]), seq=7))
    await outbox.is_over(protocol.PROTOCOL)
    await there.links[0].silence()


async def refuses_what_has_no_stamp(stand: Stand) -> None:
    there = await scene(stand)
    outbox = await there.open()
    outbox.send(Put(1, ["bizlogic"], [bark("ark3", "a1")]))
    refusal = await outbox.expect(Refuse)
    if (refusal.seq, refusal.code) != (1, BAD_MESSAGE):
        raise Broken(f"refuse {refusal.seq} ({refusal.code}) comes, and 1 ({BAD_MESSAGE}) is right")
    await acked(outbox, 1)
    outbox.send(*puts(items("ark3", ["a2"]), seq=2))
    await there.entries([1])


async def refuses_what_is_not_canonical(stand: Stand) -> None:
    there = await scene(stand)
    outbox = await there.open()
    line = strictjson.dumps({"x": 1}).replace(b"1", b'{"y":1}')
    outbox.send(Put.of(1, ["bizlogic"], [Item(line, ORIGIN, 1, "ark3", "a1", 1)]))
    await outbox.is_over(protocol.PROTOCOL)


async def has_a_window_to_outboxes(stand: Stand) -> None:
    there = await scene(stand)
    outbox = await there.open()
    some = items("user1", [f"b{i}" for i in range(protocol.UNACKED_WINDOW + 1)])
    outbox.send(*puts(some[:-1]))
    outbox.write(b'{"op":"ping"}\n')
    await outbox.until_pongs(1)
    outbox.send(*puts(some[-1:], seq=len(some)))
    await outbox.is_over(protocol.PROTOCOL)


async def has_a_window_to_inboxes(stand: Stand) -> None:
    there = await scene(stand)
    inbox, each = there.links[0], 3000
    outboxes = [await stand.open(f"outbox-{i}") for i in range(2)]
    for i, outbox in enumerate(outboxes):
        ids = [f"b{i}x{j}" for j in range(each)]
        origin = ORIGIN[:-1] + str(i)
        outbox.send(*puts([item._replace(origin=origin) for item in items("user1", ids)]))
    number = sum(len(put.bodies) for put in of_kind(await inbox.rest(1.0), Put))
    if number > protocol.UNACKED_WINDOW:
        raise Broken(f"{number} entries come without an ack")
    inbox.send(Ack(number))
    while number < 2 * each:
        put = await inbox.expect(Put)
        number += len(put.bodies)
    inbox.send(Ack(number))
    for outbox in outboxes:
        await acked(outbox, each)


async def puts_again_after_a_cut(stand: Stand) -> None:
    there = await scene(stand)
    outbox = await there.open()
    ids = [f"a{i}" for i in range(1, 6)]
    outbox.send(*puts(items("ark3", ids)))
    await there.entries([5])
    there.links[0].send(Ack(2))
    for ack in of_kind(await outbox.rest(), Ack):
        if ack.seq > 2:
            raise Broken(f"it acks {ack.seq}, and an inbox has 2")
    there.links[0].abort()
    inbox = await there.inboxes[0].link()
    again = [entry.item.id for entry in await inbox.entries(3)]
    if again != ids[2:]:
        raise Broken(f"after the cut come {' '.join(again)}, and {' '.join(ids[2:])} is right")
    await outbox.silence()
    inbox.send(Ack(3))
    await acked(outbox, 5)


async def forgets_who_has_gone(stand: Stand) -> None:
    there = await scene(stand)
    outbox = await there.open()
    outbox.send(*puts(items("ark3", ["a1", "a2", "a3"])))
    await there.entries([3])
    outbox.abort()
    again = await there.open()
    again.send(*puts(items("ark3", ["a1"])))
    there.links[0].send(Ack(3))
    await asyncio.sleep(0.1)
    (entry,) = await there.links[0].entries(1)
    await again.silence()  # the old link's entries are acked, and none of this one
    there.links[0].send(Ack(entry.seq))
    await acked(again, 1)


async def hands_a_refusal_back(stand: Stand) -> None:
    there = await scene(stand)
    outbox, inbox = await there.open(), there.links[0]
    outbox.send(*puts(items("ark3", ["a1", "a2", "a3"])))
    ((_, second, _),) = await there.entries([3])
    inbox.send(Refuse(second.seq, protocol.FAILED, "three links", list(second.addresses)), Ack(3))
    refusal = await _before(outbox, Refuse)
    if (refusal.seq, refusal.code) != (2, protocol.FAILED):
        raise Broken(f"refuse {refusal.seq} ({refusal.code}) comes, and 2 (failed) is right")
    await acked(outbox, 3)


async def _before(outbox: Peer, kind: type[Refuse]) -> Refuse:
    """The refusal; acks of entries before the second may come first."""
    while isinstance(message := await outbox.next(), Ack):
        if message.seq > 1:
            raise Broken(f"ack {message.seq} comes before the refusal that it passes")
    if not isinstance(message, kind):
        raise Broken("no refusal comes")
    return message


async def puts_off_what_is_full(stand: Stand) -> None:
    await _puts_again_what_is_refused(stand, FULL)


async def asks_again_what_has_moved(stand: Stand) -> None:
    await _puts_again_what_is_refused(stand, MOVED)


async def _puts_again_what_is_refused(stand: Stand, code: str) -> None:
    there = await scene(stand)
    outbox, inbox = await there.open(), there.links[0]
    outbox.send(*puts(items("ark3", ["a1"])))
    ((entry,),) = await there.entries([1])
    inbox.send(Refuse(1, code, "later", list(entry.addresses)), Ack(1))
    (again,) = await inbox.entries(1)
    same = (entry.item, sorted(entry.addresses)) == (again.item, sorted(again.addresses))
    if not same:
        raise Broken(f"what was refused as {code} comes again as something else")
    await outbox.silence()
    inbox.send(Ack(again.seq))
    await acked(outbox, 1)


async def waits_for_an_inbox(stand: Stand) -> None:
    await stand.begin()
    outbox = await stand.open("outbox-1")
    outbox.send(*puts(items("ark3", ["a1"])))
    await outbox.silence()
    inbox = await (await stand.play("inbox", "inbox-1")).link()
    await inbox.entries(1)
    inbox.send(Ack(1))
    await acked(outbox, 1)


async def pongs_in_a_long_batch(stand: Stand) -> None:
    there = await scene(stand)
    outbox = await there.open()
    some = items("ark3", [f"a{i}" for i in range(2000)])
    for put in puts(some):
        outbox.send(put)
        outbox.write(b'{"op":"ping"}\n')
    await outbox.until_pongs(len(some) // GROUP)
    if of_kind(await outbox.rest(), Ack):
        raise Broken("it acks an entry that no inbox has acked")
    number = 0
    while number < len(some):
        number += len((await there.links[0].expect(Put)).bodies)
    there.links[0].send(Ack(number))
    await acked(outbox, number)


BIZLOGIC = [
    Case("stamps", "they stay as they are, and so do bodies", "protocol", keeps_the_stamp),
    Case(
        "ack for all",
        "promise 1: acked when every inbox has acked",
        "2",
        acks_when_all_have,
    ),
    Case(
        "acks in order",
        "promise 1: an ack covers all before it",
        "4",
        acks_in_order,
    ),
    Case("numbers", "a hole in seq is the end", "protocol", counts),
    Case("no stamp", "refused, bad-message", "protocol", refuses_what_has_no_stamp),
    Case("nested", "with a stamp, the end", "protocol", refuses_what_is_not_canonical),
    Case("window of outboxes", "4096, and no more", "protocol", has_a_window_to_outboxes),
    Case("window to inboxes", "4096, and no more", "protocol", has_a_window_to_inboxes),
    Case("cut", "promise 1: unacked is put again, in order", "7", puts_again_after_a_cut),
    Case("a link that has gone", "numbers are of one link", "7", forgets_who_has_gone),
    Case("refused for good", "handed back before the ack", "9", hands_a_refusal_back),
    Case("full", "put again a moment later", "protocol", puts_off_what_is_full),
    Case("moved", "put again where the ring says", "protocol", asks_again_what_has_moved),
    Case("no inbox yet", "promise 4: barks wait for one", "2", waits_for_an_inbox),
    Case(
        "long batch",
        "pongs in the middle of 2000 entries",
        "4",
        pongs_in_a_long_batch,
    ),
]
