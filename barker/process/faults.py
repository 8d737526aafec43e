"""Faults: an unexpected exception is logged whole, and stays where it happened.

A service looks after many links and does a few things by the clock. A bug that one link triggers
must not stop the service of the others, nor end a recurring task. So each of these parts runs
inside `contained`, and a recurring task is a `Ticker`.

Left out: every expected fault. An `OSError` of a connection or a `BarkerError` of a peer is handled
where its remedy is known.
"""

import logging
from collections.abc import Callable

log = logging.getLogger("barker.process.faults")


class contained:  # noqa: N801 - used as contextlib's own context managers are
    """Log an exception of the block with its traceback, and go on behind the block.

    `what` names the block in the log. `end`, if there is one, is called after a fault: a link with
    work half done is aborted, so that the peer sends it again.

    The hot path calls `report` by itself, which costs nothing until there is a fault.
    """

    __slots__ = ("_end", "_what")

    def __init__(self, what: object, end: Callable[[], object] | None = None) -> None:
        self._what = what
        self._end = end

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, fault: BaseException | None, trace: object) -> bool:
        if not isinstance(fault, Exception):
            return False
        report(fault, self._what, self._end)
        return True


def report(fault: Exception, what: object, end: Callable[[], object] | None = None) -> None:
    """Log an exception of a block that is contained; see there."""
    log.error("%s", what, exc_info=fault)
    if end is not None:
        with contained(what):
            end()


class Ticker:
    """Calls `work` again and again; a fault in one call is logged and does not end it.

    Before each call `delay_s` returns the seconds until then, or None for a pause. The next `start`
    ends a pause.
    """

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], object],
        delay_s: Callable[[], float | None],
        work: Callable[[], object],
    ) -> None:
        """`later` sets a timer: `Node.later`, or a loop's `call_later`."""
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
