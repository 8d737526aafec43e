"""The picture: the state of the whole system, as one *frame* a second.

Pure: samples, lost links and routes come in with their time, frames go out. A frame has for every
service its name, whether it is up, and, if a sample of it came in this second, its figures. A
second without a sample has no figures: a gap in the data is a gap in every line drawn from it.

Changes between two frames become events, each with the time at which we saw it:

    appeared    a service that was not there before
    gone        its link is down. `how` is what we know: it `stopped`, with a goodbye; it `died`,
                for its connection ended without one; or it is `silent`, frozen or cut off
    back        the same process again (it was frozen, or its network was)
    restarted   another process under the same name
    failover    an `ordered` service's traffic goes from one instance to another
    dead-letter a service has put aside an acked entry that was then refused for good
    waits       a service can't go on with something; `why` is the reason
    left-out    so many more than MAX_EVENTS came

The reason why a service waits is in its row, too. So are the number of its dead letters and the
latest one, also in a second without a sample and when the service is gone. They were there before
we came, so only a rise that we saw is an event.

A frame also has the traces that were noted since the last one (see ``traces``), if there are any.
"""

from typing import Any, NamedTuple

from barker.process.terminal import printable
from barker.routing.routes import CONSISTENT, ORDERED, Route, RouteTable, Target
from barker.wire.strictjson import dumps
from monitoring.rates import Meter, Rates, Run
from monitoring.traces import Traces

# Services in a frame, the gone ones included. So many rows fit a line of the wire (64 KiB).
MAX_SERVICES = 100
# A service that has gone stays in frames for as long as its history does.
REMEMBER_MS = 600_000
# Services that are there when we come have to be reached first, the second perhaps before the
# first: for this long that is no failover.
EXPECTED_MS = 5000
MAX_EVENTS = 50  # of one frame; one more says how many others there were

# Required numbers of a sample, and the fields of it that are forwarded as they are.
COUNTERS = ("in", "out", "cpu_s")
GAUGES = ("backlog", "peak", "oldest_ms", "streams", "unacked", "links", "rss_bytes")
EXTRAS = ("late", "readers", "held", "delay_ms", "delay_max_ms", "delay_over")
# The longest text about the latest dead letter, or about the reason of a wait.
MAX_CHARS = 300
# The kind whose queue depth is the system's: barks that are acked to their authors and wait.
QUEUE_KIND = "outbox"
# Services whose order is of no interest: every service is an agent.
OURS = ("agent", "monitor")


# The kinds of events, in `what`, and how a service can go, in `how` of a `gone` one. The page has
# words for each.
KINDS = ("appeared", "gone", "back", "restarted", "failover", "dead-letter", "waits", "left-out")
STOPPED, DIED, SILENT = HOWS = ("stopped", "died", "silent")


class BadSample(Exception):
    """A sample with a fault: nothing of it is taken over."""


class Event(NamedTuple):
    at: int
    what: str
    name: str
    how: str | None = None  # gone: one of HOWS
    was: str | None = None  # failover: the instance that had the traffic before
    service: str | None = None  # failover: of which service
    letters: int | None = None  # dead-letter: how many new ones
    latest: str | None = None  # dead-letter: the last of them, and why
    why: str | None = None  # waits: the reason
    others: int | None = None  # left-out: how many events, the last of them of `name`


