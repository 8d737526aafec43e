"""Burst: an author who puts too many barks at once is refused, with a reason and a time."""

import asyncio
import re
import time
from collections.abc import Sequence

from barker.laboratory.conformance import Case
from barker.laboratory.lab import Broken
from barker.laboratory.outboxcases import AUTHOR, said, scene, taken
from barker.laboratory.peer import Peer
from barker.laboratory.stand import Stand, bark
from barker.laboratory.task import Task
from barker.wire.ops import Ack, Put, Refuse
from barker.wire.protocol import TOO_MANY

BURST, WITHIN_S = 5, 2.0
FLAGS = ("--burst", str(BURST))
OTHER = "rdl"


async def _answers(client: Peer, seq: int) -> dict[int, Refuse]:
    """The refusals, until all up to that number is acked or refused."""
    refusals: dict[int, Refuse] = {}
    reached = 0
    while reached < seq:
        try:
            message = await client.next()
        except TimeoutError:
            raise Broken(f"{seq} barks were put, and {reached} have an answer") from None
        if isinstance(message, Refuse):
            refusals[message.seq] = message
        elif isinstance(message, Ack):
            reached = message.seq
        else:
            raise Broken("it closes the link of an author who puts too many barks")
    return refusals


def _check(refusals: dict[int, Refuse], due: Sequence[int], who: str) -> None:
    wrong = [r for seq, r in sorted(refusals.items()) if seq not in due]
    if wrong:
        raise Broken(
            f"bark {wrong[0].seq} is refused ({wrong[0].code}: {wrong[0].reason}), and {who}"
        )
    missing = [seq for seq in due if seq not in refusals]
    if missing:
        raise Broken(f"with --burst {BURST}, bark {missing[0]} of one author is taken at once")
    for refusal in refusals.values():
        if refusal.code != TOO_MANY:
            raise Broken(f"a bark too many is refused as {refusal.code}, and {TOO_MANY} is right")


def _time_of(refusal: Refuse) -> float:
    found = re.search(r"\bin (\d+(?:\.\d+)?) s\b", refusal.reason)
    if not found or not 0.0 < float(found[1]) <= WITHIN_S:
        raise Broken(f"the reason has no time such as 'in 1.4 s': {refusal.reason}")
    return float(found[1])


async def limits(stand: Stand) -> None:
    there = await scene(stand, *FLAGS)
    client, bizlogic = await there.begin()
    client.send(said(1, [f"a{n}" for n in range(1, 8)]))
    _check(await _answers(client, 7), [6, 7], f"{BURST} are allowed")
    ids = [entry.item.id for entry in await bizlogic.entries(BURST)]
    if ids != [f"a{n}" for n in range(1, BURST + 1)]:
        raise Broken(f"{', '.join(ids)} come to bizlogic, and the first {BURST} are right")
    await bizlogic.silence()


async def limits_lines(stand: Stand) -> None:
    there = await scene(stand, *FLAGS)
    client, _ = await there.begin()
    for seq in range(1, 8):
        client.send(said(seq, [f"a{seq}"]))
        refusals = await _answers(client, seq)
        _check(refusals, [seq] if seq > BURST else [], f"{BURST} are allowed")


async def tells_a_time(stand: Stand) -> None:
    there = await scene(stand, *FLAGS)
    client, _ = await there.begin()
    client.send(said(1, [f"a{n}" for n in range(1, 7)]))
    refusals = await _answers(client, 6)
    _check(refusals, [6], f"{BURST} are allowed")
    wait_s, told, rounded_s = _time_of(refusals[6]), time.monotonic(), 0.1
    await asyncio.sleep(max(0.0, wait_s / 2 - rounded_s))
    if wait_s > 4 * rounded_s:
        client.send(said(7, ["a6"]))
        early = await _answers(client, 7)
        if not early:
            raise Broken(f"it said to come again in {wait_s:g} s, and takes it after half of that")
        seq = 8
    else:
        seq = 7
    await asyncio.sleep(max(0.0, told + wait_s + rounded_s - time.monotonic()))
    client.send(said(seq, ["a6"]))
    for refusal in (await _answers(client, seq)).values():
        raise Broken(f"it said to come again in {wait_s:g} s, and refuses then: {refusal.reason}")


async def spares_others(stand: Stand) -> None:
    there = await scene(stand, *FLAGS)
    client, bizlogic = await there.begin()
    authors = [AUTHOR] * (BURST + 1) + [OTHER] + [AUTHOR] + [OTHER]
    bodies = [bark(author, f"a{n}") for n, author in enumerate(authors, 1)]
    client.send(Put(1, [f"outbox/{author}" for author in authors], bodies))
    refusals = await _answers(client, len(authors))
    due = [BURST + 1, BURST + 3]
    _check(refusals, due, f"it is {OTHER}'s, who has put one or two")
    client.send(said(len(authors) + 1, ["b1"], OTHER))
    _check(await _answers(client, len(authors) + 1), [], f"it is {OTHER}'s, who has put three")
    await bizlogic.entries(BURST + 3)


async def knows_repetitions(stand: Stand) -> None:
    there = await scene(stand, *FLAGS)
    client, _ = await there.begin()
    ids = [f"a{n}" for n in range(1, BURST + 1)]
    client.send(said(1, ids))
    await taken(client, BURST)
    for _ in range(2):  # its ack was lost
        client.abort()
        client = await stand.open("client")
        client.send(said(1, ids))
        why = "it was acked before: promise 1, a repetition is acked again"
        _check(await _answers(client, BURST), [], why)
    client.send(said(BURST + 1, ["new"]))
    _check(await _answers(client, BURST + 1), [BURST + 1], "")


async def is_off(stand: Stand) -> None:
    there, many = await scene(stand), 200
    client, bizlogic = await there.begin()
    client.send(said(1, [f"a{n}" for n in range(many)]))
    _check(await _answers(client, many), [], "there is no --burst")
    await bizlogic.entries(many)


BURSTS = Task(
    name="burst",
    title="Limit an author's rate",
    chapter="08-the-journal-and-kill-9",
    about=f"""
    Give the outbox a flag --burst N: an author may put N barks at once, and over a longer time N
    for every {WITHIN_S:g} seconds (a list of the last times does it, or a token bucket). Without
    the flag there is no limit.

    A bark too many is refused as {TOO_MANY}, and its reason tells in how many seconds the next one
    would be taken, in these words:

      {AUTHOR} has put {BURST} barks in {WITHIN_S:g} s; the next one is taken in 1.4 s

    It is no "full": a client puts a full entry again by itself, and all behind it on the link wait.
    Other authors notice nothing. Their barks come over the same link, and in the same line. A
    client whose ack was lost puts its barks again: these are no new ones. A check may come to
    nothing, if the journal can't be written: count what was accepted.
    """,
    where=(
        ("barker/outbox.py", "Outbox.arguments, and what it gives to Admission"),
        ("barker/manifold/admission.py", "_check_all and _check_each, then accept"),
        ("docs/protocol.rst", "refuse: its codes"),
        ("docs/08-the-journal-and-kill-9.rst", "checked, kept, acked"),
    ),
    role="outbox",
    cases=(
        Case("one line", f"of 7 barks {BURST} are taken, the others refused", "8", limits),
        Case("many lines", "the same for barks one by one", "8", limits_lines),
        Case("the time", "the reason has a time, and the time is true", "8", tells_a_time),
        Case("others", "barks of other authors are taken, on the same link", "8", spares_others),
        Case("repetitions", "promise 1: acked is acked, and not new", "8", knows_repetitions),
        Case("no flag", "without --burst, 200 at once are taken", "8", is_off),
    ),
)
