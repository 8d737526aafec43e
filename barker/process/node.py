"""A node: what every process of the system does, service or client.

It knows its name and the secret, keeps a link to the directory, remembers the last routes, looks
after the heartbeats of all its links, and stops cleanly. Its purpose is in its `Conversation`s: the
node's own for the directory is at the end of this file; a service, a `Sender` or a reader brings
another.

Without the directory, only the routes stop changing: links to peers are kept by `Dialer`s, which
need no directory to connect again.
"""

import argparse
import asyncio
import errno
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

from barker.disk import keys
from barker.links import hosts, tls
from barker.links.connection import Connection
from barker.links.greeting import Identity
from barker.links.link import SILENT_HEARTBEATS, Conversation, Link
from barker.links.turns import Turns
from barker.process import garbage, waiting
from barker.process.arguments import LEASH, directory_place
from barker.process.dialing import Dialer
from barker.process.faults import Ticker, contained
from barker.process.slices import Slices
from barker.process.stalls import Stall
from barker.routing.routes import MAX_ROUTES, RouteTable, Target, matches
from barker.wire import messages
from barker.wire.ops import Routes, Watch
from barker.wire.rights import CLIENT

log = logging.getLogger("barker.process.node")

# A ticker this many heartbeats late means that this process was frozen, or the machine asleep. An
# idle peer may have been silent for a heartbeat and a tick before that. So peers may have taken a
# longer stall for death, and can't have for a shorter one.
STALL_HEARTBEATS = 1.0
# How long a stopping node lets its links finish.
GRACE_S = 1.0


