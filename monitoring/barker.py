"""Makes ``cd monitoring; python monitor.py`` work: ``barker/barker.py``, for this folder too.

Its code goes by the path of the module that it runs as, which is this one.
"""

import os

_root = os.path.realpath(__file__).rsplit(os.sep, 2)[0]
_stand_in = f"{_root}/barker/barker.py"
with open(_stand_in, "rb") as _file:
    exec(compile(_file.read(), _stand_in, "exec"))
