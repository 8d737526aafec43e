"""Findings: promise by promise, which held and which did not, and one bark's way as evidence.

Left out: how it was found out (`barker.laboratory.trial`), and its output (`barker.judge`).
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from barker.laboratory.lab import SHOWN_CHARS
from barker.laboratory.producer import SaidBark
from barker.laboratory.relay import Ways
from barker.laboratory.verdict import not_moved
from barker.laboratory.witness import Witness

HELD, BROKEN, OPEN = "held", "BROKEN", "not judged"


class Finding(NamedTuple):
    """One promise, by its number in chapter 2 ("" if it has none), and whether it held."""

    number: str
    promise: str
    state: str
    text: str


class Seen(NamedTuple):
    """A trial's observations besides its witness."""

    changes: Sequence[tuple[float, float]]  # when shares of a ring moved
    strangers: int  # that were refused as they should
    intruders: Sequence[str]  # faults with the others
    away: int  # barks that were acked while no directory ran
    gone: str  # the loss in a graph or a timeline; "" if all is there
    events: int  # about the graph, that were acked
    rest: str  # why it has not come to rest; "" if it has


def findings(witness: Witness, seen: Seen) -> list[Finding]:
    """All promises in their order."""
    said, audience = witness.producer.said, witness.audience
    found = witness.found()
    said_at = {each.bark.id: each.said_at for each in said}
    disorder = not_moved(found.out_of_order, said_at, seen.changes, witness.now)
    lost, twice, astray = _ids(found.lost), _ids(found.twice), _ids(witness.astray())
    refused = [each for each in said if each.refused]
    shown = f"{witness.producer.acked} barks were acked, and shown {len(audience.shown_at)} times"
    also = f"; {seen.events} events are in every graph" if seen.events and not seen.gone else ""
    waited_s = max((_waited_s(witness, each) for each in said), default=0.0)
    result = [
        _of("1", "acknowledged means kept", shown + also)
        if not (lost or seen.gone)
        else _not("1", "acknowledged means kept", seen.gone or _many(lost, "were lost")),
        _of("2", "shown once", "no reader was shown one twice")
        if not twice
        else _not("2", "shown once", _many(twice, "were shown twice")),
        _of("3", "in order", "of each author, for each reader")
        if not disorder
        else _not("3", "in order", _many({d.id for d in disorder}, "came after a later one")),
        _of("4", "any order of starting", "all were started at once, in an order by the seed"),
        Finding("5", "nothing grows without a bound", OPEN, "it takes longer than this"),
        Finding("6", "a dead peer is seen", OPEN, f"the longest wait was {waited_s:.1f} s"),
        Finding("9", "told why one waits", OPEN, "it is for people to read"),
    ]
    if seen.away:
        result[3] = _of("4", "the directory may be away", f"{seen.away} barks were acked meanwhile")
    if seen.strangers or seen.intruders:
        text = f"{seen.strangers} strangers were refused, and the others noticed nothing"
        what = "bad input, and strangers"
        result.insert(
            6,
            Finding("7, 8", what, BROKEN, seen.intruders[0])
            if seen.intruders
            else Finding("7, 8", what, HELD, text),
        )
    if astray:
        result.append(_not("", "to its readers alone", _many(astray, "went to other readers")))
    if refused:
        why = f"{len(refused)} good barks were refused: {refused[0].reason}"
        result.append(_not("", "what is right is taken", why))
    if seen.rest:
        result.append(_not("", "it comes to rest", seen.rest))
    return result


def offender(witness: Witness, seen: Seen) -> SaidBark | None:
    """The first bark of which a promise was broken."""
    found = witness.found()
    said_at = {each.bark.id: each.said_at for each in witness.producer.said}
    disorder = not_moved(found.out_of_order, said_at, seen.changes, witness.now)
    guilty = _ids(found.lost) | _ids(found.twice) | _ids(witness.astray())
    guilty |= {d.id for d in disorder}
    said = witness.producer.said
    first = next((each for each in said if each.bark.id in guilty or each.refused), None)
    return first or (next((s for s in said if not s.answered), None) if seen.rest else None)


def way_of(
    said: SaidBark,
    witness: Witness,
    ways: Ways,
    story: Sequence[tuple[float, str]],
    state: pathlib.Path,
) -> list[str]:
    """One bark's way through the hops, in the order of time; `story` has the blows meanwhile."""
    bark, begun = said.bark, said.said_at
    due = witness.due(bark.user, bark.content) & witness.audience.shown.keys()
    got = [
        (shown.at, reader)
        for reader, barks in witness.audience.shown.items()
        for shown in barks
        if shown.id == bark.id
    ]
    steps = [(begun, "its author puts it to an outbox")]
    if said.acked_at:
        steps.append((said.acked_at, "its author has the ack"))
    if said.refused:
        steps.append((begun, f"it is refused: {said.reason} ({said.refused})"))
    steps += [(step.at, step.what) for step in ways.steps.get(bark.id, ())]
    if got:
        steps.append((min(got)[0], f"shown first, to {min(got)[1]}"))
        steps.append((max(got)[0], f"shown last, to {max(got)[1]}"))
    last = max(at for at, _ in steps)
    steps += [(at, what) for at, what in story if begun - 1.0 <= at <= last + 1.0]
    readers = {reader for _, reader in got}
    lines = [f"{bark.id}, {bark.content!r} of {bark.user}:"]
    lines += [f"  {at - begun:+7.3f} s  {what}" for at, what in sorted(steps)]
    missing = sorted(due - readers)
    times = f"shown {len(got)} times to {len(readers)} of {len(due)} readers"
    lines.append(f"  {times}{', not to ' + ', '.join(missing[:4]) if missing else ''}")
    return lines + [f"  {line[:SHOWN_CHARS]}" for line in records_of(state, bark.id)]


def records_of(state: pathlib.Path, id_: str) -> list[str]:
    """Every record of a bark in any journal of ours."""
    found = [
        f"{path.parent.name}/{path.name}: {line.decode(errors='replace')}"
        for path in sorted(state.glob("journal/*/*.log"))
        for line in path.read_bytes().split(b"\n")
        if id_.encode() in line
    ]
    return found or [f"{id_} is in no journal"]


def _of(number: str, promise: str, text: str) -> Finding:
    return Finding(number, promise, HELD, text)


def _not(number: str, promise: str, text: str) -> Finding:
    return Finding(number, promise, BROKEN, text)


def _ids(keys: Sequence[tuple[str, str]]) -> set[str]:
    return {id_ for _, id_ in keys}


def _many(ids: set[str], what: str) -> str:
    return f"{len(ids)} barks {what}"


def _waited_s(witness: Witness, said: SaidBark) -> float:
    shown_at = witness.shown_at(said)
    return shown_at - said.said_at if shown_at else 0.0
