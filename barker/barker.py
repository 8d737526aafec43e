"""Makes ``cd barker; python bark.py`` work: a stand-in for the package of the same name.

A file run by its path gets its own folder as the first place to import from, and in that folder
``import barker`` finds this file instead of the package around it. So this file swaps the folder
for the project's root and puts the real package in its own place. No module is loaded under two
names, and programs import `barker` before all else.
"""

import importlib
import os
import sys

_folder = os.path.realpath(__file__).rpartition(os.sep)[0]
sys.path[:] = [p for p in sys.path if os.path.realpath(p or ".") != _folder]
sys.path.insert(0, _folder.rpartition(os.sep)[0])
del sys.modules[__name__]
sys.modules[__name__] = importlib.import_module(__name__)
