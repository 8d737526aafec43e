"""The dice: which event comes next, of those that are possible."""

import random

from tests.simulation.client import ODD
from tests.simulation.engine import Simulation
from tests.simulation.settings import FOLLOWS, NEWCOMERS, Event

# Of those that a client says one after the other; some are more than a window of duplicates.
BURSTS = (1, 1, 2, 4, 16, 16)


def choose(simulation: Simulation, dice: random.Random) -> Event:
    mishap = dice.random() < 0.09
    return _mishap(simulation, dice) if mishap else _progress(simulation, dice)


def _client(simulation: Simulation, dice: random.Random) -> Event | None:
    """What users do, and not every one of them in every setting."""
    setting = simulation.setting
    if setting.events and dice.random() < setting.events:
        if dice.random() < setting.joins:
            return ("join", dice.choice(NEWCOMERS))
        users = [*FOLLOWS, *simulation.social.newcomers]
        user, whom = dice.sample(users, 2)
        return ("follow", user, whom, dice.choice(BURSTS))
    if setting.odd and dice.random() < 0.08:
        return ("odd", dice.choice([*FOLLOWS]), dice.randrange(len(ODD)))
    if setting.poison and dice.random() < 0.03:
        return ("poison", dice.choice([*FOLLOWS]))
    if dice.random() < 0.15:
        authors = [*FOLLOWS, *simulation.social.newcomers]
        return ("say", dice.choice(authors), dice.choice((1, 1, 2, 5)), dice.choice((0, 1)))
    if dice.random() < 0.02:
        return ("repeat", "client", dice.randrange(6))
    if dice.random() < 0.01:
        return ("listen", "listener-b")
    return None


def _progress(simulation: Simulation, dice: random.Random) -> Event:
    """What the system does if nobody disturbs it, each thing as early or late as it happens."""
    event = _client(simulation, dice)
    if event:
        return event
    possible: list[Event] = []
    for party in simulation.parties.values():
        name = party.name
        if not party.alive:
            possible += [("start", name)] + [("gone", name)] * 2
            continue
        if party.frozen:
            possible += [("thaw", name, dice.random() < 0.7), ("gone", name)]
            continue
        if party.unregistered:
            possible.append(("register", name))
        if party.leaving:
            possible.append(("left", name, dice.random() < 0.9))
        if party.told:
            possible += [("told", name)] * 3
        if party.timers:
            possible.append(("fire", name))
        if dice.random() < 0.2:
            possible.append(("tick", name))
        possible += [("dial", name, d.expect) for d in party.dialers if d.end is None or d.end.down]
        for end in party.ends:
            if end.has_news:
                event = ("hear", name, end.other.party.name, dice.choice((1, 2, 3, 9)))
                possible += [event, event]
    possible += [("full", n, False) for n, disk in simulation.disks.items() if disk.full]
    if not simulation.directory_is_there:
        possible.append(("directory", "settled"))
    return dice.choice(possible) if possible else ("say", "ann", 1, 1)


def _mishap(simulation: Simulation, dice: random.Random) -> Event:
    setting = simulation.setting
    names = [n for n in setting.names if n.partition("-")[0] in setting.mortal]
    name = dice.choice(names)
    manifold = name.partition("-")[0] != "bizlogic"
    more = [kind for kind in ("directory", "backups", "faults", "damage") if getattr(setting, kind)]
    if more and dice.random() < 0.5:
        event = _special(simulation, dice, dice.choice(more), name)
        if event:
            return event
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
        case 6 if setting.disks and manifold:
            return ("full", name, True)
        case 7 | 8 if name.startswith("inbox"):
            return ("leave", name)
        case 9 if setting.power and manifold:
            return ("blackout", name, dice.randint(1, 6))
    if name not in simulation.parties:
        return ("start", name)
    return ("kill", name, dice.randint(0, 4))


def _special(simulation: Simulation, dice: random.Random, kind: str, name: str) -> Event | None:
    """What only some settings have."""
    party = simulation.running(name)
    if kind == "directory":
        return ("directory", "again")
    if kind == "faults":
        if party and party.spots:
            return ("fault", name, dice.choice(party.spots), dice.choice((1, 1, 1, 2, 3)))
        return None
    if name not in simulation.disks:
        return None
    if kind == "damage":
        return ("damage", name, dice.randrange(6), dice.choice((0, 0, 1, 2, 5)))
    if name not in simulation.losses.backups or dice.random() < 0.4:
        return ("backup", name, dice.random() < 0.5)
    stem = name.partition("-")[0]
    unused = [n for n in simulation.setting.names if n not in simulation.disks]
    unused = [n for n in unused if n.startswith(stem)]
    if unused and dice.random() < 0.4:
        return ("copy", name, unused[0])
    return ("restore", name)
