"""What makes ``cd barker; python bark.py`` work: a stand-in for the package of the same name.

A file run by its path gets its own folder as the first place to import from, and in that folder
``import barker`` finds this file instead of the package around it. So this file swaps the folder
for the project's root and puts the real package in its own place. Nobody else imports it, no other
file needs a stanza, and no module is loaded under two names.
"""

import importlib
import pathlib
import sys

_folder = pathlib.Path(__file__).resolve().parent
sys.path[:] = [p for p in sys.path if pathlib.Path(p or ".").resolve() != _folder]
sys.path.insert(0, str(_folder.parent))
del sys.modules[__name__]
sys.modules[__name__] = importlib.import_module(__name__)
