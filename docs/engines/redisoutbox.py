"""An outbox whose journal is a Redis stream: an existing engine in the place of our files.

    redis-server --appendonly yes --appendfsync always
    python docs/engines/redisoutbox.py --port 5800 --redis 127.0.0.1:6379

Everything but the journal is ours: greeting, links, admission, pushing. One stream has the records
of one outbox, and each entry of it a batch: all of its lines, or none. Segments are parts of the
stream, since we choose the ids:

    XADD  barker:outbox-5800  3-17  r LINE r LINE ...     the 17th batch of segment 3
    XRANGE ... 3 3      all batches of segment 3          XTRIM ... MINID 4    forget segments to 3

Redis refuses an id that is not above the last one. So an outbox that has been replaced (another one
of its name has begun a newer segment) can write nothing more: that is a fencing token. With
``--replicas N`` a batch is acked when N replicas have it, too.

Left out: TLS and passwords of Redis; a loop that goes on while Redis answers, which takes a tenth
of a millisecond, or `PATIENCE_S` if it does not; sync by us, since Redis does it as it is told to.
"""

import argparse
import contextlib
import logging
import pathlib
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from barker import outbox
from barker.disk.files import StateError
from barker.disk.segments import End, Header, header_line
from barker.links.hosts import spell
from barker.outbox import Outbox
from barker.process.arguments import at_least_0, place
from barker.process.service import run_service

log = logging.getLogger("barker.redis")

# Redis has to answer within this, or batches are refused as full. It is below a heartbeat.
PATIENCE_S = 0.8
# How long Redis may wait for its replicas, for each batch.
REPLICAS_MS = 500
# As in `barker.disk.journal`.
SEGMENT_BYTES = 8 * 1024 * 1024
# Memory that Redis may use for one outbox; cleaning keeps the stream below a part of it.
ROOM_BYTES = 1024 * 1024 * 1024
# Entries in one answer, when a stream is read.
PAGE = 200


class Redis:
    """A connection that is opened when it is needed. Every fault is an OSError."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._socket: socket.socket | None = None

    def call(self, *commands: Sequence[object]) -> list[Any]:
        """Send all commands in one write; their replies. After a fault, some may be done."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self.address, PATIENCE_S)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._file = self._socket.makefile("rb")
            self._socket.sendall(b"".join(map(spelled, commands)))
            replies = [self._reply() for _ in commands]
        except (OSError, ValueError) as fault:
            self.close()
            raise OSError(f"Redis at {spell(*self.address)}: {fault}") from None
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    def _reply(self) -> Any:
        """One value of RESP 2: the first byte is its type."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the connection has ended")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            return RedisError(rest.decode(errors="replace"))
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        size = int(rest)
        if kind == b"*":
            return [self._reply() for _ in range(size)]
        if kind != b"$":
            raise ValueError(f"no reply: {line[:40]!r}")
        return None if size < 0 else self._file.read(size + 2)[:-2]

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


class RedisError(OSError):
    """Redis has refused a command."""

    def __str__(self) -> str:
        return f"Redis: {self.args[0]}"


def spelled(words: Sequence[object]) -> bytes:
    """A command, as RESP has it: the number of words, and each behind its length."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