class Known:
    """One service: its name, and its state by its last sample."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.identity: dict[str, Any] = {"kind": name.rpartition("-")[0] or name}
        self.run: Run | None = None  # which process
        self.up = False
        self.gone_ms: int | None = None
        self.stopping = False  # its last sample was a goodbye
        self.how: str | None = None  # it went, while it is gone
        self.quiet = False  # it is not up because we did not look; we expect it to be ...
        self.expected_until_ms = 0  # ... for as long as that
        self.meter = Meter()
        self.again: float | None = None  # the counter as of the last sample ...
        self.told_again: float | None = None  # ... and as of the last frame
        self.letters: int | None = None  # dead ones, as of the last sample ...
        self.latest_letter: str | None = None  # ... and the last of them, and why
        self.waits = ""  # the reason, as of its last sample
        self.figures: dict[str, Any] | None = None  # of a sample that is in no frame yet

    def expect(self, now_ms: int) -> None:
        """It was there before we looked."""
        self.quiet = True
        self.expected_until_ms = now_ms + EXPECTED_MS

    def works(self, now_ms: int) -> bool:
        """Does it do its work, as far as we can tell?"""
        return self.up or (self.quiet and now_ms < self.expected_until_ms)

    def more_again(self) -> float | None:
        """Puts sent again since the last frame with their number, lost samples and all."""
        now, then = self.again, self.told_again
        return None if now is None or then is None or now < then else now - then

    def more_letters(self, letters: int | None) -> int:
        """New dead letters, by their present number; a service keeps its file through a restart."""
        then, self.letters = self.letters, letters
        return 0 if letters is None or then is None else max(0, letters - then)

    def row(self) -> dict[str, Any]:
        row = {"name": self.name, "up": self.up, "gone": self.gone_ms, **self.identity}
        if self.gone_ms is not None:
            row["how"] = self.how
        if self.up and self.waits:
            row["waits"] = self.waits
        if self.letters is not None:
            row["dead_letters"] = self.letters
        if self.letters and self.latest_letter:
            row["dead_letter"] = self.latest_letter
        return row


class Picture:
    """Fed by the links to all agents; `routes` is the table that the directory fills."""

    def __init__(self, routes: RouteTable, own_name: str = "") -> None:
        self._routes = routes
        self._own_name = own_name  # our own presence is no news
        self._known: dict[str, Known] = {}
        self._events: list[Event] = []
        self._firsts: dict[str, str] = {}
        self._begun = False
        self._traces = Traces()

    # --- what comes in ---

    def routes_changed(self, now_ms: int) -> None:
        """Agents, orders or rings are others now."""
        for target in self._routes.route("agent").targets[:MAX_SERVICES]:
            known = self._known.setdefault(target.name, Known(target.name))
            known.identity |= {"host": target.host, "port": target.port}
            # A service that is there when we come did not appear; we did.
            if not self._begun or known.name == self._own_name:
                known.expect(now_ms)
        self._begun = self._begun or "agent" in self._routes.services
        if len(self._known) > 2 * MAX_SERVICES:
            self._forget(now_ms)  # else once for each frame
        self._look_for_failovers(now_ms)

    def sampled(self, name: str, sample: Any, now_ms: int) -> None:
        """A sample of that service has come. Raises BadSample."""
        run, counters, figures = _checked(sample)
        known = self._known.get(name)
        if known is None:
            return  # more than a frame can hold
        rates = known.meter.add(run, sample["at"], counters)
        if not known.up:
            known.up, known.gone_ms = True, None
            if known.run is not None and run != known.run:
                self._happened(now_ms, "restarted", name)
            elif not known.quiet:
                self._happened(now_ms, "back" if known.run else "appeared", name)
            known.quiet = False
        known.stopping = sample.get("stopping") is True
        if run != known.run:
            known.told_again = None  # puts from before we looked are not this second's
        known.run = run
        known.identity |= {key: sample[key] for key in ("kind", "pid", "since")}
        letters = sample.get("dead_letters")
        more = known.more_letters(int(letters) if _number(letters) else None)
        known.latest_letter = _words(sample.get("dead_letter"))
        if more:
            self._happened(now_ms, "dead-letter", name, letters=more, latest=known.latest_letter)
        was, known.waits = known.waits, _words(sample.get("waits")) or ""
        if known.waits not in ("", was):
            self._happened(now_ms, "waits", name, why=known.waits)
        self._traces.sampled(name, sample["at"], sample.get("traces"))
        known.again = sample["again"] if _number(sample.get("again")) else None
        known.figures = {**figures, **_told(rates, counters), "again": known.more_again()}
        self._look_for_failovers(now_ms)

    def lost(self, name: str, now_ms: int, *, silent: bool = False) -> None:
        """The link to that service is down; `silent` if no byte came for a while before."""
        known = self._known.get(name)
        if known and known.up:
            known.up, known.gone_ms = False, now_ms
            known.how = STOPPED if known.stopping else SILENT if silent else DIED
            known.figures = None
            self._happened(now_ms, "gone", name, how=known.how)
            self._look_for_failovers(now_ms)

    def blind(self, name: str, now_ms: int) -> None:
        """We were frozen, and the link to that service is opened again: that is no news of it."""
        known = self._known.get(name)
        if known and known.up:
            known.up = False
            known.expect(now_ms)

    # --- frames ---

    @property
    def complete(self) -> bool:
        """Does the next frame have the rates of every service that can be reached?"""
        agents = [t.name for t in self._routes.route("agent").targets[:MAX_SERVICES]]
        rows = [self._known[name].figures for name in agents if name in self._known]
        return bool(rows) and all(row and row["in"] is not None for row in rows)

    def frame(self, now_ms: int) -> dict[str, Any]:
        """The present state; begins a new second."""
        self._forget(now_ms)
        self._look_for_failovers(now_ms)
        services = []
        for known in sorted(self._known.values(), key=lambda k: k.name):
            row = known.row()
            if known.figures:
                row |= known.figures
                known.figures = None
                known.told_again = known.again
            services.append(row)
        events, self._events = self._events, []
        depths = [row["backlog"] for row in services if row["kind"] == QUEUE_KIND and "in" in row]
        traces = self._traces.take()
        return {
            "at": now_ms,
            "depth": sum(depths) if depths else None,
            "services": services,
            "routes": {
                name: self._route(name, now_ms) for name in self._routes.services if name != "agent"
            },
            "events": [{k: v for k, v in e._asdict().items() if v is not None} for e in events],
            "left_out": max(0, len(self._routes.route("agent").targets) - MAX_SERVICES),
            **({"traces": traces} if traces else {}),
        }

    def _route(self, service: str, now_ms: int) -> dict[str, Any]:
        route = self._routes.route(service)
        told: dict[str, Any] = {"policy": route.policy, "targets": [t.name for t in route.targets]}
        if route.policy == CONSISTENT:
            told["shares"] = {name: round(part, 4) for name, part in route.ring.shares().items()}
        else:
            first = self._first(route, now_ms)
            told["first"] = first.name if first else None
        return told

    # --- conclusions ---

    def _first(self, route: Route, now_ms: int) -> Target | None:
        def works(target: Target) -> bool:
            known = self._known.get(target.name)
            return known is not None and known.works(now_ms)

        return route.first(works)

    def _look_for_failovers(self, now_ms: int) -> None:
        for service in self._routes.services:
            route = self._routes.route(service)
            first = self._first(route, now_ms) if route.policy == ORDERED else None
            if first is None or service in OURS:
                continue  # none has the traffic now; the next one gets it from the last one
            was = self._firsts.get(service)
            if was and self._is_leaving(was):
                continue  # its link ends in a moment, and `gone` comes before its consequences
            self._firsts[service] = first.name
            if was not in (None, first.name):
                self._happened(now_ms, "failover", first.name, was=was, service=service)

    def _is_leaving(self, name: str) -> bool:
        """Has the directory dropped a service, and our link to it is not down yet?"""
        known = self._known.get(name)
        return known is not None and known.up and name not in self._routes.route("agent").by_name

    def _happened(self, now_ms: int, what: str, name: str, **more: Any) -> None:
        event = Event(now_ms, what, name, **more)
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)
            return
        others = sum(last.others or 0 for last in self._events[MAX_EVENTS:])
        self._events[MAX_EVENTS:] = [Event(now_ms, "left-out", name, others=others + 1)]

    def _forget(self, now_ms: int) -> None:
        """Drop the services that went long ago or, if there are too many, those that went first."""
        services = {*self._routes.services}
        self._firsts = {name: first for name, first in self._firsts.items() if name in services}
        served = self._routes.route("agent").by_name
        gone = [k for k in self._known.values() if not k.up and k.name not in served]
        gone.sort(key=lambda k: k.gone_ms or 0)
        surplus = len(self._known) - MAX_SERVICES
        for i, known in enumerate(gone):
            if i < surplus or now_ms - (known.gone_ms or 0) > REMEMBER_MS:
                del self._known[known.name]
                self._traces.forget(known.name)


def without_details(frame: dict[str, Any], most: int) -> dict[str, Any]:
    """The same frame, of at most so many bytes, whatever the services' names and texts."""
    if frame.pop("traces", None) and len(dumps(frame)) <= most:
        return frame
    for row in frame["services"]:
        row.pop("deepest", None)
        row.pop("dead_letter", None)
        row.pop("waits", None)
    for event in frame["events"]:
        event.pop("latest", None)
        event.pop("why", None)
    over = len(dumps(frame)) - most
    if over > 0:  # many services, or long lists of instances: those that the table lacks go first
        shown = {row["kind"] for row in frame["services"]}
        sizes = {name: len(dumps({name: route})) for name, route in frame["routes"].items()}
        for name in sorted(sizes, key=lambda name: (name in shown, -sizes[name])):
            if over > 0:
                over -= sizes[name] - 1
                del frame["routes"][name]
    return frame


