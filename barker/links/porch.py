"""The porch: where strangers wait, all together, until each has proved itself.

No stranger has a task, a stream or a buffer of its own here. Together they get a share of the loop
that does not grow with their number:

* In one turn, at most `READS` strangers are read from, at most `READ_BYTES` each, and at most
  `ACCEPTS` connections are accepted; and a turn is over after `TURN_S`. The others come first in
  the next turn (`barker.links.benches`).
* After its turns the porch pauses, so that it takes `SHARE` of the time, however many connect. In
  the pauses the loop belongs to members.
* Their number is bounded. For one more, the oldest is dropped: first of those that were refused
  and only have to read our last words, then of those that have not proved themselves.
* A TLS handshake in progress holds three times the memory of a finished one. So at most a share of
  `HANDSHAKES` of the strangers are in one; for one more, the oldest of these is dropped.

A stranger that has proved itself leaves with its socket, and is a link from then on
(`barker.links.accepting`).
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from barker.links import connection, tls
from barker.links.benches import Benches
from barker.links.sealed import Sealed
from barker.links.stranger import Stranger
from barker.wire import protocol
from barker.wire.protocol import BarkerError

log = logging.getLogger("barker.links.porch")

# Bytes of one stranger in one turn. A hello has 100 bytes, a browser's request 500.
READ_BYTES = 1024
# Reads, and new connections, in one turn; and the time after which the rest waits for the next.
READS = 64
ACCEPTS = 64
TURN_S = 0.0005
# The share of the loop's time for all strangers, and how much of it they may take in advance.
SHARE = 0.25
ADVANCE_S = 0.0005
# Bytes of a stranger before its proof: a TLS handshake, a request, a hello and a proof.
STRANGER_BYTES = 32 * 1024
# The share of strangers that may be in a TLS handshake: OpenSSL holds 50 KiB until it is done, and
# 18 KiB afterwards. A handshake takes milliseconds.
HANDSHAKES = 0.125
# Connections the kernel holds for us while we are busy.
BACKLOG = 1024
# Two round trips and one HMAC take a millisecond; a stranger that takes this long is dropped.
HELLO_TIMEOUT_S = 5.0
# The pause after a connection that could not be accepted, for want of a file.
NO_FILE_S = 1.0
# Where no loop waits for other selectors (Windows), the porch looks this often.
LOOK_S = 0.01

_GONE = (BlockingIOError, InterruptedError)
_BUG = "a stranger is dropped for a fault of ours"


class Guest(NamedTuple):
    """A stranger that has proved itself, and the time it had left here."""

    channel: socket.socket
    stranger: Stranger
    sealed: Sealed | None
    unsent: bytes


class _Visitor:
    """One stranger and its socket."""

    __slots__ = ("bytes_left", "channel", "deadline", "sealed", "stranger")

    def __init__(self, channel: socket.socket, stranger: Stranger) -> None:
        self.channel = channel
        self.stranger = stranger
        self.sealed: Sealed | None = None  # from its first bytes on, with TLS
        self.bytes_left = STRANGER_BYTES
        self.deadline = 0.0


class Porch:
    """All strangers of one service."""

    def __init__(
        self,
        *,
        most: int,
        context: ssl.SSLContext | None,
        meet: Callable[[str], Stranger],
        admit: Callable[[Guest], None],
        refused: Callable[[Stranger], None],
    ) -> None:
        """`meet` makes a stranger for a connection that has dialled that address of ours.

        `admit` is called with each that has proved itself, `refused` with each that has not. With a
        `context`, connections without TLS are refused.
        """
        self._most = most
        self._most_handshakes = max(1, int(HANDSHAKES * most))
        self._context = context
        self._meet = meet
        self._admit = admit
        self._refused = refused
        self._benches = Benches[_Visitor]()
        self._doors: list[socket.socket] = []
        # By age, the oldest first: strangers that may prove themselves, those that were refused,
        # and those of the first that are in a TLS handshake.
        self._waiting: dict[_Visitor, None] = {}
        self._leaving: dict[_Visitor, None] = {}
        self._shaking: dict[_Visitor, None] = {}
        self._debt_s = self._paid_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._discarded = memoryview(bytearray(connection.READ_BYTES))

    def __len__(self) -> int:
        return len(self._waiting) + len(self._leaving)

    # --- the doors ---

    def open(self, doors: Iterable[socket.socket]) -> None:
        """Listen at these sockets, which are bound. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._paid_at = self._loop.time()
        for door in doors:
            door.listen(BACKLOG)
            door.setblocking(False)
            self._doors.append(door)
        self._watch_doors()
        self._wait()

    def close(self) -> None:
        """Stop accepting, and drop all strangers."""
        for door in self._doors:
            self._benches.ignore_door(door)
            door.close()
        self._doors.clear()
        for visitor in [*self._waiting, *self._leaving]:
            self._drop(visitor)
        if self._timer:
            self._timer.cancel()
        with contextlib.suppress(NotImplementedError, AttributeError, RuntimeError, ValueError):
            self._loop.remove_reader(self._benches.fileno())
        self._benches.close()

    def _watch_doors(self) -> None:
        for door in self._doors:
            self._benches.watch_door(door)

    # --- turns ---

    def _wait(self) -> None:
        """Have the next turn when a socket is ready."""
        if not self._doors:
            return
        try:
            self._loop.add_reader(self._benches.fileno(), self._turn)
        except (NotImplementedError, AttributeError):
            self._loop.call_later(LOOK_S, self._turn)

    def _turn(self) -> None:
        if not self._doors:
            return
        begun = self._loop.time()
        for door in self._benches.look():
            self._accept(door, begun + TURN_S / 2)
        for _ in range(READS):
            visitor = self._benches.next()
            if visitor is None:
                break
            try:
                self._serve(visitor)
            except Exception:
                log.exception(_BUG)  # a fault that one stranger finds does not end the others
                self._drop(visitor)
            if self._loop.time() > begun + TURN_S:
                break
        self._pay(begun)

    def _pay(self, begun: float) -> None:
        """Pause, if strangers have had more than their share."""
        self._charge(begun)
        try:
            self._loop.remove_reader(self._benches.fileno())
        except (NotImplementedError, AttributeError):
            pass
        if self._debt_s > ADVANCE_S:
            self._loop.call_later(self._debt_s / SHARE, self._wait)
        else:
            self._wait()

    def _charge(self, begun: float) -> None:
        """Charge the time since `begun` to the strangers."""
        now = self._loop.time()
        self._debt_s = max(0.0, self._debt_s - SHARE * (begun - self._paid_at)) + now - begun
        self._paid_at = now

    # --- coming ---

    def _accept(self, door: Any, end: float) -> None:
        for _ in range(ACCEPTS):
            try:
                channel, _ = door.accept()
            except _GONE:
                return
            except OSError as fault:
                if fault.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._lack_files(fault)
                    return
                continue  # that connection has gone already
            self._take_in(channel)
            if self._loop.time() > end:
                return

    def _take_in(self, channel: socket.socket) -> None:
        if len(self) >= self._most:
            self._drop_oldest()
        try:
            channel.setblocking(False)
            stranger = self._meet(str(channel.getsockname()[0]))
        except Exception as fault:
            channel.close()
            if not isinstance(fault, OSError):
                log.exception(_BUG)
            return
        visitor = _Visitor(channel, stranger)
        self._benches.seat(channel, visitor)
        self._wait_until(self._waiting, visitor, HELLO_TIMEOUT_S)

    def _lack_files(self, fault: OSError) -> None:
        """Drop one of the oldest for its file; new connections wait a while."""
        log.warning("no free file for another connection; it waits: %s", fault.strerror)
        self._drop_oldest()
        for door in self._doors:
            self._benches.ignore_door(door)
        self._loop.call_later(NO_FILE_S, self._watch_doors)

    # --- staying ---

    def _serve(self, visitor: _Visitor) -> None:
        if visitor in self._leaving:
            self._discard(visitor)
            return
        try:
            data = visitor.channel.recv(READ_BYTES)
        except _GONE:
            return
        except OSError:
            data = b""
        visitor.bytes_left -= len(data)
        if not data or visitor.bytes_left < 0:
            self._drop(visitor)
            return
        if self._context and visitor.sealed is None:
            if len(self._shaking) >= self._most_handshakes:
                self._drop(next(iter(self._shaking)))
            visitor.sealed = Sealed(self._context)
            self._shaking[visitor] = None
        stranger, sealed = visitor.stranger, visitor.sealed
        if sealed:
            try:
                data = sealed.receive(data)
            except ssl.SSLError as fault:
                tls.log_refusal(fault)
                self._leave(visitor, b"")
                return
            if sealed.is_up:
                self._shaking.pop(visitor, None)
        answer = stranger.receive(data) if data else b""
        if stranger.peer:
            self._let_in(visitor, answer)
        elif stranger.life.over:
            self._refused(stranger)
            self._leave(visitor, answer)
        elif sealed and sealed.ended:
            self._drop(visitor)
        elif (answer or sealed) and self._send(visitor, answer):
            self._drop(visitor)  # it does not read our answers

    def _let_in(self, visitor: _Visitor, answer: bytes) -> None:
        unsent = self._send(visitor, answer)
        self._forget(visitor)
        self._admit(Guest(visitor.channel, visitor.stranger, visitor.sealed, unsent))

    def _send(self, visitor: _Visitor, words: bytes) -> bytes:
        """Send; returns the bytes that have not left."""
        if visitor.sealed:
            if words:
                visitor.sealed.send(words)
            words = visitor.sealed.take_output()
        if not words:
            return b""
        try:
            return words[visitor.channel.send(words) :]
        except OSError:
            return words

    # --- leaving ---

    def _leave(self, visitor: _Visitor, words: bytes) -> None:
        """Send the last words, and let them get through.

        Closing a socket with unread input resets the connection, and a reset overtakes our words.
        So we read for a moment, and discard that.
        """
        if visitor.sealed:
            if words and visitor.sealed.is_up:
                visitor.sealed.send(words)
            visitor.sealed.close()
            words = b""
        if visitor.sealed or not self._context:
            self._send(visitor, words)
        with contextlib.suppress(OSError):
            visitor.channel.shutdown(socket.SHUT_WR)
        self._waiting.pop(visitor, None)
        self._shaking.pop(visitor, None)
        visitor.sealed = None
        visitor.bytes_left = connection.LINGER_BYTES
        self._wait_until(self._leaving, visitor, connection.LINGER_S)

    def _discard(self, visitor: _Visitor) -> None:
        try:
            size = visitor.channel.recv_into(self._discarded)
        except _GONE:
            return
        except OSError:
            size = 0
        visitor.bytes_left -= size
        if not size or visitor.bytes_left < 0:
            self._drop(visitor)

    def _drop_oldest(self) -> None:
        for some in (self._leaving, self._waiting):
            for visitor in some:
                self._drop(visitor)
                return

    def _drop(self, visitor: _Visitor) -> None:
        self._forget(visitor)
        visitor.channel.close()

    def _forget(self, visitor: _Visitor) -> None:
        self._benches.unseat(visitor.channel)
        for some in (self._waiting, self._leaving, self._shaking):
            some.pop(visitor, None)

    # --- deadlines ---

    def _wait_until(self, some: dict[_Visitor, None], visitor: _Visitor, delay_s: float) -> None:
        visitor.deadline = self._loop.time() + delay_s
        some[visitor] = None
        if self._timer is None or visitor.deadline < self._timer.when():
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.call_at(visitor.deadline, self._look_at_clock)

    def _look_at_clock(self) -> None:
        """Drop the strangers whose time is over: the oldest, as many as fit a turn."""
        self._timer = None
        now = self._loop.time()
        late = [
            visitor
            for some in (self._leaving, self._waiting)
            for visitor in _first(some, READS)
            if visitor.deadline <= now
        ]
        for visitor in late:
            if self._loop.time() > now + TURN_S:
                break
            if visitor in self._leaving:
                self._drop(visitor)
            else:
                fault = BarkerError(protocol.TIMEOUT, "no hello in time")
                self._leave(visitor, visitor.stranger.refuse(fault))
        self._charge(now)
        firsts = [v.deadline for some in (self._leaving, self._waiting) for v in _first(some, 1)]
        if self._timer:  # for those that were refused just now; the others are earlier
            self._timer.cancel()
            self._timer = None
        if firsts:
            soonest = self._loop.time() + self._debt_s / SHARE
            self._timer = self._loop.call_at(max(min(firsts), soonest), self._look_at_clock)


def _first(some: dict[_Visitor, None], count: int) -> list[_Visitor]:
    return [visitor for visitor, _ in zip(some, range(count), strict=False)]
