"""A process goes on after an exception in the middle of applying a batch.

The journal has the batch and the memory has half of it. It is acked, and its readers never see the
other half; they would see it after a restart, which nobody has a reason for.
"""

from tests.breaks import Change

SETTING = "faults"
KINDS = ("lost", "unsettled", "restless", "graph")  # the last one if the other half is an event
CHANGES = (
    Change(
        "barker/manifold/intake.py",
        'self._service.fail("the journal has a batch that could not be applied")',
        "pass",
    ),
)
