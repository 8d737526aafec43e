"""Delays: the time from an author's clock to the moment when an inbox sends a bark to its readers.

Pure. One batch costs a few calls, and an entry none of ours: its column of times is compared and
added up as a whole.

A time that is ahead of ours counts as now. A late bark counts: its readers did wait for it. Two
kinds of entries would hide the rest. Those that a former owner hands over were shown before, and
are left out. A bark that its author's page kept for hours while it was offline is as old as that,
and moves the mean of a second by minutes; so entries beyond MAX_DELAY_MS are only counted.
"""

from collections.abc import Sequence
from typing import Any

# A longer delay is in no mean and no maximum: ten minutes is what the monitor's page shows.
MAX_DELAY_MS = 600_000
# Samples come once a second. Without a reader of them, a period ends after this.
PERIOD_MS = 2000


class Delays:
    """The delays since the last sample, in milliseconds."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A sample has these; from here on others count."""
        self._since_ms = 0  # when the first of them came; long ago: none has
        self._count = self._total_ms = self._longest_ms = self._left_out = 0

    def add(self, at: Sequence[int], now_ms: int) -> None:
        """Entries are sent to their readers; their authors' clocks said `at`."""
        if self._is_over(now_ms):
            self.begin()
            self._since_ms = now_ms
        oldest = min(at)
        if max(at) > now_ms or now_ms - oldest > MAX_DELAY_MS:
            count = len(at)
            at = [min(time, now_ms) for time in at if now_ms - time <= MAX_DELAY_MS]
            self._left_out += count - len(at)
            if not at:
                return
            oldest = min(at)
        self._count += len(at)
        self._total_ms += len(at) * now_ms - sum(at)
        self._longest_ms = max(self._longest_ms, now_ms - oldest)

    def gauges(self, now_ms: int) -> dict[str, Any]:
        """For the inbox's agent: null where nothing has come."""
        if self._is_over(now_ms):
            self.begin()
        known = self._count > 0
        return {
            "delay_ms": round(self._total_ms / self._count, 2) if known else None,
            "delay_max_ms": self._longest_ms if known else None,
            "delay_over": self._left_out,
        }

    def _is_over(self, now_ms: int) -> bool:
        return not 0 <= now_ms - self._since_ms <= PERIOD_MS
