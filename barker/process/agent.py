"""An agent: the part of every service that reports how the service is doing.

It is served at ``agent/NAME`` on the service's own port. A subscriber gets a `sample` at once, and
then one at every full second, for as long as the link lives. A sample has the counters as they
stand. The reader computes rates, since only it knows which samples were lost.

While nothing has subscribed, no timer runs and nothing is counted for it. A service may count for
its agent only by adding up once a batch.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest
from typing import Any, ClassVar, Protocol

from barker.links.link import Link
from barker.process.faults import Ticker, contained
from barker.routing.routes import split
from barker.wire import messages, strictjson
from barker.wire.ops import Moved, Sample, Subscribe

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ADDRESS = "agent"
PERIOD_S = 1.0
# Streams that a sample names, the deepest first: enough to find the slow reader.
MAX_NAMED_STREAMS = 5


class Sampled(Protocol):
    """What an agent needs of its service."""

    kind: ClassVar[str]
    name: str
    host: str
    port: int
    since: int
    links: set[Link]
    traces: deque[tuple[str, float]]  # names of followed entries, and when they came

    @property
    def waits(self) -> str: ...
    def gauges(self) -> dict[str, Any]: ...
    def sampled(self) -> None: ...
    def later(self, delay_s: float, work: Callable[[], None]) -> None: ...


class Agent:
    """Sends samples of one service to its subscribers."""

    def __init__(self, service: Sampled) -> None:
        self._service = service
        self._watchers: set[Link] = set()
        self._stops = False
        self._ticker = Ticker(service.later, self._delay_s, self._tick)

    def subscribe(self, link: Link, wish: Subscribe) -> None:
        """A subscription to an address below ``agent/``."""
        if split(wish.address)[1] != self._service.name:
            link.send(messages.encode(Moved(wish.address)))  # another service has this port now
            return
        self._watchers.add(link)
        self._ticker.start()
        link.send(self._line())

    def _delay_s(self) -> float | None:
        """Until the next full second by the wall clock, so that samples of many agents line up.

        None without subscribers.
        """
        if not self._watchers:
            return None
        delay_s = PERIOD_S - time.time() % PERIOD_S
        if delay_s < 0.1 * PERIOD_S:  # a timer may be early, and this second has had its sample
            delay_s += PERIOD_S
        return delay_s

    def _tick(self) -> None:
        self._watchers = {link for link in self._watchers if not link.closed}
        if self._watchers:
            line = self._line()
            self._service.sampled()
            for link in self._watchers:
                with contained(link, link.abort):
                    if not link.busy:  # a slow reader gets a gap, not a backlog of old samples
                        link.send(line)

    def stop(self) -> None:
        """Send the subscribers a sample that is marked: so a stop differs from a crash.

        All later ones are marked, too, for a service may take some seconds to stop. Called when
        the stop begins, while the links are open.
        """
        self._stops = True
        if self._watchers:
            line = self._line()
            for link in self._watchers:
                with contained(link, link.abort):
                    link.send(line)

    def _line(self) -> bytes:
        return messages.encode(Sample(strictjson.dumps(self.sample())))

    def sample(self) -> dict[str, Any]:
        """The state at this moment; docs/protocol.rst explains the fields.

        Counters (`in`, `out`, `cpu_s`) begin at 0 with each process, which `pid` and `since` name.
        """
        service = self._service
        return {
            "at": time.time_ns() // 1_000_000,
            "name": service.name,
            "kind": service.kind,
            "host": service.host,
            "port": service.port,
            "since": service.since,
            **process_figures(),
            "links": len(service.links),
            **service.gauges(),
            **({"waits": service.waits} if service.waits else {}),
            **({"stopping": True} if self._stops else {}),
            **({"traces": list(service.traces)} if service.traces else {}),
        }


def process_figures() -> dict[str, Any]:
    """The system's figures of this process."""
    return {
        "pid": os.getpid(),
        "cpu_s": round(time.process_time(), 3),
        "rss_bytes": resident_bytes(),
    }


def resident_bytes() -> int | None:
    """Memory of this process: now, on Linux; the most it ever had, on other Unixes; else None."""
    if resource is None:
        return None
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def deepest(streams: Iterable[tuple[str, int]]) -> Sequence[tuple[str, int]]:
    """The streams with the most waiting entries, as a sample names them."""
    waiting = ((address, count) for address, count in streams if count)
    return nlargest(MAX_NAMED_STREAMS, waiting, key=lambda stream: stream[1])
