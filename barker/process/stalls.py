"""Stalls: what a process does that was not scheduled for a while. Busy is not dead.

It can't tell what its peers have made of its silence: they close a link that was silent for too
long, and then another process has taken over what came over that link. So it looks before it acts:

1. Each link *holds* what comes, and reads until nothing is left to be read.
2. A link that has shown its end by then was given up by its peer. What came over it is dropped.
3. When those links are down, what the others hold is handled, and all goes on.

Links that come up meanwhile wait until it is over. Left out: the stall itself, which the node sees
by its clock (`barker.process.node`).
"""

import asyncio
import selectors
from collections.abc import Callable, Iterable, Sequence

from barker.links.link import Link
from barker.process.faults import contained

# Turns of the loop for it. A read is 256 KiB, and what waits in a socket is less than thirty of
# them: a link on which there is more has a peer that is sending now.
MAX_LOOKS = 60


class Stall:
    """One stall, from the moment when it was noticed. `over` is done when all goes on."""

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