def letters_file(name: str) -> str:
    """The path of a service's dead letters, as a person looks for them."""
    return f"var/dead-letters/{name}.jsonl"


def _words(value: Any) -> str | None:
    return printable(value[:MAX_CHARS])[:MAX_CHARS] if type(value) is str else None


def _number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 2**53


def _checked(sample: Any) -> tuple[Run, list[float], dict[str, Any]]:
    """Process, counters and gauges of a sample. Raises BadSample."""
    if type(sample) is not dict:
        raise BadSample("a sample is a JSON object")
    for key in ("at", "pid", "since", *COUNTERS):
        if not _number(sample.get(key)):
            raise BadSample(f"a sample needs a number {key}")
    if type(sample.get("kind")) is not str or len(sample["kind"]) > 64:
        raise BadSample("a sample needs a kind")
    figures: dict[str, Any] = {
        key: value if _number(value := sample.get(key)) else None for key in GAUGES
    }
    figures["backlog"] = figures["backlog"] or 0
    figures |= {key: sample[key] for key in EXTRAS if _number(sample.get(key))}
    deepest = sample.get("deepest", [])
    figures["deepest"] = deepest[:5] if _streams(deepest) else []
    return Run(sample["pid"], sample["since"]), [sample[key] for key in COUNTERS], figures


def _streams(value: Any) -> bool:
    return type(value) is list and all(
        type(s) is list and len(s) == 2 and type(s[0]) is str and len(s[0]) < 100 and _number(s[1])
        for s in value
    )


def _told(rates: Rates, counters: list[float]) -> dict[str, Any]:
    """Rates a second, and the counters' own values; `cpu` is 1 for one busy processor."""
    per_second = [None if rate is None else round(rate, 3) for rate in rates]
    told: dict[str, Any] = dict(zip(("in", "out", "cpu"), per_second, strict=True))
    return told | {"in_total": counters[0], "out_total": counters[1]}
