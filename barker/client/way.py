"""Way: a traced bark's hops as lines of text, a bar for each.

Pure: times come in, lines go out. Each bar begins where the one before it ends, so the longest hop
is seen at once. The times are by each service's own clock; on several machines a hop may seem to
take less than nothing.
"""

from collections.abc import Mapping
from typing import NamedTuple

# Kinds of services in the order in which a bark comes to them.
STAGES = ("outbox", "bizlogic", "inbox")
# The longest name, and the longest bar: with the time between them, a line has at most 80 columns.
NAME_COLUMNS = 26
BAR_COLUMNS = 38


class Hop(NamedTuple):
    service: str
    kind: str
    at_ms: float


def hops(noted: Mapping[str, float], kinds: Mapping[str, str]) -> list[Hop]:
    """The services that have noted a bark, in the order of its way; others are left out."""
    found = [Hop(name, kinds.get(name, ""), at_ms) for name, at_ms in noted.items()]
    known = [hop for hop in found if hop.kind in STAGES]
    return sorted(known, key=lambda hop: (STAGES.index(hop.kind), hop.at_ms))


def lines(sent_ms: float, way: list[Hop]) -> list[str]:
    """One line with the whole time, then one for each hop: the service, how long the bark took to
    it, and that as a bar.

    A hop begins at the first service of the stage before; several inboxes share their beginning.
    """
    firsts: dict[str, float] = {}
    for hop in way:
        firsts.setdefault(hop.kind, hop.at_ms)
    end_ms = max((hop.at_ms for hop in way), default=sent_ms)
    columns_per_ms = BAR_COLUMNS / max(end_ms - sent_ms, 0.01)
    if not way:
        return []
    shown = [f"Its way so far took {end_ms - sent_ms:.2f} ms. The time to each service:"]
    for hop in way:
        before = [firsts[kind] for kind in STAGES[: STAGES.index(hop.kind)] if kind in firsts]
        from_ms = before[-1] if before else sent_ms
        begin, end = (round((at - sent_ms) * columns_per_ms) for at in (from_ms, hop.at_ms))
        begin = min(max(begin, 0), BAR_COLUMNS - 1)
        bar = " " * begin + "=" * max(1, min(end, BAR_COLUMNS) - begin)
        shown.append(f"{shorter(hop.service):<{NAME_COLUMNS}}{hop.at_ms - from_ms:9.2f} ms  {bar}")
    return shown


def shorter(name: str) -> str:
    """A service's name, of which a line has room for so much."""
    return name if len(name) < NAME_COLUMNS else f"{name[: NAME_COLUMNS - 4]}..."
