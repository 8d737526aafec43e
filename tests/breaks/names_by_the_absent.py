"""A followers service that was away gives names away as soon as it is alone.

It cannot know which names the others gave away meanwhile: two are told yes for one of them.
"""

from tests.breaks import Change

SETTING = "names"
KINDS = ("twice",)
CHANGES = (
    Change(
        "barker/graph/deciding.py",
        "            if name not in members and (",
        "            if name not in members and False and (",
    ),
)
