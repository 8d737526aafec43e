"""Fleet: start local processes, label their lines, stop them all together.

No asyncio here: a launcher waits for a signal, while threads copy lines. However the launcher ends,
its children end too (`barker.launching.child`). A child of the program ``controls`` may request
that others are killed or started. The main thread does that, like everything else to a process.
"""

import contextlib
import functools
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from barker.launching.child import ChildProcess
from barker.launching.commands import Command
from barker.launching.slots import CAN_FREEZE, Refused, Slot, Slots, status_text
from barker.launching.talk import (
    READY_LINE,
    Mailbox,
    Request,
    answer_line,
    parse_request,
    state_line,
)
from barker.process import terminal
from barker.process.arguments import CONTROLLED, LEASH
from barker.process.terminal import is_nohup
from barker.wire.rights import CONTROLS

# Between the request to stop and the kill. Most children end within milliseconds; an inbox that
# hands over to others takes up to five seconds, and every node two for its links.
PATIENCE_S = 8.0

# When the launcher names the services that are not ready yet.
SLOW_START_S = 10.0

# Labels are padded to this, so that lines stay short; a longer label sticks out.
LABEL_COLUMNS = 10

# How often, at least, the main thread looks after its children.
LOOK_S = 0.5

# Colours of labels that can be read on black and on white.
_COLOURS = (36, 33, 35, 32, 34, 31)

# These stand among the numbers of signals: our output can't be written; all services are ready.
_UNREAD = 0
_READY = -1


