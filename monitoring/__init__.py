"""Monitoring: what every agent says, kept for ten minutes, shown in a page or a terminal.

Imports point down only: ``monitor`` (a service, and a command), then ``picture`` and ``table``,
then ``rates``; all of them stand on ``barker``, which knows nothing of them.
"""

import barker  # noqa: F401 - it says so if this Python is too old for the modules beside this file
