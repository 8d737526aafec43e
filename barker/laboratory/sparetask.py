"""Spare: failover from a frozen bizlogic takes half of its time, and nothing else changes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from barker.laboratory.conformance import Case
from barker.laboratory.lab import Broken
from barker.laboratory.outboxcases import said
from barker.laboratory.peer import Peer
from barker.laboratory.stand import Played, Stand
from barker.laboratory.task import Task
from barker.wire.ops import Ack

# The stand's heartbeat is a second.
GAP_S = 1.5
# A pause that is no death; silences that links without a spare survive.
PAUSE_S, PATIENCE_S = 0.7, 2.0


class Pair:
    """An outbox in front of two bizlogics, and a client that barks all the time."""

    def __init__(self, client: Peer, first: Played, link: Peer, spare: Peer | None) -> None:
        self.client = client
        self.first = first
        self.link = link
        self.spare = spare
        self._put = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def talk(self) -> None:
        self._tasks.append(asyncio.create_task(self._talk()))

    async def _talk(self) -> None:
        while True:
            self._put += 1
            self.client.send(said(self._put, [f"b{self._put}"]))
            await asyncio.sleep(0.05)

    def serve(self) -> asyncio.Task[None]:
        """The first bizlogic acks, until this task is cancelled."""
        self._tasks.append(asyncio.create_task(self._serve()))
        return self._tasks[-1]

    async def _serve(self) -> None:
        while True:
            (entry,) = await self.link.entries(1)
            self.link.send(Ack(entry.seq))

    def freeze(self) -> None:
        """The first one: no pong, no greeting."""
        self.link.fall_silent()
        self.first.freeze()

    async def until_failover(self, within_s: float) -> float | None:
        """How long until barks come to the spare; None if none comes."""
        assert self.spare
        begun = self.now
        try:
            await self.spare.entries(1, within_s)
        except Broken:
            return None
        return self.now - begun

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def pair(stand: Stand, *, alone: bool = False) -> AsyncIterator[Pair]:
    first = await stand.play("bizlogic", "bizlogic-1")
    other = None if alone else await stand.play("bizlogic", "bizlogic-2")
    await stand.play("followers", "followers-2")
    await stand.begin()
    assert stand.graph
    await stand.graph.until_credited()
    client = await stand.open("client")
    result = Pair(client, first, await first.link(), await other.link() if other else None)
    result.talk()
    try:
        yield result
    finally:
        result.close()


async def is_quick(stand: Stand) -> str:
    async with pair(stand) as there:
        serving = there.serve()
        await asyncio.sleep(0.3)
        serving.cancel()
        there.freeze()
        gap_s = await there.until_failover(3 * GAP_S)
    if gap_s is None:
        raise Broken(f"no bark comes to the spare within {3 * GAP_S:g} s")
    if gap_s > GAP_S:
        raise Broken(
            f"the first bizlogic freezes, and barks come to the spare {gap_s:.2f} s later; half of "
            f"three heartbeats is {GAP_S:g} s"
        )
    return f"{gap_s:.2f} s"


async def takes_all_along(stand: Stand) -> None:
    async with pair(stand) as there:
        assert there.spare
        (entry,) = await there.link.entries(1)
        there.link.send(Ack(entry.seq))
        there.freeze()
        ids = [entry.item.id for entry in await there.spare.entries(5)]
    if ids != [f"b{n}" for n in range(2, 7)]:
        raise Broken(f"b1 was acked by the first one, and {', '.join(ids)} come to the spare")


async def bears_a_pause(stand: Stand) -> None:
    async with pair(stand) as there:
        serving = there.serve()
        await asyncio.sleep(0.3)
        serving.cancel()
        there.link.fall_silent()
        gap_s = await there.until_failover(PAUSE_S)
        there.link.wake()
        there.serve()
        if gap_s is None:
            gap_s = await there.until_failover(PAUSE_S)
    if gap_s is not None:
        text = f"a pause of {PAUSE_S:g} s moves all barks to the spare, after {gap_s:.2f} s"
        raise Broken(f"{text}: that is no death")


async def bears_a_late_ack(stand: Stand) -> None:
    async with pair(stand) as there:
        gap_s = await there.until_failover(PATIENCE_S)
    if gap_s is not None:
        raise Broken(
            "the first bizlogic answers each ping, and its acks wait for an inbox: "
            f"after {gap_s:.2f} s all barks move to the spare, which waits for the same inbox"
        )


async def keeps_the_only_one(stand: Stand) -> None:
    async with pair(stand, alone=True) as there:
        serving = there.serve()
        await asyncio.sleep(0.3)
        serving.cancel()
        there.link.fall_silent()
        await asyncio.sleep(PATIENCE_S)
        there.link.wake()
        try:
            await there.link.entries(2)
        except Broken:
            text = f"no spare is there, and the link is closed after less than {PATIENCE_S:g} s"
            raise Broken(f"{text}: promise 6 has three heartbeats") from None


async def keeps_clients(stand: Stand) -> None:
    async with pair(stand) as there:
        there.serve()
        quiet = await stand.open("quiet")
        quiet.fall_silent()
        await asyncio.sleep(PATIENCE_S)
        quiet.wake()
        quiet.write(b'{"op":"ping"}\n')
        before = quiet.pongs
        with contextlib.suppress(Broken):
            await quiet.until_pongs(before + 1)
        if quiet.pongs == before:
            text = f"a client that was silent for {PATIENCE_S:g} s has lost its link"
            raise Broken(f"{text}: promise 6 has three heartbeats")


async def fails_over_at_a_cut(stand: Stand) -> str:
    async with pair(stand) as there:
        there.serve()
        await asyncio.sleep(0.3)
        there.freeze()
        there.link.abort()
        gap_s = await there.until_failover(PAUSE_S)
    if gap_s is None:
        raise Broken(f"the link is cut, and no bark comes to the spare within {PAUSE_S:g} s")
    return f"{gap_s:.3f} s"


SPARE = Task(
    name="spare",
    title="A warm spare",
    chapter="07-failover",
    about=f"""
    kill -9 ends all links of a bizlogic, so outboxes go on with the spare at once. A frozen one
    keeps its links: they count as dead within three heartbeats. A spare is there, and all barks
    wait for so long. Cut that gap in half: barks come to the spare at most {GAP_S:g} s after the
    first one has frozen, with the heartbeat of a second.

    A shorter time for all links is no answer. A client or an inbox has no spare, and keeps the
    patience of promise 6. A pause of {PAUSE_S:g} s is no death. And a bizlogic that lives may have
    nothing to ack, since an inbox is away: then a failover helps no bark. How does a sender learn
    that a receiver lives, when it is in doubt?

    Look for yourself before you begin: python launch.py, a second bizlogic, kill -STOP the first.
    """,
    where=(
        ("barker/delivery/sender.py", "_link_for, peers_changed, and its lanes"),
        ("barker/links/link.py", "heard, pings, pongs, ping(), abort()"),
        ("barker/process/node.py", "_tick, and ticked, which the outbox fills in"),
        ("docs/07-failover.rst", "why a frozen process is the harder case"),
    ),
    role="outbox",
    cases=(
        Case("the gap", f"at most {GAP_S:g} s after a freeze", "7", is_quick),
        Case("all of it", "promises 1, 3: all unacked barks, in order", "7", takes_all_along),
        Case("a pause", f"{PAUSE_S:g} s are no death", "7", bears_a_pause),
        Case("a late ack", "who answers pings lives", "7", bears_a_late_ack),
        Case("no spare", "promise 6: the only one is waited for", "7", keeps_the_only_one),
        Case("clients", "promise 6: their links have three heartbeats", "7", keeps_clients),
        Case("a cut", "as before: at once", "7", fails_over_at_a_cut),
    ),
)
