"""The dice: which event comes next, of those that are possible."""

import random

from tests.simulation.engine import Simulation
from tests.simulation.settings import FOLLOWS, POLICIES, Event


def choose(simulation: Simulation, dice: random.Random) -> Event:
    mishap = dice.random() < 0.09
    return _mishap(simulation, dice) if mishap else _progress(simulation, dice)


def _progress(simulation: Simulation, dice: random.Random) -> Event:
    """What the system does if nobody disturbs it, each thing as early or late as it happens."""
    if dice.random() < 0.15:
        return ("say", dice.choice([*FOLLOWS]), dice.choice((1, 1, 2, 5)), dice.choice((0, 1)))
    if dice.random() < 0.02:
        return ("repeat", "client", dice.randrange(6))
    if dice.random() < 0.01:
        return ("listen", "listener-b")
    possible: list[Event] = []
    for party in simulation.parties.values():
        name = party.name
        if not party.alive:
            possible += [("start", name)] + [("gone", name)] * 2
            continue
        if party.frozen:
            possible += [("thaw", name, dice.random() < 0.7), ("gone", name)]
            continue
        if simulation.registered.get(party.kind, {}).get(name, name) == name:
            possible += [("register", name)] * (party.kind in POLICIES)
        if party.leaving:
            possible.append(("left", name, dice.random() < 0.9))
        if party.told:
            possible += [("told", name)] * 3
        if party.timers:
            possible.append(("fire", name))
        possible += [("dial", name, d.expect) for d in party.dialers if d.end is None or d.end.down]
        for end in party.ends:
            if end.has_news:
                event = ("hear", name, end.other.party.name, dice.choice((1, 2, 3, 9)))
                possible += [event, event]
    possible += [("full", n, False) for n, disk in simulation.disks.items() if disk.full]
    return dice.choice(possible) if possible else ("say", "ann", 1, 1)


def _mishap(simulation: Simulation, dice: random.Random) -> Event:
    names = [
        n for n in simulation.setting.names if n.partition("-")[0] in simulation.setting.mortal
    ]
    name = dice.choice(names)
    manifold = name.partition("-")[0] != "bizlogic"
    match dice.randrange(10):
        case 0 | 1:
            ends = [repr(e) for p in simulation.parties.values() for e in p.ends if p.alive]
            if ends:
                here, _, there = dice.choice(ends).partition(">")
                return ("cut", here, there, dice.randint(0, 4), dice.randint(0, 4))
        case 2:
            return ("freeze", name)
        case 3 | 4 if manifold:
            return ("trap", name, dice.choice(("before", "after", "torn")))
        case 5:
            return ("stop", name)
        case 6 if simulation.setting.disks and manifold:
            return ("full", name, True)
        case 7 | 8 if name.startswith("inbox"):
            return ("leave", name)
        case 9 if simulation.setting.power and manifold:
            return ("blackout", name, dice.randint(1, 6))
    if name not in simulation.parties:
        return ("start", name)
    return ("kill", name, dice.randint(0, 4))
