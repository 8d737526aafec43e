"""Stalls: after a time in which this process was not scheduled. Busy is not dead.

The process can't know how its peers took its silence. They close a link that was silent for too
long; then another process has taken over its work. So this one looks before it acts:

1. Each link *holds* what arrives, and reads until nothing is left to read.
2. If a link has ended by then, its peer has closed it. Its messages are dropped.
3. When those links are down, the bytes that the others hold are handled, and all goes on.

Links that come up meanwhile wait until it is over. Left out: the detection of a stall, by the
node's clock (`barker.process.node`).
"""

import asyncio
import selectors
from collections.abc import Callable, Iterable, Sequence

from barker.links.link import Link
from barker.process.faults import contained

# Turns of the loop for it. A read is 256 KiB, and a socket holds less than thirty of them. A link
# with more has a peer that is sending now.
MAX_LOOKS = 60


class Stall:
    """One stall, from its detection. `over` is done when all goes on."""

    def __init__(self, links: Iterable[Link], looked: Callable[[Sequence[Link]], None]) -> None:
        """`looked` is called with the links that peers have ended, before others are handled."""
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._looked = looked
        self._links = list(links)
        self._looks = 0
        for link in self._links:
            link.hold()
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._looks += 1
        ended = [link for link in self._links if link.has_ended]
        for link in ended:
            link.abort()
        living = [link for link in self._links if not link.has_ended]
        is_waited_for = not all(link.cleared for link in ended) or _is_any_readable(living)
        if is_waited_for and self._looks < MAX_LOOKS:
            self._loop.call_soon(self._look)
            return
        try:
            self._looked(ended)
        finally:
            for link in living:
                with contained(link, link.abort):
                    link.release()
            self.over.set_result(None)


def _is_any_readable(links: Iterable[Link]) -> bool:
    with selectors.DefaultSelector() as selector:
        for link in links:
            if link.fileno() >= 0:
                selector.register(link, selectors.EVENT_READ)
        return bool(selector.get_map()) and bool(selector.select(0))