class RedisJournal:
    """What an outbox uses of `barker.disk.journal.Journal`, in a stream."""

    fsync = False  # Redis does it
    is_synced = True
    room = ROOM_BYTES

    def __init__(self, redis: Redis, key: str, replicas: int) -> None:
        """Raises StateError if there is no Redis, or no stream at that key."""
        self.epoch = secrets.token_hex(8)
        self.damages = 0
        self.undone = self._has_header = True
        self.trouble = ""
        self.segments: dict[int, int] = {}  # bytes of each
        self._redis = redis
        self._key = key
        self._replicas = replicas
        self._batch = 0  # the last one of the current segment
        self._replaced: OSError | None = None  # a newer segment is another process's
        self._doubtful: list[str] = []  # ids of failed writes, which Redis may have
        self._header: Callable[[], dict[str, Any]] | None = None
        try:
            ((last,),) = [redis.call(("XREVRANGE", key, "+", "-", "COUNT", 1))]
        except OSError as fault:
            raise StateError(str(fault)) from None
        self.current = int(last[0][0].split(b"-")[0]) if last else 0

    @property
    def size(self) -> int:
        return sum(self.segments.values())

    # --- reading ---

    def recover(self) -> Iterator[tuple[int, bytes | None]]:
        """(segment, line) for all records, in order; None between two pages."""
        for number, lines in self._batches("-", "+"):
            self.segments[number] = self.segments.get(number, 0) + sum(map(len, lines))
            for line in lines:
                yield number, line
            yield number, None

    def read(self, number: int) -> Iterator[bytes | None]:
        """The records of one segment. Raises OSError."""
        for _, lines in self._batches(str(number), str(number)):
            yield from lines

    def _batches(self, first: str, last: str) -> Iterator[tuple[int, list[bytes]]]:
        while True:
            (page,) = self._redis.call(("XRANGE", self._key, first, last, "COUNT", PAGE))
            for id_, fields in page:
                yield int(id_.split(b"-")[0]), fields[1::2]
            if len(page) < PAGE:
                return
            first = "(" + page[-1][0].decode()

    def report_damage(self) -> None:
        self.damages += 1

    # --- writing ---

    def begin(self, header: Callable[[], dict[str, Any]]) -> None:
        """Start a new segment: from now on, an older process of our name writes nothing more."""
        self._header = header
        self._rotate()

    def rotate_if_full(self) -> int:
        if not self._has_header or self.segments.get(self.current, 0) >= SEGMENT_BYTES:
            self._rotate()
        return self.current

    def _rotate(self) -> None:
        assert self._header
        if self._has_header:  # else the last attempt has failed, and this one is in its place
            self.current, self._batch, self._has_header = self.current + 1, 0, False
        try:
            head = Header(self.current, End(0), 0)
            self._write([header_line(head, self.epoch, self._header())])
        except OSError as fault:
            # Its id is not undone later: by then it may be that of a process which has replaced us.
            self._doubtful = [i for i in self._doubtful if i != f"{self.current}-{self._batch}"]
            self._say(fault)
            raise
        self._has_header = True

    def append(self, lines: Sequence[bytes]) -> int:
        """Keep the lines, all or none. Raises OSError; its reason is logged once."""
        number = self.rotate_if_full()
        try:
            self._write(lines)
        except OSError as fault:
            self._say(fault)
            raise
        self._works()
        return number

    copy = append

    def _write(self, lines: Sequence[bytes]) -> None:
        self._undo()
        self._batch += 1
        id_ = f"{self.current}-{self._batch}"
        fields = [word for line in lines for word in (b"r", line)]
        commands: list[Sequence[object]] = [("XADD", self._key, id_, *fields)]
        if self._replicas:
            commands.append(("WAIT", self._replicas, REPLICAS_MS))
        try:
            replies = self._redis.call(*commands)
            if self._replicas and replies[1] < self._replicas:
                raise OSError(f"{replies[1]} of {self._replicas} replicas have it")
        except OSError as fault:
            if isinstance(fault, RedisError) and "equal or smaller" in str(fault):
                self._replaced = fault
            self._doubtful.append(id_)
            self.undone = False
            raise
        self.segments[self.current] = self.segments.get(self.current, 0) + sum(map(len, lines))

    def _undo(self) -> None:
        """A batch that was refused must not come back at the next start. Raises OSError."""
        if self._replaced:
            raise self._replaced
        if self._doubtful:
            self._redis.call(("XDEL", self._key, *self._doubtful))
            self._doubtful.clear()

    def has_room(self) -> bool:
        """Can a batch be written now?"""
        try:
            self._undo()
            self._redis.call(("PING",))
        except OSError:
            return False
        self._works()
        return True

    def _say(self, fault: OSError) -> None:
        if str(fault) != self.trouble:
            self.trouble = str(fault)
            log.error("nothing is acked: %s", fault)

    def _works(self) -> None:
        if self.trouble:
            self.trouble = ""
            log.info("Redis keeps batches again")

    def drop(self, number: int) -> None:
        """Forget a segment, the oldest one first. Raises OSError."""
        self._redis.call(("XTRIM", self._key, "MINID", number + 1))
        del self.segments[number]

    def sync(self, number: int = 0) -> "Future[None]":
        done: Future[None] = Future()
        done.set_result(None)
        return done

    sync_from = sync

    def close(self) -> None:
        self._redis.close()


class RedisOutbox(Outbox):
    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("--redis", type=place, default=("127.0.0.1", 6379), metavar="HOST:PORT")
        parser.add_argument("--replicas", type=at_least_0, default=0, metavar="N")

    async def prepare(self) -> None:
        redis, replicas = Redis(self.args.redis), self.args.replicas

        def journal(folder: pathlib.Path, **_: object) -> RedisJournal:
            return RedisJournal(redis, f"barker:{folder.name}", replicas)

        outbox.Journal = journal  # type: ignore[assignment, misc]  # the name that it uses
        await super().prepare()


if __name__ == "__main__":
    about = "Run an outbox whose journal is a Redis stream."
    sys.exit(run_service(RedisOutbox, "outbox", about, (), None))
