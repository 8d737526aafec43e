"""Files that processes on one machine share, in ``var/``; its keys are in `barker.disk.keys`.

The first process makes a file, and ten that start at once agree on one: each writes its own under
another name, and the first to link it to the final name has made it. On a disk without hard links
(FAT, some network shares) they give the name one after the other, under a lock.
"""

import contextlib
import errno
import json
import os
import pathlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from barker.disk import users
from barker.disk.users import World

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFAULT_STATE = ROOT / "var"
_FOLDER_MODE = 0o700


class StateError(Exception):
    """A file of the state folder can't be made, read or understood; the text names it and why."""


class UsageError(StateError):
    """The command line can't be followed: exit status 2."""


def unwritable(path: pathlib.Path, fault: OSError, flag: str = "--state DIR") -> StateError:
    """The error to raise if `path` can't be made; `flag` is the one that moves it."""
    return StateError(f"{path}: {fault.strerror or fault}; {flag} takes another")


def make_folder(path: pathlib.Path) -> None:
    """Make a folder, and those above it, for our user alone, whatever the umask. Raises OSError."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(_FOLDER_MODE)
        path.chmod(_FOLDER_MODE)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def make_once(
    path: pathlib.Path, make: Callable[[], bytes], mode: int, flag: str = "--state DIR"
) -> bytes:
    """The content of `path`, which `make` provides if there is no such file yet.

    Raises StateError. Safe against any number of processes doing the same at once: none of them
    sees a file that is only half there.
    """
    try:
        if not path.exists():
            _make(path, make, mode)
    except OSError as fault:
        raise unwritable(path, fault, flag) from None
    try:
        return path.read_bytes()
    except OSError as fault:
        raise StateError(f"{path}: {fault.strerror or fault}") from None


def _make(path: pathlib.Path, make: Callable[[], bytes], mode: int) -> None:
    make_folder(path.parent)
    mine = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(make())
        _give_name(mine, path)
    finally:
        mine.unlink(missing_ok=True)


def _give_name(mine: pathlib.Path, path: pathlib.Path) -> None:
    """Name `mine` `path`, unless there is a file of that name: then that stays. Raises OSError."""
    try:
        os.link(mine, path)
    except FileExistsError:
        pass  # another process was faster; its file is the one
    except (OSError, AttributeError):  # no hard links on this disk, or none at all
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            take_lock(descriptor, wait=True)
            if not path.exists():
                mine.rename(path)
        finally:
            os.close(descriptor)


def take_lock(descriptor: int, *, wait: bool = False, shared: bool = False) -> None:
    """Lock an open file until it is closed, or its process ends, however that ends.

    Raises OSError if another process has locked it; with `wait`, if none of ours would for so long.
    Any number have a `shared` lock at once; Windows has no such lock, and gives it to one.
    """
    if fcntl:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | (0 if wait else fcntl.LOCK_NB))
    else:
        import msvcrt

        mode = "LK_LOCK" if wait else "LK_NBLCK"  # LK_LOCK tries for ten seconds
        msvcrt.locking(descriptor, getattr(msvcrt, mode), 1)  # type: ignore[attr-defined]


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
    key: str,
    users: Sequence[str] = (),
    tls: bool = False,
    **more: Any,
) -> None:
    """The settings of a page opened from disk, as a script that it loads; for its owner alone.

    A page can't read files, so the clients' key comes to it this way. `more` is for this page
    alone. Raises StateError.
    """
    settings = {"host": host, "port": port, "tls": tls, "key": key, "users": list(users), **more}
    text = f"window.BARKER = {json.dumps(settings)};\n"
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # one that others can read may be left there
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as fault:
        raise StateError(f"{path}: {fault.strerror or fault}") from None
