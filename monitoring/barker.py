"""What makes ``cd monitoring; python monitor.py`` work: ``barker/barker.py``, for this folder too.

Its code goes by the path of the module that it runs as, which is this one.
"""

import pathlib

_stand_in = pathlib.Path(__file__).resolve().parent.parent / "barker" / "barker.py"
exec(compile(_stand_in.read_text(encoding="utf-8"), _stand_in, "exec"))
