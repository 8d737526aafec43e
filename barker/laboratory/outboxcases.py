"""Cases for an outbox: which entries it takes, how it stamps them, and that it keeps acked ones."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

from barker.laboratory.conformance import Case
from barker.laboratory.lab import Broken
from barker.laboratory.peer import ANSWER_S, QUIET_S, Entry, Peer
from barker.laboratory.stand import Played, Stand, bark
from barker.wire import protocol
from barker.wire.ops import Ack, Put, Refuse
from barker.wire.protocol import (
    BAD_MESSAGE,
    MAX_BODY_BYTES,
    MOVED,
    NAME_TAKEN,
    TOO_LARGE,
    UNDECIDED,
    UNKNOWN_USER,
)

AUTHOR = "ark3"
TO = [f"outbox/{AUTHOR}"]
# A join is put again so often, with this between two attempts.
ATTEMPTS, ASK_AGAIN_S = 100, 0.05
# How far an author's clock is ahead, which is too far.
AHEAD_MS = 3_600_000


class Scene:
    """An outbox that is ready, a client's link to it, and its link to a bizlogic."""

    def __init__(self, stand: Stand, bizlogic: Played, followers: Played) -> None:
        self.stand = stand
        self.bizlogic = bizlogic
        self.followers = followers

    async def links_to_followers(self) -> list[Peer]:
        """One, or one more for joins."""
        links = [await self.followers.link()]
        with contextlib.suppress(Broken):
            links.append(await self.followers.link(QUIET_S))
        return links

    async def begin(self) -> tuple[Peer, Peer]:
        """Links that are new: a client's, and to bizlogic."""
        return await self.stand.open("client"), await self.bizlogic.link()


async def scene(stand: Stand, *flags: str) -> Scene:
    result = Scene(
        stand,
        await stand.play("bizlogic", "bizlogic-1"),
        await stand.play("followers", "followers-2"),
    )
    await stand.begin(*flags)
    assert stand.graph
    await stand.graph.until_credited()
    return result


def said(seq: int, ids: Sequence[str], user: str = AUTHOR) -> Put:
    return Put(seq, [f"outbox/{user}"], [bark(user, id_) for id_ in ids])


async def taken(client: Peer, seq: int) -> None:
    """All up to there are acked, and none is refused."""
    while (ack := await client.expect(Ack)).seq < seq:
        pass
    if ack.seq > seq:
        raise Broken(f"{seq} entries were put, and it acks {ack.seq}")


async def refused(client: Peer, seq: int, put: Put, code: str) -> None:
    client.send(put)
    refusal = await client.expect(Refuse)
    if (refusal.seq, refusal.code) != (seq, code):
        raise Broken(f"refuse {refusal.seq} ({refusal.code}) comes, and {seq} ({code}) is right")
    await taken(client, seq)


