"""Benches: many sockets to wait for, of which one look finds a few and not all.

A selector with thousands of sockets reports all that are ready; a thousand take a millisecond. So
the sockets sit on benches of `SEATS`, each with a selector of its own. One selector above them
waits for the doors and the benches (epoll and kqueue are files themselves).
"""

import contextlib
import selectors
import socket
from collections import deque
from typing import Generic, TypeVar

# A look at this many takes a tenth of a millisecond. There are up to 1,024 strangers.
SEATS = 64

G = TypeVar("G")


class _Bench(Generic[G]):
    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.guests: dict[socket.socket, G] = {}

    @property
    def file(self) -> int | None:
        """Ready when one of the sockets is; None where a selector is no file (Windows)."""
        fileno = getattr(self.selector, "fileno", None)
        return fileno() if fileno else None


class Benches(Generic[G]):
    """Guests by their sockets, and doors; the ready guests come in turn, each once a round."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._bench_of: dict[socket.socket, _Bench[G]] = {}
        self._benches: dict[_Bench[G], None] = {}
        self._free: dict[_Bench[G], None] = {}  # benches with a free seat
        self._queue: dict[_Bench[G], None] = {}  # ready benches, not looked at in this round
        self._ready: deque[tuple[socket.socket, G]] = deque()

    def fileno(self) -> int:
        """Ready when a door or a guest is. Raises AttributeError where a selector is no file."""
        return int(self._selector.fileno())

    def close(self) -> None:
        """Stop waiting. The sockets stay open."""
        for bench in self._benches:
            bench.selector.close()
        self._selector.close()

    def watch_door(self, door: socket.socket) -> None:
        """Wait for connections there; a second call changes nothing."""
        with contextlib.suppress(KeyError):
            self._selector.register(door, selectors.EVENT_READ)

    def ignore_door(self, door: socket.socket) -> None:
        """Stop waiting for connections there; harmless if we did not."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(door)

    def seat(self, channel: socket.socket, guest: G) -> None:
        """Wait until that socket can be read. Raises OSError."""
        bench = next(iter(self._free), None) or self._new_bench()
        bench.selector.register(channel, selectors.EVENT_READ)
        bench.guests[channel] = guest
        self._bench_of[channel] = bench
        if len(bench.guests) == SEATS:
            del self._free[bench]

    def unseat(self, channel: socket.socket) -> None:
        """Stop waiting for that socket; harmless if we did not."""
        bench = self._bench_of.pop(channel, None)
        if bench is None:
            return
        with contextlib.suppress(KeyError, ValueError):
            bench.selector.unregister(channel)
        del bench.guests[channel]
        self._free[bench] = None
        if not bench.guests and len(self._free) > 1:
            self._take_away(bench)

    def look(self) -> list[socket.socket]:
        """The doors with waiting connections. Guests that are ready from now on join the queue."""
        doors = []
        for key, _ in self._selector.select(0):
            if isinstance(key.data, _Bench):
                self._queue.setdefault(key.data)
            else:
                doors.append(key.fileobj)
        for bench in self._benches:
            if bench.file is None:
                self._queue.setdefault(bench)
        return doors  # type: ignore[return-value]

    def next(self) -> G | None:
        """The next guest that is ready, if any is."""
        while self._ready or self._queue:
            while self._ready:
                channel, guest = self._ready.popleft()
                if channel in self._bench_of:
                    return guest
            if self._queue:
                bench = next(iter(self._queue))
                del self._queue[bench]
                found = (key.fileobj for key, _ in bench.selector.select(0))
                self._ready.extend((c, bench.guests[c]) for c in found)  # type: ignore[index,misc]
        return None

    def _new_bench(self) -> _Bench[G]:
        bench = _Bench[G]()
        if bench.file is not None:
            self._selector.register(bench.file, selectors.EVENT_READ, bench)
        self._benches[bench] = self._free[bench] = None
        return bench

    def _take_away(self, bench: _Bench[G]) -> None:
        if bench.file is not None:
            self._selector.unregister(bench.file)
        bench.selector.close()
        del self._benches[bench], self._free[bench]
        self._queue.pop(bench, None)
