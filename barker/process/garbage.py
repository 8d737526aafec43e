"""Garbage: the collector looks for cycles among young objects alone.

Python's collector now and then looks at all objects in one piece: half a second in an inbox with
200,000 timelines. Hardly any object of ours is ever in a cycle. So objects that survive one look
are *frozen*: no later look includes them, and none takes longer than the ones before.

Only asyncio's sockets are in cycles, of about a kilobyte. So after very many links that have ended
there is one look at all objects.
"""

import gc
from typing import Any

# New objects between two looks of the garbage collector at the young ones; Python's own is 700, or
# 2000. No bark makes a cycle, so looks find nothing, and there are several in a batch of a thousand
# barks: measured, a fifth of an inbox's time. With a larger number, one look takes so long that
# latency shows it.
YOUNG_OBJECTS = 20_000
# Links that end between two looks at all objects: they hold some 10 MB.
LINKS_BETWEEN = 10_000


def begin() -> None:
    """Have the collector of this process work in this way from now on."""
    gc.freeze()  # modules and classes: they stay
    gc.set_threshold(YOUNG_OBJECTS)
    gc.callbacks.append(_looked)


def _looked(phase: str, about: dict[str, Any]) -> None:
    if phase == "stop":
        gc.freeze()


def look_at_all() -> None:
    """Free the frozen objects that are garbage by now. That takes long if there are many."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
