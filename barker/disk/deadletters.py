"""Dead letters: entries that were acked, and then refused for good by the service behind.

Acknowledged means kept, also if no service can take it: such a body goes into a file, one JSON
object a line, for a person to look at. Then its place in the queue is free, and the entries behind
it go on. The monitor names the last one.

    {"at": 1700000000000, "code": "failed", "reason": "…", "addresses": ["bizlogic"], "body": {…}}

Left out: sending dead letters again. Once the cause is mended, `python -m barker.bark` sends the
same text under a new id; the outbox knows the old id, and would only ack it again.
"""

import logging
import os
import pathlib
import stat
from collections.abc import Sequence
from typing import Any, NamedTuple

from barker.disk.files import make_folder
from barker.disk.segments import sync_all
from barker.wire import protocol, strictjson

log = logging.getLogger("barker.disk.deadletters")

# Some 30,000 letters. Beyond it nothing is parked, and refused entries stay in their queue: then a
# person has to look at the file, and move it away.
MAX_BYTES = 16 * 1024 * 1024
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# The longest text in a sample about the latest one.
MAX_WORDS = 300


class Letter(NamedTuple):
    """A body, the addresses it was put to, and why the service behind will never take it."""

    body: bytes
    addresses: Sequence[str]
    code: str
    reason: str


class DeadLetters:
    """The letters of one service. `count` are in the file, and `latest` names the last one."""

    def __init__(self, path: pathlib.Path | None) -> None:
        """Read the letters of earlier processes. Without a path, letters are only logged."""
        self.path = path
        self.count = 0
        self.latest: str | None = None
        self._known: set[tuple[Any, ...]] = set()
        try:
            lines = _read(path).split(b"\n") if path else []
        except FileNotFoundError:
            return
        except OSError as fault:
            log.error("%s can't be read: %s", path, fault.strerror)
            return
        for line in filter(None, lines):
            try:
                letter = strictjson.loads(line)
                self._count(letter["body"], letter["addresses"], letter["code"], letter["reason"])
            except (protocol.BadMessage, LookupError, TypeError, AttributeError):
                log.warning("%s: a line makes no sense", path)

    def _count(
        self, fields: dict[str, Any], addresses: Sequence[str], code: str, reason: str
    ) -> None:
        self.count += 1
        self._known.add(_key(fields, addresses))
        what = fields.get("kind", "bark")
        words = f"{fields.get('user')}'s {what} {fields.get('id')}: {reason} ({code})"
        self.latest = words[:MAX_WORDS]

    def park(self, letter: Letter, at_ms: int) -> None:
        """Keep one more; a repetition is kept once. Raises OSError: it is not kept."""
        body, addresses, code, reason = letter
        fields = strictjson.loads(body)
        if _key(fields, addresses) in self._known:
            return  # we stopped before we recorded that it is settled
        head = strictjson.dumps(
            {"at": at_ms, "code": code, "reason": reason, "addresses": list(addresses)}
        )
        line = b'%b,"body":%b}\n' % (head[:-1], body)
        if self.path:
            self._write(self.path, line)
        self._count(fields, addresses, code, reason)
        log.error(
            "dead letter, refused for good by %s: %s",
            ", ".join(addresses[:3]),
            self.latest if self.path else line.decode(errors="replace").strip(),
        )

    @staticmethod
    def _write(path: pathlib.Path, line: bytes) -> None:
        make_folder(path.parent)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_LINK, 0o600)
        try:
            size = os.fstat(file).st_size
            if size + len(line) > MAX_BYTES:
                raise OSError(27, f"{path} is full: look at it, and move it away")
            if size:
                os.lseek(file, -1, os.SEEK_END)
                if os.read(file, 1) != b"\n":
                    line = b"\n" + line  # kill -9 has cut the letter before this one
            try:
                if os.write(file, line) != len(line):
                    raise OSError(28, "no room for a dead letter")
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)

    def sync(self) -> None:
        """Have them on the disk itself. Raises OSError."""
        if self.path:
            sync_all([self.path])


def _read(path: pathlib.Path) -> bytes:
    file = os.open(path, os.O_RDONLY | _NO_LINK)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(22, "this is no plain file")
        with open(file, "rb", closefd=False) as letters:
            return letters.read()
    finally:
        os.close(file)


def _key(fields: dict[str, Any], addresses: Sequence[str]) -> tuple[Any, ...]:
    return fields.get("user"), fields.get("id"), *addresses
