"""Garbage: what refers to itself in a circle is looked for among young objects alone.

Python's collector looks at all objects now and then, in one piece: half a second in an inbox with
200,000 timelines. Nearly nothing of ours is ever in a circle. So what has survived one look is
*frozen*: no later look sees it, and none takes longer than the ones before.

Only the sockets of asyncio are circles, of about a kilobyte. So after very many links that have
ended there is one look at everything.
"""

import gc
from typing import Any

# New objects between two looks of the garbage collector at the young ones; Python's own is 700, or
# 2000. No bark makes anything cyclic, so it finds nothing, and it looks several times in a batch of
# a thousand barks. Measured: a fifth of an inbox's time. With more, one look takes so long that it
# can be seen in a latency.
YOUNG_OBJECTS = 20_000
# Links that end between two looks at everything: some 10 MB are in them.
LINKS_BETWEEN = 10_000


def begin() -> None:
    """The collector of this process works in this way from now on."""
    gc.freeze()  # modules and classes: they stay
    gc.set_threshold(YOUNG_OBJECTS)
    gc.callbacks.append(_looked)


def _looked(phase: str, about: dict[str, Any]) -> None:
    if phase == "stop":
        gc.freeze()


def look_at_all() -> None:
    """Find what was frozen and is garbage by now. That takes long if there is much."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
