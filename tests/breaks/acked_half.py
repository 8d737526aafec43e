"""After an exception the link acks all that it has received, and the batch stays half done.

What a batch had staged when the exception came was in no journal, and the last ack of the link
named it: its sender forgot it.
"""

from tests.breaks import Change

SETTING = "faults"
KINDS = ("lost", "unsettled", "restless", "graph")
CHANGES = (
    Change(
        "barker/links/link.py",
        "            self.abort()\n"
        "            conversation.batch_failed(self)\n"
        "            raise\n",
        "            raise\n",
    ),
    Change(
        "barker/delivery/acks.py",
        "        if link.committed != link.acked:\n"
        "            link.ack(link.committed)\n"
        "            link.flush()\n",
        "        if link.received != link.acked:\n"
        "            link.ack(link.received)\n"
        "            link.flush()\n",
    ),
)
