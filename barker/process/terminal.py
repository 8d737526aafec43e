"""Terminal: what a program of ours prints, and that it never fails because of who reads it.

Left out: log lines, which go through a thread of their own (`barker.process.logs`).
"""

import contextlib
import io
import logging
import os
import signal
import sys


def tolerate_any_text() -> None:
    """Let standard output show what its encoding has no sign for as an escape, not as a crash."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Text of others as it may go to a terminal: it has no business moving the cursor there."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def say(text: str) -> bool:
    """One line on standard output; False if nobody takes it any more (`| head`, a full disk)."""
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        # What is left in the buffer would be tried, and complained about, once more at the end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def is_nohup(number: int) -> bool:
    """Is this the signal of a closed terminal, and were we started so that it does not count?"""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN


def complain(program: str, text: object) -> None:
    """One line on stderr, as every command of ours reports what went wrong."""
    with contextlib.suppress(OSError, ValueError):  # then there is nobody left to tell
        for handler in logging.getLogger().handlers:  # what was logged before comes first
            handler.flush()
        print(f"{program}: {printable(str(text))}", file=sys.stderr, flush=True)
