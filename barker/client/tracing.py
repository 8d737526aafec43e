"""Tracing: a speaker that follows its bark through the services, and prints its way.

The bark is put with a *trace*. Each service notes when it came there, and the monitor's frames have
these notes. The ack of the outbox is timed here, and needs no monitor.

Left out: the readers. A trace ends at the inboxes; `barker.listen` shows the bark.
"""

import argparse
import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any, ClassVar

from barker.client import way
from barker.client.speaker import Speaker
from barker.links.link import Link
from barker.process import terminal
from barker.process.node import Node
from barker.process.peers import Peers
from barker.wire import messages, strictjson
from barker.wire.ops import Credit, Message, Subscribe, Subscribed

MONITOR = "monitor"
# For the frame with the last hop: services take samples each second, and the frame comes half a
# second later. A bark that is slower is still on its way, and the text says where it was seen last.
TRACE_WAIT_S = 4.0
# Frames from before we subscribed: one may have come between our bark and that.
RECENT_FRAMES = 2
# Services that may note one trace; further ones are left out.
MAX_HOPS = 50


class Notes(Peers):
    """The monitor's frames: when each service noted one trace. `changed` is called after each."""

    def __init__(self, node: Node, trace: str, changed: Callable[[], None]) -> None:
        super().__init__(node, MONITOR)
        self.add_handler(Message, self.on_message)
        self.add_handler(Subscribed, self.on_subscribed)
        self._trace = trace
        self._changed = changed
        self._asked: Link | None = None
        self._serial = 0
        self.noted: dict[str, float] = {}  # by service
        self.kinds: dict[str, str] = {}  # of all services in the last frame
        self.inboxes = 0  # in the last frame

    def peers_changed(self) -> None:
        first = self.route.first(lambda t: t.name in self.peers)
        link = self.peers[first.name] if first else None
        if link is not self._asked:
            self._asked = link
            if link:
                link.send(messages.encode(Subscribe(MONITOR, history=RECENT_FRAMES)))

    def on_subscribed(self, link: Link, answer: Subscribed) -> None:
        self._serial = answer.serial

    def on_message(self, link: Link, message: Message) -> None:
        if link is not self._asked:
            return
        for body in message.bodies:
            self._read(strictjson.loads(body))
        self._serial += len(message.bodies)
        link.send(messages.encode(Credit(MONITOR, self._serial)))
        self._changed()

    def _read(self, frame: dict[str, Any]) -> None:
        self.kinds |= {row["name"]: row["kind"] for row in frame["services"]}
        self.inboxes = len(frame["routes"].get("inbox", {}).get("targets", ()))
        for trace, service, at_ms in frame.get("traces", ()):
            if trace == self._trace and len(self.noted) < MAX_HOPS:
                self.noted.setdefault(service, at_ms)  # a second time: it was sent again


class TracedSpeaker(Speaker):
    """Puts one bark, prints its id, and then the bark's way."""

    needs: ClassVar = {"outbox": "outbox"}

    def __init__(self, args: argparse.Namespace, user: str, id_: str, body: bytes) -> None:
        super().__init__(args, user, id_, body, trace=secrets.token_hex(8))
        self._news = asyncio.Event()
        self._is_said = False

    @property
    def has_job(self) -> bool:
        """An acked bark is no failure, also if Ctrl-C ends the wait for its way."""
        return not self._is_said

    async def started(self) -> None:
        self._notes = Notes(self, self.trace, self._news.set)
        self.watch("bizlogic", self._news.set)
        await super().started()

    async def before_put(self) -> None:
        await self.linked()  # else the first hop would be the time of connecting
        self._sent_ms = time.time_ns() / 1_000_000
        self._sent_at = self.now()

    async def said(self) -> None:
        """Print the way, when the monitor has shown it, or can't."""
        self._is_said = True
        outbox = self.routes.route("outbox").owner(self.user)
        keeper = outbox.name if outbox else "an outbox"
        took_ms = 1000 * ((self.acked_at or self.now()) - self._sent_at)
        ack = f"{way.shorter(keeper)} acked it after {took_ms:.2f} ms: it is in its journal."
        terminal.say(self.kind, ack)
        if not self.routes.route(MONITOR).targets:
            missing = "No monitor runs, so nothing times the later hops."
            terminal.say(self.kind, missing, *self._waits_in(keeper))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRACE_WAIT_S):
                await self._all_noted()
        hops = way.hops(self._notes.noted, self._notes.kinds)
        if not hops:
            terminal.say(self.kind, f"The monitor showed no hop of it within {TRACE_WAIT_S:g} s.")
        terminal.say(self.kind, *way.lines(self._sent_ms, hops), *self._end(keeper, hops))

    async def _all_noted(self) -> None:
        """Wait for the frame with the last hop.

        Samples are taken at about the same moment, but one of several inboxes may have been later.
        """
        since_inbox = 0
        while True:
            self._news.clear()
            hops = way.hops(self._notes.noted, self._notes.kinds)
            inboxes = sum(hop.kind == "inbox" for hop in hops)
            since_inbox += bool(inboxes)
            if since_inbox > 1 or (inboxes and inboxes >= self._notes.inboxes):
                return
            if hops and not self.routes.route("bizlogic").targets:
                return
            await self._news.wait()

    def _waits_in(self, keeper: str) -> list[str]:
        if "bizlogic" in self.told and not self.routes.route("bizlogic").targets:
            return [f"No bizlogic runs, so it waits in {way.shorter(keeper)}."]
        return []

    def _end(self, keeper: str, hops: list[way.Hop]) -> list[str]:
        """What the bars do not show: a way that has no end yet."""
        if any(hop.kind == "inbox" for hop in hops):
            return []
        why = self._waits_in(keeper)
        return why or [f"It was seen in no inbox within {TRACE_WAIT_S:g} s."] if hops else why
