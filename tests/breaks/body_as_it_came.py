"""The outbox passes a body on as it came, white space and all.

A comma and a tab in a body look like the place between two bodies of one line. A later hop encodes
such a body again: it may become larger than a body may be, and is refused long after it was acked.
"""

from tests.breaks import Change

SETTING = "odd"
KINDS = ("lost", "closed", "another", "restless", "refused")
CHANGES = (Change("barker/wire/bodies.py", "return canonical(body, fields)", "return body"),)
