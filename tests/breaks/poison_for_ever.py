"""bizlogic does not count how many links a body has ended.

A bark that it can't bear ends the link each time that the outbox sends it, and all that waits
behind it waits for ever.
"""

from tests.breaks import Change

SETTING = "poison"
KINDS = ("restless", "unsettled")
CHANGES = (Change("barker/bizlogic.py", "                self._suspects.blame(body, fault)\n", ""),)
