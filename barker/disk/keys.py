"""Keys: the secret, which is the services' key, and the clients' key, which is derived from it.

``var/secret`` opens everything, and services alone read it. ``var/secret.clients`` lets a program
bark and read. The program that makes or reads the secret writes the clients' key beside it.

* A secret is made at its place in the state folder only, by the first process that needs one. A
  file that ``--secret-file`` names has to be there: a mistyped name makes no secret.
* A key is in a plain file that its owner alone may read. Any other is refused, with the reason.

Left out: changing a key while the system runs. Stop the system, delete both files, start it again.
"""

import contextlib
import os
import pathlib
import re
import secrets
import stat
import time

from barker.disk.files import StateError, make_once
from barker.wire import rights

# 256 bits, so that no guess is right however often a `hello` may be tried.
SECRET_BYTES = 32
# Far more than a key has; a longer file is no key.
MOST_BYTES = 1024
# How long a client waits for a process that has made the secret a moment ago.
PATIENCE_S = 2.0

_HEX = rb"[0-9a-f]{%d}" % (2 * SECRET_BYTES)
_SECRET = re.compile(_HEX)
_CLIENTS_KEY = re.compile(re.escape(rights.CLIENTS_PREFIX) + _HEX)
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Unwritten(StateError):
    """The clients' key can't be written beside the secret."""


def secret(state: pathlib.Path, file: pathlib.Path | None = None) -> bytes:
    """The services' key, as bytes for an HMAC. Raises StateError.

    `file` is the argument of ``--secret-file``. Without it the key is the state folder's, and is
    made if there is none.
    """
    path = file or state / "secret"
    if file is None and not os.path.lexists(path):
        make_once(path, lambda: secrets.token_hex(SECRET_BYTES).encode() + b"\n", 0o600)
    key = _read(path)
    if _CLIENTS_KEY.fullmatch(key):
        raise StateError(f"{path}: this is a clients' key, and a service needs the secret")
    _check(path, key, _SECRET)
    try:
        _leave_clients_key(path, key)
    except Unwritten:
        if file is None:
            raise  # else clients have their key from somewhere else
    return key


def clients_key(state: pathlib.Path, file: pathlib.Path | None = None) -> bytes:
    """The clients' key; the secret is not read. Raises StateError."""
    path = file or beside(state / "secret")
    if file is None:
        _make_both(state)
    key = _read(path)
    if _SECRET.fullmatch(key):
        raise StateError(f"{path}: this is the services' key; a client uses {beside(path)}")
    _check(path, key, _CLIENTS_KEY)
    return key


def beside(path: pathlib.Path) -> pathlib.Path:
    """The path of the clients' key for that secret."""
    return path.with_name(f"{path.name}.clients")


def _make_both(state: pathlib.Path) -> None:
    """Make both keys if there is none. If there is the secret alone, wait for its maker."""
    path = state / "secret"
    if not path.exists() and not beside(path).exists():
        key = secrets.token_hex(SECRET_BYTES).encode()
        made = make_once(path, lambda: key + b"\n", 0o600)
        if made.strip() == key:
            _leave_clients_key(path, key)
    end = time.monotonic() + PATIENCE_S
    while not beside(path).exists() and time.monotonic() < end:
        time.sleep(0.01)


def _leave_clients_key(path: pathlib.Path, key: bytes) -> None:
    """Write it beside the secret if it is not there; refuse one of another secret."""
    derived, at = rights.clients_key(key), beside(path)
    if not os.path.lexists(at):
        try:
            make_once(at, lambda: derived + b"\n", 0o600)
        except StateError as fault:
            raise Unwritten(str(fault)) from None
    if _read(at) != derived:
        raise StateError(f"{at}: it is not made of {path}; delete it, and it is made anew")


def _read(path: pathlib.Path) -> bytes:
    """The content of a key's file. Raises StateError unless it is as it should be."""
    try:
        if path.is_symlink():
            raise StateError(f"{path}: a key is no link; name the file itself")
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        raise StateError(f"{path}: there is no such file; {_HOW_TO}") from None
    except OSError as fault:
        raise StateError(f"{path}: {fault.strerror or fault}") from None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise StateError(f"{path}: a key is a plain file")
        if os.name == "posix" and state.st_mode & _OTHERS:
            raise StateError(f"{path}: it is open to others; chmod 600 mends that")
        return os.read(descriptor, MOST_BYTES).strip()
    except OSError as fault:
        raise StateError(f"{path}: {fault.strerror or fault}") from None
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


_HOW_TO = (
    "services make the keys of the state folder, and a secret of your own is made by: "
    'python -c "import secrets; print(secrets.token_hex(32))"'
)


def _check(path: pathlib.Path, key: bytes, form: re.Pattern[bytes]) -> None:
    if not key:
        raise StateError(f"{path}: it is empty, and no key")
    if not key.removeprefix(rights.CLIENTS_PREFIX).strip(b"0\0"):
        raise StateError(f"{path}: it is all zeros, and no key")
    if not form.fullmatch(key):
        kind = f"{SECRET_BYTES} bytes in hexadecimal"
        raise StateError(f"{path}: it is no key, which is {kind}; {_HOW_TO}")
