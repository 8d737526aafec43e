"""Judging: everything comes to rest, and then it is compared with what was promised."""

import json
from collections import Counter

from barker.inbox import Inbox
from tests.simulation.engine import Simulation
from tests.simulation.parties import Party, Saying
from tests.simulation.settings import FOLLOWS, KEEP, Failure, Shown


def finish(simulation: Simulation) -> None:
    """Nothing bad happens any more; soon everything is at rest, and then it is judged."""
    for disk in simulation.disks.values():
        disk.full, disk.trap = False, ""
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
        raise Failure(f"at rest, and not settled: {simulation.unsettled()}")
    if not all(s.acked for s in simulation.said):
        raise Failure("at rest, and not acked")
    due = {
        reader: sorted(s.bark.id for s in simulation.said if f"inbox/{reader}" in to(simulation, s))
        for reader in FOLLOWS
    }
    compare(simulation, "the listener", due, simulation.shown)
    if simulation.readers["listener"].gaps:
        raise Failure("gap: the listener was told that something is no longer kept")
    for reader, shown in simulation.shown_later.items():
        ids = Counter(id_ for _, id_, _, _ in shown)
        for saying in simulation.due_later:
            if saying.bark.id in simulation.forgiven:
                continue
            if f"inbox/{reader}" in to(simulation, saying) and saying.bark.id not in ids:
                raise Failure(f"lost: {saying.bark.id} for {reader}, who came later")
        for id_, times in ids.items():
            if times > 1:
                raise Failure(f"twice: {id_} for {reader}, who came later")
    for reader, shown in simulation.shown.items():
        check_order(simulation, reader, shown)
    check_timelines(simulation)
    fresh: dict[str, list[Shown]] = {u: [] for u in FOLLOWS}
    party = simulation.parties["listener-2"] = Party(simulation, "listener-2", 0)
    simulation.read(party, fresh, KEEP)
    simulation.rest()
    compare(simulation, "a new reader", due, fresh)
    simulation.kill(party)
    del simulation.parties["listener-2"]
    simulation.rest()


def to(simulation: Simulation, saying: Saying) -> tuple[str, ...]:
    return simulation.targets.of(saying.bark.user, saying.bark.content)


def compare(
    simulation: Simulation, who: str, due: dict[str, list[str]], got: dict[str, list[Shown]]
) -> None:
    for reader, ids in due.items():
        shown = Counter(id_ for _, id_, _, _ in got[reader])
        for id_ in ids:
            if id_ not in shown and id_ not in simulation.forgiven:
                raise Failure(f"lost: {who} was not shown {id_} as {reader}")
        for id_, times in shown.items():
            if times > 1:
                raise Failure(f"twice: {who} was shown {id_} {times} times as {reader}")
            if id_ not in ids:
                raise Failure(f"unexpected: {who} was shown {id_} as {reader}")


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
            for address, timeline in party.node._timelines.items():
                bodies = Counter(json.loads(e.body)["id"] for e in timeline.entries)
                for id_, times in bodies.items():
                    if times > 1:
                        raise Failure(f"twice: {name} holds {id_} {times} times in {address}")
