"""Monitoring: the samples of all agents, kept for ten minutes, shown in a page or a terminal.

Imports point down only: ``monitor`` (a service, and a command), then ``picture`` and ``table``,
then ``rates`` and ``traces``; all of them stand on ``barker``, which knows nothing of them.
``__main__`` lists the commands.

The import below is for Pythons that are too old for our modules; see ``barker/__init__.py``.
"""

from __future__ import absolute_import  # noqa: UP010 - else Python 2.7 takes the file beside us

import barker  # noqa: F401 - it reports a Python that is too old
