"""The outbox forgets what the service behind it refuses for good.

The outbox had acked it: its author takes it for delivered, and it is nowhere.
"""

from tests.breaks import Change

SETTING = "poison"
KINDS = ("lost",)
CHANGES = (
    Change(
        "barker/manifold/push.py",
        "        self._park(Letter(put.bodies[0], refusal.addresses, refusal.code, "
        "refusal.reason), parked)\n",
        "        parked()\n",
    ),
)