class Node:
    """One process. Its name begins with `kind`."""

    kind: ClassVar[str] = "node"
    is_directory: ClassVar[bool] = False
    is_service: ClassVar[bool] = False
    role: ClassVar[str] = CLIENT  # whose key it has
    # Services without which it can't work, and the commands that start them.
    needs: ClassVar[dict[str, str]] = {}
    # It ends after a time, and then prints what was missing; so it does not log that before.
    has_deadline = False

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = argparse.Namespace(**{**vars(args), "directory": directory_place(args)})
        self.heartbeat_s: float = args.heartbeat
        self.key = b"" if self.is_service else keys.clients_key(args.state, args.secret_file)
        self.tls = tls.contexts(args, is_service=self.is_service)
        self.name = f"{self.kind}-{os.getpid()}"
        self.routes = RouteTable()
        self.told: set[str] = set()  # services whose routes the directory has sent
        self.links: set[Link] = set()
        self.messages_in = self.messages_out = 0  # of links that have gone
        self._links_ended = 0
        self.exit_status = 0
        self.failed = False  # our memory differs from our journal
        self.directory_epoch: str | None = None
        self.trouble = ""  # why the last dialling failed, if there was an answer
        self._notice = waiting.Waiting(bool(os.environ.get(LEASH)))
        self._watched: dict[str, list[Callable[[], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.slices = Slices(self)
        self._stop = asyncio.Event()
        self._last_tick = 0.0
        self._stall: Stall | None = None  # the current one
        self._talk: DirectoryTalk | None = None

    # --- for subclasses to fill in ---

    async def started(self) -> None:
        """Called when the loop runs and the directory is being dialled: begin your own work."""

    async def stopping(self) -> None:
        """Called when the node stops: finish what can be finished within `GRACE_S`."""

    def announcements(self) -> list[bytes]:
        """The messages to send the directory at every connect (services: registrations)."""
        return []

    @property
    def has_job(self) -> bool:
        """Is there a job to finish, after which we stop? Else we run until we are stopped."""
        return False

    def interrupted(self, number: int = signal.SIGTERM) -> None:
        """Called at Ctrl-C, another signal that stops us, or the end of the leash.

        A job that is not finished then shows in the exit status, as shells have it: 130 for Ctrl-C.
        """
        if not self._stop.is_set():
            self.stop(128 + number if self.has_job else 0)

    def ticked(self) -> None:
        """Called four times a heartbeat, but not while a stall is being looked into."""

    def dial_failed(self, dialer: Dialer, fault: Exception) -> None:
        """Called when a connect or a greeting has failed; the dialer tries again by itself."""
        words = dialer.why(fault)
        self.trouble = words or self.trouble
        # Without a directory so far, `lacks` reports it.
        is_first = self.directory_epoch is None and dialer.place == self.args.directory
        if words and dialer.is_news(words) and not (is_first or self.has_deadline):
            log.warning("%s: %s; still trying", hosts.spell(*dialer.place), words)
        else:
            log.debug("%s: %r", hosts.spell(*dialer.place), fault)

    def lacks(self) -> str:
        """What we need and miss, as a log line; "" if nothing. With routes, no directory is."""
        if self._talk and self.directory_epoch is None:
            return waiting.no_directory(hosts.spell(*self.args.directory), self.trouble)
        for service, kind in self.needs.items():
            if service in self.told and not self.routes.route(service).targets:
                return waiting.no_service(hosts.spell(*self.args.directory), kind)
        return ""

    # --- for subclasses to use ---

    @property
    def waits(self) -> str:
        """What is missing, as it was logged; "" if nothing."""
        return self._notice.told

    @property
    def identity(self) -> Identity:
        return Identity(self.name, self.key, self.directory_epoch, self.role)

    @staticmethod
    def now() -> float:
        """Monotonic seconds."""
        return asyncio.get_running_loop().time()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a task for as long as the node runs. If it fails, the node stops and logs why."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        """Call `work` once after `delay_s`, unless the node has stopped by then.

        After a stall, it is called when the links have been looked at. A fault in it is logged and
        changes nothing else.
        """
        self._loop.call_later(delay_s, self._do_later, work)

    def _do_later(self, work: Callable[[], None]) -> None:
        self._look_at_clock(self.now())
        if self._stall:
            self._stall.over.add_done_callback(lambda _: self._do_later(work))
        elif not self._stop.is_set():
            with contained(work):
                work()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.critical("%s failed", task.get_name(), exc_info=task.exception())
            self.stop(1)

    def watch(self, service: str, changed: Callable[[], None]) -> None:
        """Have `changed` called at each change of a service's routes; for use before `run`."""
        self._watched.setdefault(service, []).append(changed)

    def stop(self, status: int = 0) -> None:
        """Make `run` return `status` soon; the first status but 0 counts."""
        self.exit_status = self.exit_status or status
        self._stop.set()

    @property
    def is_stopping(self) -> bool:
        """Has `stop` been called?"""
        return self._stop.is_set()

    def fail(self, why: str) -> None:
        """For an exception that leaves our memory different from our journal: end at once.

        Nothing more is handled or acked; the next start recovers from the journal.
        """
        log.critical("%s; stopping, and the next start recovers it", why, exc_info=True)
        self.failed = True
        self.stop(1)
        self.abort_all()

    async def attend(self, connection: Connection, conversation: Conversation) -> None:
        """Serve the link until it is down; meanwhile the ticker looks after it."""
        try:
            while self._stall:
                await asyncio.shield(self._stall.over)
        except asyncio.CancelledError:
            connection.abort()
            raise
        link = Link(connection, conversation, self._look_at_clock, self._turns)
        self.links.add(link)
        try:
            await link.run()
        finally:
            link.abort()  # a fault may have kept it from closing by itself
            if not link.cleared:
                # Others may wait for a message from this link, and it will never come.
                self.fail(f"{link!r} has gone, and not all that it was part of knows it")
            self.links.discard(link)
            self._links_ended += 1
            if self._links_ended % garbage.LINKS_BETWEEN == 0:
                garbage.look_at_all()
            self.messages_in += link.messages_in
            self.messages_out += link.messages_out

    # --- life ---

    async def run(self) -> int:
        """From start to stop; returns the process's exit status."""
        self._loop = asyncio.get_running_loop()
        self._turns = Turns()
        self._loop.set_exception_handler(_report)
        self._last_tick = self.now()
        ticker = Ticker(self._loop.call_later, lambda: self.heartbeat_s / 4, self._tick)
        ticker.start()
        try:
            await self.started()
            if not self.is_directory:
                self._talk = DirectoryTalk(self, self._watched)
                host, port = self.args.directory
                Dialer(self, host, port, self._talk, expect=None)
            await self._stop.wait()
            try:
                async with asyncio.timeout(GRACE_S):
                    await self.stopping()
            except TimeoutError:
                log.warning("stopped before all was done")
        finally:
            ticker.stop()
            for link in list(self.links):
                link.close()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=GRACE_S)
        return self.exit_status

    def announce(self) -> None:
        """Send the directory our registrations; at once if its link is up, else when it is."""
        if self._talk:
            self._talk.announce()

    def tell_directory(self, message: bytes) -> None:
        """Send this to the directory, if its link is up."""
        if self._talk and self._talk.link:
            self._talk.link.send(message)

    @property
    def has_directory(self) -> bool:
        """Is the link to the directory up?"""
        return self._talk is not None and self._talk.link is not None

    def told_by(self, service: str) -> Link | None:
        """The link to the directory, if the service's routes came over this very link."""
        return self._talk.link if self._talk and service in self._talk.told else None

    def launcher_said(self, line: bytes) -> None:
        """Called with a line of the launcher, which holds our standard input.

        All processes of our fleet are ready: log from now on what is missing.
        """
        self._notice.begin(self.now())

    def _look_at_clock(self, now: float) -> None:
        """Were we frozen? Messages may be handled before the ticker has its turn."""
        late_s = now - self._last_tick
        if late_s > STALL_HEARTBEATS * self.heartbeat_s:
            self._last_tick = now
            if not self._stall:
                log.warning("was frozen for %.1f s", late_s)
                self._stall = Stall(self.links, self._looked)

    @property
    def is_looking(self) -> bool:
        """Were we frozen, and do we still find out which links survived it?"""
        return self._stall is not None

    def _looked(self, ended: Sequence[Link]) -> None:
        self._stall = None
        if ended:
            log.warning("meanwhile peers have ended %d links", len(ended))
        with contained(self.thawed, self.abort_all):
            self.thawed(ended)

    def _tick(self) -> None:
        """Four times a heartbeat: ping on quiet links, close those that were silent too long."""
        now = self.now()
        self._look_at_clock(now)
        self._last_tick = now
        with contained(self):
            if not self.has_deadline and (text := self._notice.look(self.lacks(), now)):
                log.warning("waiting: %s", text)
        if self._stall:
            return  # `Stall` reads what has arrived meanwhile
        with contained(self.ticked):
            self.ticked()
        for link in list(self.links):
            with contained(link, link.abort):
                silent_s = 0.0 if link.is_behind else now - link.heard
                if silent_s > SILENT_HEARTBEATS * self.heartbeat_s:
                    link.abort(f"was silent for {silent_s:.1f} s")
                elif now - max(min(link.heard, link.said), link.pinged) > self.heartbeat_s:
                    link.ping()

    def thawed(self, ended: Sequence[Link]) -> None:
        """Called after a stall: peers have ended these links meanwhile, and they are down.

        No message of the other links is handled yet.
        """

    def abort_all(self) -> None:
        """Close all links at once."""
        for link in list(self.links):
            link.abort()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log the loop's own faults. Being out of files is the machine's state, not a bug."""
    fault = context.get("exception")
    if isinstance(fault, OSError) and fault.errno in (errno.EMFILE, errno.ENFILE):
        log.warning("no free file for another connection; it waits")
    else:
        loop.default_exception_handler(context)


class DirectoryTalk(Conversation):
    """A node's side of its link with the directory."""

    def __init__(self, node: Node, watched: dict[str, list[Callable[[], None]]]) -> None:
        super().__init__()
        self.add_handler(Routes, self.on_routes)
        self._node = node
        self._watched = watched
        self.link: Link | None = None  # while it is up
        self.told: set[str] = set()  # services whose routes came over it

    def link_up(self, link: Link) -> None:
        self.link = link
        self.told.clear()
        self._node.trouble = ""
        self._node.directory_epoch = link.peer.epoch
        self.announce()  # first, so that the routes of our services include us
        watched = dict.fromkeys(self._watched)
        if "" in watched:
            # A watcher of everything is sent all that the directory knows. It knows nothing of a
            # service that ended with the last directory; so we watch that by name.
            watched |= dict.fromkeys(self._node.routes.served)
        for service in watched:
            link.send(messages.encode(Watch(service)))

    def announce(self) -> None:
        if self.link:
            for message in self._node.announcements():
                self.link.send(message)

    def on_routes(self, link: Link, routes: Routes) -> None:
        service = routes.address
        targets = [Target(*instance[:4]) for instance in routes.targets]
        changed = self._node.routes.update(service, routes.policy, targets)
        self.told.add(service)
        if changed or service not in self._node.told:
            if len(self._node.told) >= MAX_ROUTES:
                self._node.told.intersection_update(self._node.routes.services)
            self._node.told.add(service)
            log.debug("%s is served by %s", service, [t.name for t in targets])
            for watched, callbacks in list(self._watched.items()):
                if matches(watched, service):
                    for callback in list(callbacks):
                        with contained(callback):
                            callback()

    def link_down(self, link: Link) -> None:
        if self.link is link:
            self.link = None
