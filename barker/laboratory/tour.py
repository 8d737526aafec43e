"""The tour: the experiments of the laboratory chapter, done in a terminal and checked.

    python launch.py --tour

Say something; see who owns whom; kill, freeze and stop the business logic; kill the inbox, and the
directory; add an outbox. Titles, texts and claims are those of `barker.laboratory.steps`. They are
in docs/15-the-laboratory.rst, too, word by word, and so are the commands; a test compares.
"""

import asyncio
import logging
import pathlib
from collections import Counter
from collections.abc import Sequence

from barker.disk.files import StateError
from barker.laboratory.guide import SERVICES, Guide, Step
from barker.laboratory.lab import CAN_FREEZE, PATIENT_S, Broken, Child, Lab, until
from barker.laboratory.producer import SaidBark
from barker.laboratory.steps import STEPS as TEXTS
from barker.links.link import Conversation, Link
from barker.process.dialing import Dialer
from barker.process.running import catch_signals
from barker.process.terminal import complain, end_line, tolerate_any_text
from barker.wire import messages, ops

# Services that steps add to those of the guide.
MORE = ("bizlogic --port 5681", "bizlogic --port 5682", "outbox --port 5803")
# What a busy machine may add to the three heartbeats after which a frozen process is given up:
# then what has waited is still to be sent, taken over and shown.
HASTE_S = 1.0
# How often, and how far apart, we look at a queue that grows.
LOOKS = 6
LOOK_S = 0.4
# Barks that are let through while something is missing, to see that it is not missed.
ENOUGH = 20


# --- say something ---


async def say_something(guide: Guide) -> None:
    child = await guide.run_command("bark ark3 This is my first manual bark.")
    guide.check(child.status == 0, f"bark ended with status {child.status}")
    bark_id = child.lines[-1]
    due, shown = guide.witness.due("ark3"), guide.witness.audience.shown

    def readers_of() -> Counter[str]:
        return Counter(r for r, barks in shown.items() for bark in barks if bark.id == bark_id)

    await until(lambda: due <= readers_of().keys(), "all followers are shown it")
    readers = sorted(readers_of())
    guide.show(f"shown to {len(readers)} readers: {readers[0]}, {readers[1]} ... {readers[-1]}")
    guide.check(set(readers) == due, "somebody was shown it who does not follow ark3")
    guide.check(max(readers_of().values()) == 1, "somebody was shown it twice")


# --- who owns whom ---


class Answers(Conversation):
    """Whom the directory chooses for each author, asked one by one, as a page does."""

    def __init__(self, authors: Sequence[str]) -> None:
        super().__init__()
        self.add_handler(ops.Target, self.on_target)
        self.authors = authors
        self.owner: dict[str, str | None] = {}

    def link_up(self, link: Link) -> None:
        for author in self.authors:
            link.send(messages.encode(ops.Resolve(f"outbox/{author}")))

    def on_target(self, link: Link, target: ops.Target) -> None:
        self.owner[target.address.partition("/")[2]] = target.name


async def who_owns_whom(guide: Guide) -> None:
    (said,) = guide.witness.producer.say(["ark3"])
    authors = guide.witness.world.names
    answers = Answers(authors)
    dialer = Dialer(guide, *guide.lab.place, answers, expect=None)
    await until(lambda: len(answers.owner) == len(authors), "the directory has answered")
    dialer.close()
    ring = guide.routes.route("outbox").ring
    for name, share in sorted(ring.shares().items()):
        owned = [author for author in authors if ring.owner(author) == name]
        guide.show(f"{name}  {share:4.0%}  {len(owned):>3} authors: {', '.join(owned[:4])} ...")
    differ = [author for author in authors if answers.owner[author] != ring.owner(author)]
    guide.check(not differ, f"the directory and the ring disagree about {differ}")
    await until(lambda: said.acked, "a bark of ark3 is acknowledged")
    folders = (guide.lab.state / "journal").glob("outbox-*")
    knowing = [folder.name for folder in folders if _has_a_bark_of_ark3(folder)]
    guide.show(f"the only journal with barks of ark3: {', '.join(knowing)}")
    guide.check(knowing == [ring.owner("ark3")], f"ark3 belongs to {ring.owner('ark3')}")


