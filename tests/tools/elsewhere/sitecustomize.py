"""Takes the Unix part of Python away before anything of ours is loaded."""

import asyncio
import os
import signal
import sys
import types
from typing import Any

# Loops that take no signals, as those of Windows: asyncio.AbstractEventLoop raises so, too.
for name in ("add_signal_handler", "remove_signal_handler"):
    setattr(asyncio.SelectorEventLoop, name, getattr(asyncio.AbstractEventLoop, name))

# Modules that can't be imported. The standard library has done so already, where it needs them.
for name in ("fcntl", "pty", "resource", "termios", "tty"):
    sys.modules[name] = None  # type: ignore[assignment]

for module, names in {
    os: "fork getpgid getuid geteuid killpg link setpgid setsid",
    signal: "SIGHUP SIGSTOP SIGCONT SIGUSR1 SIGUSR2 pthread_sigmask sigwait",
}.items():
    for name in names.split():
        delattr(module, name)

# Windows locks a range of a file for as long as it is open.
msvcrt: Any = types.ModuleType("msvcrt")
msvcrt.LK_LOCK, msvcrt.LK_NBLCK = 1, 2
msvcrt.locking = lambda file, mode, size: os.lockf(
    file, os.F_LOCK if mode == msvcrt.LK_LOCK else os.F_TLOCK, size
)
sys.modules["msvcrt"] = msvcrt


class _Os(types.ModuleType):
    @property
    def name(self) -> str:
        """What ours are told; the standard library would load modules that are not there.

        A port that was just given back is free on Windows; here only for who asks a Unix's way.
        """
        caller = sys._getframe(1).f_globals.get("__name__", "")
        ours = caller.partition(".")[0] in ("barker", "monitoring")
        return "nt" if ours and caller != "barker.links.hosts" else "posix"


os.__class__ = _Os
del os.__dict__["name"]
