"""Traces: when a followed entry came to each service, as news for one frame.

Pure. A sample has the last traces of its service, the old ones again. Known ones are left out here,
by the trace and its time, and so are those from before we looked.
"""

from typing import Any, NamedTuple

# Of one frame, the newest: a person's barks, four hops each. Of a flood the rest isn't shown.
MAX_TRACES_IN_FRAME = 50
# Of one sample; a service remembers as many.
MAX_TRACES_IN_SAMPLE = 100
# Older ones in a sample, by its own clock, are from before we looked at that service.
FRESH_MS = 10_000


class Noted(NamedTuple):
    trace: str
    service: str
    at_ms: float


class Traces:
    """What was noted since the last frame."""

    def __init__(self) -> None:
        self._known: dict[str, set[Noted]] = {}  # by service: those of its last sample
        self._news: list[Noted] = []

    def sampled(self, name: str, at_ms: float, traces: Any) -> None:
        """A sample of that service has come; traces of a wrong shape count as none."""
        known = self._known.pop(name, set())
        noted = [Noted(t[0], name, t[1]) for t in traces] if _are_traces(traces) else []
        if not noted:
            return
        self._known[name] = {*noted}
        self._news += (n for n in noted if n not in known and at_ms - n.at_ms <= FRESH_MS)
        self._cut()

    def forget(self, name: str) -> None:
        """That service is in no later frame."""
        self._known.pop(name, None)

    def take(self) -> list[Noted]:
        """The news, the oldest first; each is taken once."""
        news, self._news = self._news, []
        return news

    def _cut(self) -> None:
        self._news = sorted(self._news, key=lambda n: n.at_ms)[-MAX_TRACES_IN_FRAME:]


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 2**53


def _are_traces(value: Any) -> bool:
    return (
        type(value) is list
        and len(value) <= MAX_TRACES_IN_SAMPLE
        and all(
            type(t) is list
            and len(t) == 2
            and (type(t[0]) is str and 0 < len(t[0]) <= 64)
            and _is_time(t[1])
            for t in value
        )
    )
