"""Waiting: a process logs what it lacks in one line, soon, and once.

A process that waits for another must not look as if it did nothing, and must not fill a terminal.
`now` comes in, text goes out.
"""

from barker.process.terminal import python
from barker.wire.protocol import BAD_PROOF

# Processes that are started together find each other within this.
PATIENCE_S = 2.0
# A launcher reports when all its processes are ready, and the patience begins then. Without that
# report, it begins after this.
PATIENCE_OF_FLEETS_S = 10.0


class Waiting:
    """Remembers what is missing, since when, and its log line."""

    def __init__(self, is_in_fleet: bool = False) -> None:
        self._patience_s = PATIENCE_OF_FLEETS_S if is_in_fleet else PATIENCE_S
        self._lack = self._told = ""
        self._since = 0.0

    def begin(self, now: float) -> None:
        """Begin the patience now, as a process outside a fleet does: all of ours is started."""
        self._patience_s, self._since = PATIENCE_S, now

    def look(self, lack: str, now: float) -> str:
        """What to log now; "" if nothing.

        `lack` is what is missing, and what to do; "" if nothing is. It is logged when it has been
        the same for the patience, and again after another lack, or none.
        """
        if lack != self._lack:
            self._lack, self._since = lack, now
        if not lack:
            self._told = ""
        if lack == self._told or now - self._since < self._patience_s:
            return ""
        self._told = lack
        return lack

    @property
    def told(self) -> str:
        """What was logged and is still missing; "" if nothing is."""
        return self._told if self._told == self._lack else ""


def no_directory(place: str, why: str) -> str:
    """What to do without a directory; `why` is the reason, or "" if there is no answer."""
    if why.startswith(BAD_PROOF):
        return f"the directory at {place} has another secret; --state or --secret-file names it"
    return (
        f"no directory at {place}{': ' if why else ''}{why}; `{python()} launch.py` starts a"
        " system, --directory HOST:PORT names another"
    )


def no_service(place: str, kind: str) -> str:
    """What to do if the directory knows no such service."""
    return (
        f"the directory at {place} knows no {kind} service; `{python()} -m barker.{kind}`"
        " starts one, --directory HOST:PORT names another system"
    )
