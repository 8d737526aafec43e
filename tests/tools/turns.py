"""A service in a thread of this process, every turn of whose loop is measured.

What it holds can be filled from inside, so that a test comes to a limit in seconds; what happens to
it then comes from outside, over real links.
"""

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from barker.process import garbage
from barker.process.service import Service, service_parser
from barker.process.slices import Steps
from tests.tools.fleet import DEADLINE_S, Fleet

# To fill something up to its limit takes long.
FULL_S = 5 * DEADLINE_S

S = TypeVar("S", bound=Service)
T = TypeVar("T")


class Running(Generic[S]):
    """`node` runs; all about it that is not thread-safe goes through `call`."""

    def __init__(self, node: S) -> None:
        self.node = node
        self.cpu_ms = self.wall_ms = 0.0  # of the longest turn since `begin`
        self.turns = 0
        self._ready = threading.Event()
        self._ended: BaseException | int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Forget the turns so far."""
        self.call(lambda: None)
        self.cpu_ms = self.wall_ms = 0.0
        self.turns = 0

    def call(self, work: Callable[[], T]) -> T:
        """Have it done by a turn of the loop; its result."""

        async def done() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(DEADLINE_S)

    def fill(self, steps: Steps) -> None:
        """Have this done in slices, since a long turn ends links."""
        self.call(lambda: self.node.slices.add(steps))
        # Asked by a turn: while one works on a slice, that is in no list.
        self.until(lambda: self.call(lambda: not self.node.slices), "it is full")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until that is so; it is looked at between turns, and that is not measured."""
        deadline = time.monotonic() + FULL_S
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {FULL_S} s: {what}")
            time.sleep(0.02)

    # --- the thread ---

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(DEADLINE_S):
            raise AssertionError(f"it is not ready: {self._ended!r}")

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.node.stop)
        self._thread.join(DEADLINE_S)

    def _run(self) -> None:
        try:
            self._ended = asyncio.run(self._live())
        except BaseException as fault:
            self._ended = fault

    async def _live(self) -> int:
        self._loop = loop = asyncio.get_running_loop()
        turn: Callable[[], None] = loop._run_once  # type: ignore[attr-defined]

        def measured() -> None:
            cpu, wall = time.thread_time(), time.perf_counter()
            turn()
            spent = 1000 * (time.thread_time() - cpu)
            self.turns += 1
            if spent > self.cpu_ms:
                self.cpu_ms, self.wall_ms = spent, 1000 * (time.perf_counter() - wall)

        loop._run_once = measured  # type: ignore[attr-defined]
        ready = self.node.ready

        async def noted() -> None:
            await ready()
            self._ready.set()

        node: Any = self.node
        node.ready = noted
        return await self.node.run()


@contextlib.contextmanager
def running(fleet: Fleet, make: type[S], *flags: str) -> Iterator[Running[S]]:
    """A service of this fleet, from its READY to its end."""
    parser = service_parser(make, make.kind, "")
    args = parser.parse_args([*flags, "--port", "0", *fleet.flags])
    one = Running(make(args))
    before = gc.get_threshold()
    garbage.begin()
    try:
        one.start()
        yield one
    finally:
        one.stop()
        gc.callbacks.pop()
        gc.set_threshold(*before)
        gc.unfreeze()
