"""Terminal: the output of our programs, which never fail because of its reader.

Colours come by three conventions (no-color.org, force-color.org, and Unix's `TERM`): a variable
that is empty counts as one that is not set.

Left out: log lines, which go through a thread of their own (`barker.process.logs`).
"""

import contextlib
import errno
import io
import json
import logging
import os
import pathlib
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

# Python has no `sys.stdout` if the descriptor was closed at its start (`>&-`).
CLOSED = "standard output is closed"


def tolerate_any_text() -> None:
    """Have standard output escape characters that its encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Text of others for a terminal: no character in it moves the cursor or reverses text."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_json(text: str) -> str:
    """JSON in which such characters are escapes, as JSON spells them."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def python() -> str:
    """The word that starts this Python, for commands that a reader is to type.

    It is as it was typed for this process: `python`, `python3`. The path in front of it is left
    out if the shell finds the same Python without it.
    """
    typed = sys.orig_argv[0] or sys.executable
    name = pathlib.Path(typed).name
    found = shutil.which(name)
    is_same = found is not None and os.path.realpath(found) == os.path.realpath(sys.executable)
    return shlex.quote(name if name == typed or is_same else typed)


def wants_colour(stream: TextIO | None) -> bool:
    """Should output to this stream have colour?"""
    if stream is None or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def show(*lines: str, label: str = "", end: str = "\n") -> None:
    """Lines on standard output, each in its `printable` form. Raises OSError, ValueError.

    All that our commands print passes here. A `label` in front of a line is our own, and may have
    colours.
    """
    print("\n".join(label + printable(line) for line in lines), end=end, flush=True)


def say(program: str, *lines: str, label: str = "") -> bool:
    """The same. Returns False if it can't be written, after a line on stderr with the reason.

    There is no such line if only the reader has gone (`| head`): that is how a reader stops us.
    """
    why = CLOSED if sys.stdout is None else _try_to_show(lines, label)
    if why:
        complain(program, why)
    return why is None


def _try_to_show(lines: Sequence[str], label: str) -> str | None:
    try:
        show(*lines, label=label)
    except (OSError, ValueError) as fault:
        # The rest in the buffer would be tried, and reported, once more at the end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return unwritten(fault)
    return None


def unwritten(fault: Exception) -> str:
    """What to print about a fault of standard output; "" if only its reader has gone."""
    if getattr(fault, "errno", None) in (errno.EPIPE, errno.ESHUTDOWN):
        return ""
    return f"standard output can't be written: {getattr(fault, 'strerror', None) or fault}"


def end_line() -> None:
    """A terminal has shown ``^C``: begin a new line, for the next output or the prompt."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None and sys.stderr.isatty():
            print(file=sys.stderr, flush=True)


def is_nohup(number: int) -> bool:
    """Is this the signal of a closed terminal, under nohup?"""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN


def complain(program: str, text: object) -> None:
    """One line on stderr, as every command of ours reports a fault."""
    if sys.stderr is None:  # closed; `print` would take standard output instead
        return
    with contextlib.suppress(OSError, ValueError):  # stderr has no reader either
        for handler in logging.getLogger().handlers:  # log lines from before come first
            handler.flush()
        print(f"{program}: {printable(str(text))}", file=sys.stderr, flush=True)
