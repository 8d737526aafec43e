"""Claims: one process at a time holds a folder, for as long as it lives.

A claim is a lock that the system drops with the process, also after kill -9. So it never goes
stale, and it shows whether its owner lives. A launcher claims its state folder, and leaves its
directory's address there: commands without ``--directory`` find it.
"""

import contextlib
import os
import pathlib
import time

from barker.disk.files import make_folder, take_lock, unwritable
from barker.disk.locks import Taken, locked

# A command that checks whether a launcher lives has its lock for a moment. So a launcher tries more
# than once.
TRIES = 5
BETWEEN_TRIES_S = 0.02


class Claim:
    """A launcher's hold on its state folder, and the address that it leaves there."""

    def __init__(self, state: pathlib.Path, name: str, place: str) -> None:
        """Raises Taken if a living process has it, and StateError if the folder can't be written.

        `name` is the launcher's. `place_of` returns `place` to other processes.
        """
        self._path = _file(state, name)
        try:
            make_folder(self._path.parent)
            self._lock = _locked_soon(_lock(self._path))
            self._path.write_text(f"{place}\n", encoding="utf-8")
        except OSError as fault:
            raise unwritable(self._path, fault) from None

    def close(self) -> None:
        """Release it."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._lock)


def place_of(state: pathlib.Path, name: str) -> str:
    """The address that the living owner of that claim has left; "" if there is none."""
    path = _file(state, name)
    try:
        place = path.read_text(encoding="utf-8").strip()
        descriptor = os.open(_lock(path), os.O_RDWR)
    except (OSError, ValueError):
        return ""
    try:
        take_lock(descriptor, shared=True)
    except OSError:
        return place  # its owner lives
    finally:
        os.close(descriptor)
    return ""


def _locked_soon(path: pathlib.Path) -> int:
    for _ in range(TRIES - 1):
        with contextlib.suppress(Taken):
            return locked(path)
        time.sleep(BETWEEN_TRIES_S)
    return locked(path)


def _file(state: pathlib.Path, name: str) -> pathlib.Path:
    return state / "ran" / name


def _lock(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.name}.lock")
