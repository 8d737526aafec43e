"""What processes on one machine share: the folder ``var/`` with the secret and the users.

Whoever starts first makes a file, and ten that start at once agree on one: each writes its own
under another name, and the one whose link to the final name comes first has made it.
"""

import contextlib
import io
import json
import logging
import os
import pathlib
import secrets
import signal
import sys
from collections.abc import Callable, Sequence

from barker import users
from barker.users import World

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEFAULT_STATE = ROOT / "var"

# 256 bits, so that nobody guesses it however often a `hello` may be tried.
SECRET_BYTES = 32


class StateError(Exception):
    """A file of the state folder can't be made, read or understood; the text says which and why."""


class UsageError(StateError):
    """It is the command line that can't be followed: exit status 2."""


def make_once(path: pathlib.Path, make: Callable[[], bytes], mode: int) -> bytes:
    """The content of `path`, which `make` provides if nobody has made the file yet.

    Raises StateError. Safe against any number of processes doing the same at once: none of them
    sees a file that is only half there.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            mine = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            try:
                with open(descriptor, "wb") as file:
                    file.write(make())
                os.link(mine, path)
            except FileExistsError:
                pass  # somebody was faster; theirs is the one
            finally:
                mine.unlink()
        return path.read_bytes()
    except OSError as fault:
        raise StateError(f"{path}: {fault.strerror or fault}") from None


def secret(state: pathlib.Path, file: pathlib.Path | None = None) -> bytes:
    """The secret that all of one system share, as it is keyed with: printable bytes."""
    path = file or state / "secret"
    content = make_once(path, lambda: secrets.token_hex(SECRET_BYTES).encode() + b"\n", 0o600)
    key = content.strip()
    if len(key) < SECRET_BYTES:
        raise StateError(f"{path}: a secret of under {SECRET_BYTES} bytes is too easy to guess")
    return key


def world(state: pathlib.Path) -> World:
    """The users, generated the first time and read from ``users.json`` ever after."""
    path = state / "users.json"
    content = make_once(path, lambda: users.dump(users.generate()).encode(), 0o644)
    try:
        return users.parse(content.decode())
    except ValueError as fault:
        raise StateError(f"{path}: {fault}") from None


def write_page_settings(
    path: pathlib.Path,
    *,
    host: str,
    port: int,
    secret: str,
    users: Sequence[str] = (),
    tls: bool = False,
) -> None:
    """What a page opened from disk has to know, as a script that it loads; for our eyes only.

    A page can't read files, so the secret comes to it this way. Raises StateError.
    """
    settings = {"host": host, "port": port, "tls": tls, "secret": secret, "users": list(users)}
    text = f"window.BARKER = {json.dumps(settings)};\n"
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # somebody may have left one that others can read
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as fault:
        raise StateError(f"{path}: {fault.strerror or fault}") from None


def leave_mark(state: pathlib.Path, name: str) -> bool:
    """Note that a service of this name runs here; was there such a mark already?

    It is a hint, and where none can be left there is none.
    """
    path = _mark(state, name)
    if path.exists():
        return True
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return False


def remove_mark(state: pathlib.Path, name: str) -> None:
    """Nobody is left who could remember that service."""
    with contextlib.suppress(OSError):
        _mark(state, name).unlink(missing_ok=True)


def _mark(state: pathlib.Path, name: str) -> pathlib.Path:
    return state / "ran" / name


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