def _has_a_bark_of_ark3(journal: pathlib.Path) -> bool:
    return any(b'"user":"ark3"' in file.read_bytes() for file in journal.glob("*.log"))


# --- the business logic ---


async def kill_the_first(guide: Guide) -> None:
    spare = await _ready(guide, "bizlogic --port 5681")
    first = guide.running("bizlogic-5680")
    before = await _taken(guide, spare)
    guide.typed(f"kill -9 {first.pid}")
    begun = guide.now()
    first.kill()
    passed_s = await _shown_again(guide, begun)
    guide.show(f"{1000 * passed_s:.0f} ms later a bark is shown that was said after the kill")
    await _acked_after(guide, begun)
    after = await _taken(guide, spare)
    guide.show(f"{spare.name} had taken {before} barks before, and {after - before} since then")
    guide.check(after > before, "the spare got nothing")


async def freeze_the_first(guide: Guide) -> None:
    if not CAN_FREEZE:
        guide.show("(left out: this system can't freeze a process)")
        return
    await _ready(guide, "bizlogic --port 5680")
    first = guide.running("bizlogic-5681")
    guide.typed(f"kill -STOP {first.pid}")
    begun = guide.now()
    first.freeze()
    passed_s = await _shown_again(guide, begun)
    guide.show(f"{passed_s:.1f} s later a bark is shown that was said after the freeze")
    guide.check(passed_s < 3 * guide.heartbeat_s + HASTE_S, "that is far over three heartbeats")
    guide.typed(f"kill -CONT {first.pid}")
    first.thaw()
    await until(lambda: any("was frozen" in line for line in first.lines), "it notices the thaw")
    guide.show(next(line for line in first.lines if "was frozen" in line))
    await until(lambda: guide.peers_of("bizlogic")[:1] == [first.name], "it is the first again")
    before = await _taken(guide, first)
    end = guide.now() + PATIENT_S
    while await _taken(guide, first) <= before:
        guide.check(guide.now() < end, f"{first.name} gets nothing though it is back")
        await asyncio.sleep(0.02)
    guide.show(f"{first.name} has the traffic again")


async def stop_them_all(guide: Guide) -> None:
    working = [guide.running("bizlogic-5680"), guide.running("bizlogic-5681")]
    guide.typed(f"kill {working[0].pid} {working[1].pid}")
    for child in working:
        child.stop()
    for child in working:
        await child.until_ended()
    begun = guide.now()
    depths = []
    for _ in range(LOOKS):
        await asyncio.sleep(LOOK_S)
        depths.append(await guide.witness.backlog())
        guide.show(f"{guide.now() - begun:3.1f} s  {'#' * (depths[-1] // 3)} {depths[-1]}")
    waiting = guide.witness.said_since(begun)
    guide.check(depths == sorted(set(depths)), f"the queues did not grow: {depths}")
    guide.check(not any(map(guide.witness.shown_at, waiting)), "who has shown a bark?")
    await until(lambda: all(said.acked for said in waiting), "authors get their acks")
    await _ready(guide, "bizlogic --port 5682")
    begun = guide.now()
    await until(lambda: guide.witness.all_shown(waiting), "what has waited is shown")
    passed_s = max(guide.witness.shown_at(said) or 0.0 for said in waiting) - begun
    guide.show(
        f"{1000 * max(0.0, passed_s):.0f} ms later the last of {len(waiting)} barks is shown"
    )


# --- the inbox, the directory ---


async def kill_the_inbox(guide: Guide) -> None:
    inbox = guide.running("inbox-5820")
    guide.typed(f"kill -9 {inbox.pid}")
    inbox.kill()
    await inbox.until_ended()
    begun = guide.now()
    waiting = await _acked_after(guide, begun)
    shown = len([said for said in waiting if guide.witness.shown_at(said)])
    guide.show(f"{len(waiting)} barks were acknowledged since then, and {shown} shown")
    guide.check(not shown, "who has shown them?")
    inbox = await _ready(guide, "inbox --port 5820")
    for line in inbox.lines:
        if "recovered" in line:
            guide.show(line)
    await until(lambda: guide.witness.all_shown(waiting), "they are shown")
    guide.show(f"{len(waiting)} of them are shown")


