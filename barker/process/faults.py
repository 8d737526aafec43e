"""Faults: an unexpected exception is logged whole, and stays where it happened.

A service looks after many links and has a few things to do by the clock. A bug that one link brings
to light must not keep the others from being served, and must not end what is to be done again and
again. So each of these parts runs inside `contained`, and what recurs is a `Ticker`.

Left out: everything that is expected. An `OSError` of a connection or a `BarkerError` of a peer is
handled where it is known what to do about it.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator

log = logging.getLogger("barker.process.faults")


@contextlib.contextmanager
def contained(what: object, end: Callable[[], object] | None = None) -> Iterator[None]:
    """Log an exception of the block with its traceback, and go on behind the block.

    `what` says in the log what the block was about. `end`, if there is one, is called after a
    fault: a link whose work was left half done is aborted, so that the peer sends it again.
    """
    try:
        yield
    except Exception:
        log.exception("%s", what)
        if end is not None:
            with contained(what):
                end()


class Ticker:
    """Calls `work` again and again; a fault of one time is logged and does not end it.

    Before each time `delay_s` gives the seconds until then, or None for a pause. The next `start`
    ends a pause.
    """

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], object],
        delay_s: Callable[[], float | None],
        work: Callable[[], object],
    ) -> None:
        """`later` is what sets a timer: `Node.later`, or a loop's `call_later`."""
        self._later = later
        self._delay_s = delay_s
        self._work = work
        self._timed = self._stopped = False

    def start(self) -> None:
        """Begin, or end a pause. Harmless if it runs."""
        if not self._timed:
            self._set_timer()

    def stop(self) -> None:
        """End it for good."""
        self._stopped = True

    def _set_timer(self) -> None:
        delay_s = None if self._stopped else self._delay_s()
        self._timed = delay_s is not None
        if delay_s is not None:
            self._later(delay_s, self._tick)

    def _tick(self) -> None:
        if not self._stopped:
            with contained(self._work):
                self._work()
        self._set_timer()
