"""Poison: a body that fails at every attempt.

A handler that raises an unforeseen exception ends its link (`barker.links.link`), and the sender
sends the same body again: to this instance or, under ordered failover, to the next one, and so to
all of them in turn. So a service counts the links that each body has ended. After `ATTEMPTS` it
refuses that body for good, as ``failed``, before any handler runs. A sender that has acked it
before then keeps it as a dead letter (`barker.disk.deadletters`), and the entries behind it go on.

Left out: a body that ends the whole process (by exhausting its memory, say). Only the process
itself knows the body that it was handling.
"""

from hashlib import blake2b

from barker.wire.protocol import FAILED, BadMessage

# A single exception may have a passing cause: memory was short. Three for one body are no chance.
ATTEMPTS = 3
# Bodies with a count; beyond it all counts are forgotten. A body costs some 300 bytes.
MAX_SUSPECTS = 10_000


class Suspects:
    """How many links each body has ended here. False as long as none has ended any."""

    def __init__(self) -> None:
        self._ended: dict[bytes, tuple[int, str]] = {}

    def __bool__(self) -> bool:
        return bool(self._ended)

    def blame(self, body: bytes, fault: Exception) -> None:
        """The handling of this body has raised `fault`, which is about to end the link."""
        if len(self._ended) >= MAX_SUSPECTS:
            self._ended.clear()
        name = _name(body)
        count, _ = self._ended.get(name, (0, ""))
        self._ended[name] = count + 1, repr(fault)[:200]

    def check(self, body: bytes) -> None:
        """Raises BadMessage if this body has ended `ATTEMPTS` links already."""
        count, fault = self._ended.get(_name(body), (0, ""))
        if count >= ATTEMPTS:
            raise BadMessage(FAILED, f"it has ended {count} links: {fault}")


def _name(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
