"""Judging: everything comes to rest, and then it is compared with what was promised."""

import json
from collections import Counter

from barker.inbox import Inbox
from tests.simulation.engine import Simulation
from tests.simulation.letters import dead_letters
from tests.simulation.parties import Party
from tests.simulation.settings import FOLLOWS, KEEP, POISON, Failure, Shown


def finish(simulation: Simulation) -> None:
    """Nothing bad happens any more; soon everything is at rest, and then it is judged."""
    simulation.calm()
    simulation.rest()
    judge(simulation)
    if "outbox" in simulation.setting.mortal:
        # What is on the disks is all that there is.
        for name in simulation.setting.names:
            simulation.play(("kill", name, 0))
        simulation.rest()
        judge(simulation)


def judge(simulation: Simulation) -> None:
    if simulation.unsettled():
        raise Failure(f"unsettled: at rest there still waits {simulation.unsettled()}")
    for saying in (*simulation.said, *simulation.social.events):
        if not saying.acked and not saying.refused:
            raise Failure(f"unacked: {saying}, at rest")
    if "followers" in simulation.kinds:
        simulation.social.judge()
    letters = judge_letters(simulation)
    losses = simulation.losses
    compare(simulation, "the listener", simulation.shown, letters, losses.unshown)
    if simulation.readers["listener"].gaps:
        raise Failure("gap: the listener was told that something is no longer kept")
    check_later(simulation, letters)
    for reader, shown in simulation.shown.items():
        check_order(simulation, reader, shown)
    check_timelines(simulation)
    users = [*FOLLOWS, *simulation.social.newcomers]
    fresh: dict[str, list[Shown]] = {u: [] for u in users}
    party = simulation.parties["listener-2"] = Party(simulation, "listener-2", 0)
    simulation.read(party, fresh, KEEP, users)
    simulation.rest()
    compare(simulation, "a new reader", fresh, letters, losses.unkept)
    simulation.kill(party)
    del simulation.parties["listener-2"]
    simulation.rest()


def judge_letters(simulation: Simulation) -> set[str]:
    """What bizlogic can't bear, the outbox keeps; and nothing else, if nothing else fails."""
    letters = dead_letters(simulation.folder)
    for saying in simulation.said:
        poisoned = f"@{POISON}" in saying.content
        if poisoned and saying.acked and saying.id not in letters | forgiven(simulation):
            raise Failure(f"lost: {saying} can't be delivered, and is no dead letter")
        if saying.id in letters and not (poisoned or simulation.setting.faults):
            raise Failure(f"refused: {saying} is a dead letter")
    return letters


def forgiven(simulation: Simulation) -> set[str]:
    losses = simulation.losses
    return losses.ids | {id_ for id_, _ in losses.unkept}


def compare(
    simulation: Simulation,
    who: str,
    got: dict[str, list[Shown]],
    letters: set[str],
    lost: set[tuple[str, str]],
) -> None:
    ids = {reader: Counter(id_ for _, id_, _, _ in shown) for reader, shown in got.items()}
    may: set[tuple[str, str]] = set()
    for saying in simulation.said:
        may |= {(reader, saying.id) for reader in simulation.social.may(saying)}
        if not saying.acked or saying.id in simulation.losses.ids | letters:
            continue
        for reader in simulation.social.must(saying):
            if reader in ids and saying.id not in ids[reader] and (saying.id, reader) not in lost:
                raise Failure(f"lost: {who} was not shown {saying} as {reader}")
    for reader, counts in ids.items():
        for id_, times in counts.items():
            if times > 1:
                raise Failure(f"twice: {who} was shown {id_} {times} times as {reader}")
            if (reader, id_) not in may:
                raise Failure(f"unexpected: {who} was shown {id_} as {reader}")


def check_later(simulation: Simulation, letters: set[str]) -> None:
    losses = simulation.losses
    for reader, shown in simulation.shown_later.items():
        ids = Counter(id_ for _, id_, _, _ in shown)
        for saying in simulation.due_later:
            if not saying.acked or saying.id in losses.ids | letters | set(ids):
                continue
            lost = (saying.id, reader) in losses.unkept
            if reader in simulation.social.must(saying) and not lost:
                raise Failure(f"lost: {saying} for {reader}, who came later")
        for id_, times in ids.items():
            if times > 1:
                raise Failure(f"twice: {id_} for {reader}, who came later")


def check_order(simulation: Simulation, reader: str, shown: list[Shown]) -> None:
    last: Counter[str] = Counter()
    for author, id_, number, late in shown:
        if late and simulation.setting.punctual:
            raise Failure(f"late: {id_} for {reader}, though no owner has changed")
        if number < last[author] and simulation.setting.ordered:
            raise Failure(f"out of order: {reader} was shown {id_} after {last[author]}")
        last[author] = max(last[author], number)


def check_timelines(simulation: Simulation) -> None:
    for name, party in simulation.parties.items():
        if isinstance(party.node, Inbox):
            for address, timeline in party.node._store.timelines.items():
                bodies = Counter(json.loads(e.body)["id"] for e in timeline.entries)
                for id_, times in bodies.items():
                    if times > 1:
                        raise Failure(f"twice: {name} holds {id_} {times} times in {address}")
