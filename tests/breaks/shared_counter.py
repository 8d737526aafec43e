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
        "        self._room -= 1\n",
        "        self._room -= 1\n        self._push.given(self._events.n)\n",
    ),
    Change(
        "barker/outbox.py",
        "        return Stamped(stream, item, self._events)\n",
        "        self._events.given(self._push.n)\n"
        "        item = item._replace(n=self._events.next_n())\n"
        "        return Stamped(stream, item, self._events)\n",
    ),
    Change(
        "barker/delivery/duplicates.py",
        "                    of = None  # its number says nothing: the key decides\n",
        "                    return (), True\n",
    ),
)