class Fleet:
    """Children that were started together; their lines go to our standard output."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._slots = Slots(self._begin)
        self._children: dict[ChildProcess, Slot] = {}
        self._mailboxes: dict[ChildProcess, Mailbox] = {}  # of those that are `controls`
        self._events: queue.SimpleQueue[ChildProcess | Request | int] = queue.SimpleQueue()
        self._begun = 0
        self._print_lock = threading.Lock()
        self._width = 0
        self._stopping = False
        self._unread = False
        self._starting: set[str] = set()  # labels of services that have not printed READY
        self._ready = 0
        self._all_ready = False
        self._slow_at = 0.0
        self._colour = terminal.wants_colour(sys.stdout)

    def stop_on_signals(self) -> None:
        """From now on, Ctrl-C and its relatives make `run` stop all children."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number and not is_nohup(number):
                signal.signal(number, lambda number, _: self._events.put(number))

    def start(self, commands: Sequence[Command]) -> None:
        """Start all of them at once, with a printed line for each."""
        self._width = min(LABEL_COLUMNS, max(len(c.label) for c in commands))
        services = {c.label for c in commands if c.port}
        if len(services) > 1:  # a single one prints READY itself
            self._starting = services
        else:
            self._events.put(_READY)
        self._slow_at = time.monotonic() + SLOW_START_S
        for slot in [self._slots.add(command) for command in commands]:
            self._begin(slot, slot.command.first)
        self._report()

    def _begin(self, slot: Slot, more: Sequence[str] = ()) -> None:
        """Start the command of this slot, with `more` flags. Raises OSError."""
        command = slot.command
        popen: dict[str, Any] = {}
        if command.program == CONTROLS:
            popen = {"env": {**os.environ, LEASH: CONTROLLED}, "stderr": subprocess.PIPE}
        child = ChildProcess([*command.argv, *more], **popen)
        slot.began(child)
        self._children[child] = slot
        if command.program == CONTROLS:
            self._mailboxes[child] = Mailbox(child)
        self.say(f"[{child.pid}] {command.short}")
        label = f"{command.label:<{self._width}} | "
        if self._colour:
            label = f"\033[{_COLOURS[self._begun % len(_COLOURS)]}m{label}\033[0m"
        self._begun += 1
        child.read(
            functools.partial(self._said, child, command.label, label),
            functools.partial(self._ended, child),
            functools.partial(self.say, label=label),
        )
        if self._all_ready:
            self._notify_that_all_is_ready(child)

    def say(self, *lines: str, label: str = "") -> None:
        """Lines to standard output, never mixed with others'.

        If it can't be written (launch.py | head), `run` ends.
        """
        with self._print_lock:
            if not self._unread and not terminal.say(self._program, *lines, label=label):
                self._unread = True
                self._events.put(_UNREAD)

    def run(self) -> int:
        """Report children that end by themselves, until a signal or the last of them.

        The exit status: 1 if our output can't be written, or if all of them have ended by
        themselves and not all of them well; else 0.
        """
        failed = False
        while self._children:
            try:
                event = self._events.get(timeout=LOOK_S)
            except queue.Empty:  # on Windows a wait without an end can't be interrupted
                self._look_for_slow_ones()
                if self._mailboxes and self._slots.look():
                    self._report()
                continue
            if event == _READY:
                self._all_ready = True
                for child in self._children:
                    self._notify_that_all_is_ready(child)
            elif isinstance(event, Request):
                self._perform(event)
            elif isinstance(event, int):
                if event == signal.SIGINT:
                    terminal.end_line()
                failed = event == _UNREAD
                break
            else:
                failed = self._reap(event) or failed
        self.stop()
        return int(failed)

    def _reap(self, child: ChildProcess) -> bool:
        """Take leave of a child that has ended. True if it failed, and by itself."""
        slot = self._children.pop(child)
        if mailbox := self._mailboxes.pop(child, None):
            mailbox.close()
        status = child.popen.wait()
        child.close()
        slot.has_ended(status)
        self.say(f"[{child.pid}] {slot.command.label} ended: {status_text(status)}")
        self._started(slot.command.label)
        self._report()
        return status != 0 and not slot.is_expected

    # --- requests of `controls` ---

    def _perform(self, request: Request) -> None:
        changed = self._slots.look()  # what a terminal has frozen meanwhile no longer runs
        why = ""
        try:
            done = self._slots.perform(request.act, request.process)
            self.say(f"controls: {done}")
            changed = True
        except Refused as fault:
            why = str(fault)
        if changed:  # no later look sees it again
            self._report()
        for mailbox in self._mailboxes.values():
            mailbox.answer(answer_line(request.n, why))

    def _report(self) -> None:
        """Send `controls` the state of all processes."""
        if self._mailboxes:
            line = state_line(self._slots.report())
            for mailbox in self._mailboxes.values():
                mailbox.show(line)

    def stop(self) -> None:
        """Request all to stop, then kill the others."""
        self._stopping = True
        for mailbox in self._mailboxes.values():
            mailbox.close()
        for child in self._children:
            child.stop()
            if CAN_FREEZE:
                child.thaw()  # a frozen one would not end
        deadline = time.monotonic() + PATIENCE_S
        for child in self._children:
            child.close(max(0.0, deadline - time.monotonic()))

    def _started(self, label: str, ready: int = 0) -> bool:
        """Take a service that is ready, or has ended, off the list of those that start.

        One line follows when the list is empty. False if the service was not on it.
        """
        with self._print_lock:
            if label not in self._starting:
                return False
            self._starting.discard(label)
            self._ready += ready
            done, count = not self._starting, self._ready
        if done:
            self.say(f"Ready: {count} services.")
            self._events.put(_READY)
        return True

    def _notify_that_all_is_ready(self, child: ChildProcess) -> None:
        """From now on it logs what it misses (`barker.process.waiting`)."""
        if mailbox := self._mailboxes.get(child):
            mailbox.answer(READY_LINE)
            return
        with contextlib.suppress(OSError):  # it has ended
            child.send(READY_LINE)

    def _look_for_slow_ones(self) -> None:
        with self._print_lock:
            slow = sorted(self._starting) if time.monotonic() > self._slow_at else []
        if slow:
            self._slow_at = math.inf
            self.say(f"Not ready after {SLOW_START_S:g} s: {', '.join(slow)}")

    def _said(self, child: ChildProcess, name: str, label: str, line: str) -> None:
        """Called by a thread that has read that line of a child's standard output."""
        if child in self._mailboxes and (request := parse_request(line)):
            self._events.put(request)
        elif not (line.startswith("READY ") and self._started(name, ready=1)):
            self.say(line, label=label)

    def _ended(self, child: ChildProcess) -> None:
        """Called by a thread that has read the last line of that child."""
        if not self._stopping:
            self._events.put(child)