async def stamps(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    body = b'{ "user": "ark3", "id" : "a1", "at": 7, "content": "\\u00e9 \\/ @rdl, @toto @rdl!" }'
    client.write(b'{"op":"put","seq":1,"to":["outbox/ark3"],"bodies":[' + body + b"]}\n")
    client.send(said(2, ["a2"]))
    await taken(client, 2)
    first, second = await bizlogic.entries(2)
    wanted = '{"user":"ark3","id":"a1","at":7,"content":"é / @rdl, @toto @rdl!"}'.encode()
    item = first.item
    got = (item.body, item.user, item.id, item.at, item.named, list(first.addresses))
    right = (wanted, AUTHOR, "a1", 7, "rdl toto", ["bizlogic"])
    for what, is_, was in zip(("body", "user", "id", "at", "named", "to"), got, right, strict=True):
        if is_ != was:
            raise Broken(f"{what} is {is_!r} behind it, and {was!r} is right")
    if not item.origin or item.origin != second.item.origin:
        raise Broken("two barks of one life of it have two origins, or none")
    if second.item.n != item.n + 1:
        raise Broken(f"n is {item.n}, and then {second.item.n}")


async def refuses(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()

    def one(seq: int, body: bytes, to: str = TO[0]) -> Put:
        return Put(seq, [to], [body])

    number = "1.5"
    wrong: list[tuple[bytes, str, str]] = [
        (bark("toto", "x"), TO[0], BAD_MESSAGE),
        (bark("ghost", "x"), "outbox/ghost", UNKNOWN_USER),
        (bark(AUTHOR, "x", ""), TO[0], BAD_MESSAGE),
        (bark(AUTHOR, "x", " \t"), TO[0], BAD_MESSAGE),
        (bark(AUTHOR, "no id!"), TO[0], BAD_MESSAGE),
        (bark(AUTHOR, "x", "y" * 281), TO[0], TOO_LARGE),
        (bark(AUTHOR, "x", more="z" * MAX_BODY_BYTES), TO[0], TOO_LARGE),
        (b'{"id":"x","user":"ark3","content":"y","at":%b}' % number.encode(), TO[0], BAD_MESSAGE),
        (b'{"id":"x","user":"ark3","content":"y","at":1,"z":[1]}', TO[0], BAD_MESSAGE),
        (b"[1]", TO[0], BAD_MESSAGE),
        (bark(AUTHOR, "x"), "inbox/ark3", BAD_MESSAGE),
        (bark(AUTHOR, "x"), "outbox/ark3 outbox/rdl", BAD_MESSAGE),
    ]
    for seq, (body, to, code) in enumerate(wrong, 1):
        await refused(client, seq, one(seq, body, to), code)
    seq = len(wrong) + 1
    room = MAX_BODY_BYTES - len(bark(AUTHOR, "b", more=""))
    client.send(one(seq, bark(AUTHOR, "a", "ü" * 280)))
    client.send(one(seq + 1, bark(AUTHOR, "b", more="z" * room)))
    await taken(client, seq + 1)
    await bizlogic.entries(2)


async def takes_the_others(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    some = [bark(AUTHOR, "a1"), bark("toto", "a2"), bark(AUTHOR, "a3")]
    client.send(Put(1, TO, some))
    refusal = await client.expect(Refuse)
    if refusal.seq != 2:
        raise Broken(f"entry 2 of 3 is wrong, and {refusal.seq} is refused")
    await taken(client, 3)
    if [entry.item.id for entry in await bizlogic.entries(2)] != ["a1", "a3"]:
        raise Broken("the others of a put with a bad one do not come in their order")


async def counts(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    client.send(said(7, ["a1"]))
    await client.is_over(protocol.PROTOCOL)
    await bizlogic.silence()


async def stamps_itself(stand: Stand) -> None:
    there = await scene(stand)
    client, _ = await there.begin()
    stamp = ("d02a2615274dde4f", False, [1], [AUTHOR], ["a1"], [1])
    await refused(client, 1, Put(1, TO, [bark(AUTHOR, "a1")], *stamp), BAD_MESSAGE)


async def sets_clocks_right(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    now_ms = time.time_ns() // 1_000_000
    client.send(Put(1, TO, [bark(AUTHOR, "a1", at=now_ms + AHEAD_MS)]))
    (entry,) = await bizlogic.entries(1)
    in_body = json.loads(entry.item.body)["at"]
    if abs(entry.item.at - now_ms) > AHEAD_MS / 2 or in_body != entry.item.at:
        raise Broken(f"at is {entry.item.at} and {in_body} in its body, an hour ahead of {now_ms}")


async def has_a_share(stand: Stand) -> None:
    there = await scene(stand)
    names = (stand.name, "outbox-other")
    client, _ = await there.begin()
    await stand.play("outbox", names[1])
    owned = stand.owned(names)
    other = owned[names[1]][0]
    for _ in range(50):  # until the directory has sent it the other
        put = said(1, ["a1"], other)
        client.send(put)
        answer = await client.next()
        if isinstance(answer, Refuse) and answer.code == MOVED:
            break
        client.abort()
        client = await stand.open("client")
    else:
        raise Broken(f"it takes a bark of {other}, who is {names[1]}'s by the ring")
    await taken(client, 1)
    if owned[names[0]]:
        client.send(said(2, ["b1"], owned[names[0]][0]))
        await taken(client, 2)


async def sends_events_another_way(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    links = await there.links_to_followers()
    client.send(said(1, ["a1", "a2"]))
    client.send(Put(3, TO, [event("follow", "e1", AUTHOR, whom="ella")]))
    client.send(said(4, ["a3"]))
    client.send(Put(5, TO, [event("unfollow", "e2", AUTHOR, whom="ella")]))
    await taken(client, 5)
    with contextlib.closing(Entries(links)) as followers:
        (first, _), (second, _) = await followers.next(), await followers.next()
    if (first.item.id, second.item.id, second.item.n) != ("e1", "e2", first.item.n + 1):
        raise Broken("followers get other events than were put, or no counters of their own")
    if list(first.addresses) != ["followers"]:
        raise Broken(f"an event is put to {' '.join(first.addresses)}, and followers is right")
    if [entry.item.id for entry in await bizlogic.entries(3)] != ["a1", "a2", "a3"]:
        raise Broken("barks around an event do not come to bizlogic in their order")
    await refused(client, 6, Put(6, TO, [event("follow", "e4", AUTHOR, whom=AUTHOR)]), BAD_MESSAGE)


async def gives_no_name_away(stand: Stand) -> None:
    """It puts the join to followers, and no bark waits for the answer."""
    there = await scene(stand)
    client, bizlogic = await there.begin()
    seq = 0
    with contextlib.closing(Entries(await there.links_to_followers())) as followers:
        for user, taken_by_another in (("newcomer", False), ("rdl", True)):
            join = Put(seq + 1, [f"outbox/{user}"], [event("join", f"j-{user}", user)])
            await refused(client, seq + 1, join, UNDECIDED)
            client.send(said(seq + 2, [f"a-{user}"]))
            await taken(client, seq + 2)
            await bizlogic.entries(1)
            entry, link = await followers.next()
            if entry.item.origin and entry.item.id == "j-newcomer":  # it is kept, and an event now
                link.send(Ack(entry.seq))
                entry, link = await followers.next()
            if entry.item.id and entry.item.id != f"j-{user}":
                raise Broken(f"followers get {entry.item.id}, and the join is right")
            if taken_by_another:
                link.send(Refuse(entry.seq, NAME_TAKEN, "it is", ["followers"]))
            link.send(Ack(entry.seq))
            seq, code = await answer(client, seq + 3, join)
            if code != (NAME_TAKEN if taken_by_another else ""):
                raise Broken(
                    f"followers have decided, and a join is refused as {code or 'nothing'}"
                )
    client.send(Put(seq + 1, ["outbox/newcomer"], [bark("newcomer", "b1")]))
    await taken(client, seq + 1)


def event(kind: str, id_: str, user: str, **more: Any) -> bytes:
    return json.dumps({"kind": kind, "id": id_, "user": user, "at": 5, **more}).encode()


class Entries:
    """The entries that come over several links, one by one."""

    def __init__(self, links: Sequence[Peer]) -> None:
        self._tasks = {link: self._task(link) for link in links}

    @staticmethod
    def _task(link: Peer) -> asyncio.Task[list[Entry]]:
        return asyncio.create_task(link.entries(1, within_s=100 * ANSWER_S))

    async def next(self) -> tuple[Entry, Peer]:
        """The next one, and its link."""
        tasks = self._tasks
        done, _ = await asyncio.wait(
            tasks.values(), timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED
        )
        for link, task in tasks.items():
            if task in done:
                tasks[link] = self._task(link)
                return task.result()[0], link
        raise Broken(f"no put comes to followers within {ANSWER_S:g} s")

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()


async def answer(client: Peer, seq: int, put: Put) -> tuple[int, str]:
    """Put it again until the answer differs from `undecided`; the last number, and the code."""
    for last in range(seq, seq + ATTEMPTS):
        client.send(put._replace(seq=last))
        message = await client.next()
        code = message.code if isinstance(message, Refuse) else ""
        if code:
            await taken(client, last)
        if code != UNDECIDED:
            return last, code
        await asyncio.sleep(ASK_AGAIN_S)
    raise Broken("followers have decided, and a join stays undecided")


async def pongs_in_a_long_batch(stand: Stand) -> None:
    there = await scene(stand)
    client, bizlogic = await there.begin()
    number, each = 2000, 100
    for seq in range(1, number, each):
        client.send(said(seq, [f"a{seq + i}" for i in range(each)]))
        client.write(b'{"op":"ping"}\n')
    await client.until_pongs(number // each)
    await taken(client, number)
    await bizlogic.entries(number)


OUTBOX = [
    Case("stamps", "a body is canonical, its columns agree with it", "protocol", stamps),
    Case("refusals", "each with its code; 280 characters, 8 KiB", "protocol", refuses),
    Case("others of a put", "a bad one is refused alone", "protocol", takes_the_others),
    Case("numbers", "a hole in seq is the end", "protocol", counts),
    Case("stamped", "refused: it stamps itself", "protocol", stamps_itself),
    Case("clocks", "60 s ahead is now", "protocol", sets_clocks_right),
    Case("moved", "an author of another's is refused", "5", has_a_share),
    Case(
        "events",
        "they go to followers, counted apart",
        "17",
        sends_events_another_way,
    ),
    Case("joins", "followers gives names away", "17", gives_no_name_away),
    Case(
        "long batch",
        "pongs in the middle of 2000 entries",
        "4",
        pongs_in_a_long_batch,
    ),
]
