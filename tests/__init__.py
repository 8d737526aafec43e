"""The proof. ``python -m unittest`` from the project's root runs all of it.

The tests start hundreds of processes. Where Python is told to keep no compiled modules, each of
them would compile all of ours anew, which takes longer than the rest of its start; so they keep
them, in a folder of their own that goes with the run.
"""

import atexit
import os
import shutil
import tempfile

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    _compiled = tempfile.mkdtemp(prefix="barker-compiled-")
    os.environ["PYTHONPYCACHEPREFIX"] = _compiled
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
