"""Barks and events share one counter, and a counter out of the window decides.

A bark waits at its outbox for an inbox that is away. Meanwhile many events take their counters, and
a later bark takes one to another inbox. When the ring gives the reader to that inbox, the first
bark comes there with a counter far behind the highest. The inbox takes it for one that was settled
long ago, and acks it: the bark is lost.
"""

from tests.breaks import Change

SETTING = "counters"
KINDS = ("lost",)
CHANGES = (
    Change(
        "barker/outbox.py",
        "            if columns:\n",
        "            if columns:\n                push.given(max(self._barks.n, self._events.n))\n",
    ),
    Change(
        "barker/delivery/duplicates.py",
        "        if record is None:\n            return addresses, late\n",
        "        of = self._origins.get(origin or '')\n"
        "        if of is not None and n <= of.highest - self._window:\n"
        "            return (), True\n"
        "        if record is None:\n            return addresses, late\n",
    ),
)
