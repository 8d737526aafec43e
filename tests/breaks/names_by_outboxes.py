"""An outbox gives names away by itself.

While followers is away, another outbox knows nothing of it, and gives the same name to another
person: two are told yes.
"""

from tests.breaks import Change

SETTING = "names"
KINDS = ("twice", "refused")
FIRST = 1000
CHANGES = (
    Change(
        "barker/manifold/admission.py",
        "            self._check_join(key, body)\n",
        "            if event.user in self._people or event.user in taken.joins:\n"
        '                raise BadMessage(protocol.NAME_TAKEN, "")\n',
    ),
)