async def kill_the_directory(guide: Guide) -> None:
    directory = guide.running("directory-5672")
    guide.typed(f"kill -9 {directory.pid}")
    directory.kill()
    await directory.until_ended()
    barks = await _acked_after(guide, guide.now())
    await until(lambda: guide.witness.all_shown(barks), "they are shown")
    guide.show(f"{len(barks)} barks were acknowledged since then, and {len(barks)} shown")
    newcomer = await guide.run_command("bark ark3 --timeout 0.5 Is anybody there")
    guide.check(newcomer.status == 1, "a newcomer needs no directory?")
    await _ready(guide, "directory --port 5672")
    begun = guide.now()
    newcomer = await guide.run_command("bark ark3 Back again.")
    guide.check(newcomer.status == 0, "a newcomer can't begin though the directory is back")
    guide.show(f"that took {guide.now() - begun:.1f} s")


# --- the ring ---


async def add_an_outbox(guide: Guide) -> None:
    authors = guide.witness.world.names

    def owners() -> dict[str, str | None]:
        ring = guide.routes.route("outbox").ring
        return {author: ring.owner(author) for author in authors}

    before = owners()
    newcomer = await _ready(guide, "outbox --port 5803")
    await until(lambda: newcomer.name in guide.peers_of("outbox"), f"{newcomer.name} is known")
    after = owners()
    moved = [author for author in authors if after[author] != before[author]]
    to = {str(after[author]) for author in moved}
    guide.show(f"{len(moved)} of {len(authors)} authors have moved, to {', '.join(sorted(to))}")
    guide.check(to == {newcomer.name}, "an author moved between the others")
    barks = guide.witness.producer.say(moved[:ENOUGH])
    await until(lambda: guide.witness.all_shown(barks), "barks of authors that moved are shown")
    guide.show(f"{len(barks)} barks of authors that moved are shown")


# --- what several steps do ---


async def _ready(guide: Guide, words: str) -> Child:
    child = await guide.launch(words)
    await child.until_ready()
    if child.name.startswith("bizlogic"):  # a spare is one when the others have found it
        await until(lambda: child.name in guide.peers_of("bizlogic"), f"{child.name} is known")
    return child


async def _taken(guide: Guide, child: Child) -> int:
    """Barks that a bizlogic has taken, by its agent's word; 0 if it does not answer yet."""
    samples = await guide.witness.ask("bizlogic")
    return int(samples.get(child.name, {}).get("in", 0))


async def _shown_again(guide: Guide, begun: float) -> float:
    """Wait for a bark to be shown that was said after `begun`; how long after."""
    shown: list[float] = []

    def again() -> bool:
        shown[:] = filter(None, map(guide.witness.shown_at, guide.witness.said_since(begun)))
        return bool(shown)

    await until(again, "barks are shown again")
    return min(shown) - begun


async def _acked_after(guide: Guide, begun: float) -> list[SaidBark]:
    """Wait for the first `ENOUGH` barks that were said after `begun` and are acknowledged."""
    acked: list[SaidBark] = []

    def enough() -> bool:
        acked[:] = [said for said in guide.witness.said_since(begun) if said.acked]
        return len(acked) >= ENOUGH

    await until(enough, "authors get their acks")
    return acked


DEEDS = (
    say_something,
    who_owns_whom,
    kill_the_first,
    freeze_the_first,
    stop_them_all,
    kill_the_inbox,
    kill_the_directory,
    add_an_outbox,
)
STEPS = tuple(
    Step(text.title, text.chapter, text.text, text.claim, do)
    for text, do in zip(TEXTS, DEEDS, strict=True)
)


def take(*, wait: bool = True, steps: Sequence[Step] = STEPS) -> int:
    """Take the tour; without `wait` nobody is asked for Enter. 0, or 1 if a claim did not hold."""
    logging.getLogger("barker").setLevel(logging.ERROR)  # that links break is what we are here for
    tolerate_any_text()
    try:
        return asyncio.run(_take(steps, wait))
    except (Broken, StateError, OSError) as fault:
        complain("tour", fault)
        return 1
    except KeyboardInterrupt:  # before the loop could take the signal
        end_line()
        return 130


async def _take(steps: Sequence[Step], wait: bool) -> int:
    async with Lab() as lab:
        lab.find_ports([*SERVICES, *MORE])
        guide = Guide(lab, steps, wait=wait)
        catch_signals(guide)
        return await guide.run()
