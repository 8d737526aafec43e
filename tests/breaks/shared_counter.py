"""Barks and events share one counter, and a counter out of the window decides.

A bark waits at its outbox for an inbox that is away. Meanwhile many events take their counters, and
a later bark takes one to another inbox. When the ring gives the reader to that inbox, the first
bark comes there with a counter far behind the highest. The inbox takes it for one that was settled
long ago, and acks it: the bark is lost.
"""

from tests.breaks import Change

SETTING = "counters"
KINDS = ("lost",)
SHARED = "self._push.n = self._events.n = max(self._push.n, self._events.n) + 1"
CHANGES = (
    Change("barker/outbox.py", "        self._push.n += 1\n", f"        {SHARED}\n"),
    Change("barker/outbox.py", "        self._events.n += 1\n", f"        {SHARED}\n"),
    Change(
        "barker/streams.py",
        "                    of = None  # its number says nothing: the key decides\n",
        "                    return (), True\n",
    ),
)
