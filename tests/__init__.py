"""The proof. ``python -m unittest`` from the project's root runs all of it.

============== ===================================================================
``unit``       one process: pure modules, and services in the test's own loop
``system``     whole processes: services, commands, pages in a browser
``book``       ``docs/*.rst`` and ``README.rst``: what they quote and show is so
``simulation`` the promises with made-up links, disks and clocks, by seed
``chaos``      the promises with real processes that are killed, frozen, restored
``breaks``     the code broken on purpose; the simulation has to find each break
``bench``      how fast it is, and what it costs
``tools``      what tests are made with: processes, peers, fakes, browsers
============== ===================================================================

A folder's first page says more. One module is ``python -m unittest tests.unit.test_ring``, one
folder ``python -m unittest discover -t . -s tests/unit``. Commands: ``python -m tests.chaos``,
``tests.simulation``, ``tests.breaks``, ``tests.bench``, ``tests.bench.celebrity`` and
``tests.bench.million``, ``tests.soak`` (does anything grow?), ``tests.echo`` (a WebSocket echo
server) and ``tests.tools.picture`` (a page as PNG). BARKER_SLOW=1 adds the tests that take longer.

Each folder needs its ``__init__.py``: without one, ``python -m unittest`` finds none of its tests
and says OK. ``unit.test_layout`` compares what is found with what is written.

All cores have work: ``tools.sidebyside`` is the suite that runs the tests of several classes at
once. One module, or one folder, runs one test after another.

The tests start hundreds of processes. Where Python is told to keep no compiled modules, each of
them would compile all of ours anew, which takes longer than the rest of its start; so they keep
them, in a folder of their own that goes with the run.
"""

import atexit
import os
import shutil
import signal
import sys
import tempfile

try:
    import barker  # noqa: F401 - it says so if this Python is too old
except SystemExit as too_old:
    # unittest takes this exception for a test that failed, and would go on to the next folder.
    sys.stderr.write("{}\n".format(too_old))  # noqa: UP032 - read by Python 2.7, too
    sys.stderr.flush()
    os._exit(1)

# So what commands print for a reader to type begins with a word, not with the path of this Python.
os.environ["PATH"] = os.pathsep.join(
    (sys.executable.rpartition(os.sep)[0], os.environ.get("PATH", ""))
)

# A shell has what runs in its background ignore Ctrl-C, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    _compiled = tempfile.mkdtemp(prefix="barker-compiled-")
    os.environ["PYTHONPYCACHEPREFIX"] = _compiled
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)

from tests.tools.sidebyside import load_tests  # noqa: F401 - `unittest` looks for it here
