"""An outbox with a faster journal: records are collected, and written together.

    python docs/labs/lying.py --port 5800

One write for many batches saves time. Its author has tried it, stopped it in good order, started it
again, and all barks were there. Which promise does it break?
"""

import asyncio
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from barker import outbox
from barker.disk.journal import Journal

# Records of so long are written together.
TOGETHER_S = 0.05


class CollectingJournal(Journal):
    """A journal with one write for many batches."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._collected: list[bytes] = []

    def append(self, lines: Sequence[bytes]) -> int:
        """Keep these lines; returns the segment that has them."""
        if not self._collected:
            asyncio.get_running_loop().call_later(TOGETHER_S, self._write_collected)
        self._collected += lines
        return self.current

    def _write_collected(self) -> None:
        lines, self._collected = self._collected, []
        if lines:
            super().append(lines)

    def close(self) -> None:
        self._write_collected()
        super().close()


if __name__ == "__main__":
    outbox.Journal = CollectingJournal  # type: ignore[misc]  # `Outbox.prepare` makes one of it
    sys.exit(outbox.main())
