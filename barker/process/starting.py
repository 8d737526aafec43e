"""Starting: Ctrl-C while a command still loads its modules ends it at once, without a traceback.

Until a command has a handler of its own, Ctrl-C is left to the system. The shell then shows status
130, as for any program. `barker/__init__.py`, which every command loads first, calls this.

Left out: tests, and other programs that import us. Their Ctrl-C is not ours to change.
"""

import os
import signal
import sys

_PACKAGES = ("barker", "monitoring")
_ROOT = os.path.realpath(__file__).rsplit(os.sep, 3)[0]


def leave_ctrl_c_to_the_system() -> None:
    """Do so if this process is one of our commands, and Ctrl-C is not ignored."""
    if _is_our_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def take_ctrl_c_back() -> None:
    """For a command that has loaded, and whose work ends by KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_our_command() -> bool:
    """Was Python started with a command of ours, by its module or by its file?"""
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file:
        folder, name = os.path.split(os.path.realpath(file))
        is_launcher = folder == _ROOT and name.startswith("launch")
        return is_launcher or folder in [f"{_ROOT}{os.sep}{package}" for package in _PACKAGES]
    words = sys.orig_argv  # of ``-m``, Python has not found the file yet
    if sys.argv[:1] != ["-m"] or "-m" not in words[:-1]:
        return False
    return words[words.index("-m") + 1].partition(".")[0] in _PACKAGES
