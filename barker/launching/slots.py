"""Slots: the list of a launcher, and which of its commands run; what a request does to them.

A request names a label of the list, and never a process id. So nothing is signalled but a process
that this launcher has started and has not yet reaped.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from barker.launching.child import ChildProcess
from barker.launching.commands import Command, another, busy_ports
from barker.wire.rights import CONTROLS

# Commands on the list of one launcher, of some 25 MB each while they run. "One more" of a program
# is refused beyond it.
MAX_COMMANDS = 40
# Taken ports that are passed over for one more of a program.
PORT_TRIES = 20

RUNNING, FROZEN, ENDED = "running", "frozen", "ended"
ACTS = ("kill", "freeze", "thaw", "stop", "start", "more")
# Can a process be frozen here? (Not on Windows.)
CAN_FREEZE = hasattr(signal, "SIGSTOP")
# The words before a process id, as a reader types them; Windows has no others.
TYPED = (
    {"kill": "kill -9", "freeze": "kill -STOP", "thaw": "kill -CONT", "stop": "kill"}
    if os.name == "posix"
    else {"kill": "taskkill /F /PID"}
)
# A system has one of each.
SINGLE = ("directory", CONTROLS)


class Refused(Exception):
    """A request that is not done; the text has the reason."""


class Slot:
    """One command of the list, and the process that runs it, if one does."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.child: ChildProcess | None = None
        self.ended = ""  # how its last process ended
        self.is_frozen = False
        self.is_expected = False  # its end was requested

    @property
    def state(self) -> str:
        return ENDED if self.child is None else FROZEN if self.is_frozen else RUNNING

    def began(self, child: ChildProcess) -> None:
        self.child, self.ended = child, ""
        self.is_frozen = self.is_expected = False

    def has_ended(self, status: int) -> None:
        self.child, self.ended, self.is_frozen = None, status_text(status), False

    def look(self) -> bool:
        """Has it been frozen or thawed in another way, in a terminal perhaps, since the last look?

        Nothing is reaped. (Where Python lacks `waitid`, it isn't noticed.)
        """
        if self.child is None or sys.platform == "win32" or not hasattr(os, "waitid"):
            return False
        was = self.is_frozen
        try:
            flags = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
            while change := os.waitid(os.P_PID, self.child.pid, flags):
                self.is_frozen = change.si_code == os.CLD_STOPPED
        except ChildProcessError:
            pass  # it has ended, and is reaped
        return self.is_frozen != was

    # --- requests ---

    def kill(self) -> None:
        self._running().kill()
        self.is_expected = True

    def stop(self) -> None:
        child = self._running()
        if self.is_frozen:
            raise Refused(f"{self.command.label} is frozen, and would stop once it is thawed")
        child.stop()
        self.is_expected = True

    def freeze(self) -> None:
        self._check_can_freeze()
        self._running().freeze()
        self.is_frozen = True

    def thaw(self) -> None:
        self._check_can_freeze()
        child = self._running()
        if not self.is_frozen:
            raise Refused(f"{self.command.label} is not frozen")
        child.thaw()
        self.is_frozen = False

    def _running(self) -> ChildProcess:
        if self.child is None or self.child.status is not None:
            raise Refused(f"{self.command.label} does not run")
        return self.child

    @staticmethod
    def _check_can_freeze() -> None:
        if not CAN_FREEZE:
            raise Refused("this system can't freeze a process")


class Slots:
    """All of them, by label, in the order of the list."""

    def __init__(self, start: Callable[[Slot], None]) -> None:
        """`start` starts the command of a slot that has no process. Raises OSError."""
        self._start = start
        self._slots: dict[str, Slot] = {}

    def add(self, command: Command) -> Slot:
        slot = self._slots[command.label] = Slot(command)
        return slot

    def look(self) -> bool:
        """See `Slot.look`; True if it is so for one of them."""
        changed = [slot.look() for slot in self._slots.values()]
        return any(changed)

    def perform(self, act: str, label: str) -> str:
        """Do that, with the process of that label; what was done, as a line. Raises Refused."""
        slot = self._slots.get(label)
        if slot is None:
            raise Refused(f"{label} is no process of this launcher")
        if slot.command.program == CONTROLS:
            raise Refused("controls does not act on itself")
        if act == "more":
            return self._one_more(slot)
        if act == "start":
            if slot.child is not None:
                raise Refused(f"{label} runs already")
            self._try_to_start(slot)
            return f"{label}: started again"
        methods = {"kill": slot.kill, "stop": slot.stop, "freeze": slot.freeze, "thaw": slot.thaw}
        if act not in methods:
            raise Refused(f"there is no act {act}")
        methods[act]()
        return f"{label}: {TYPED.get(act, act)}"

    def _one_more(self, slot: Slot) -> str:
        if slot.command.program in SINGLE:
            raise Refused(f"there is one {slot.command.program} in a system")
        if len(self._slots) >= MAX_COMMANDS:
            raise Refused(f"{MAX_COMMANDS} commands are on the list, and no more may come")
        try:
            command = self._free(slot.command)
        except (ValueError, OSError) as fault:
            raise Refused(str(fault)) from None
        slot = self.add(command)
        try:
            self._try_to_start(slot)
        except Refused:
            del self._slots[command.label]
            raise
        return f"{command.label}: one more"

    def _free(self, command: Command) -> Command:
        """One more of that program, at a port that is free. Raises ValueError or OSError."""
        known = [slot.command for slot in self._slots.values()]
        for _ in range(PORT_TRIES):
            found = another(command, known)
            if not busy_ports([found]):
                return found
            known.append(found)
        raise ValueError(f"{PORT_TRIES} ports behind {command.label} are taken")

    def _try_to_start(self, slot: Slot) -> None:
        try:
            self._start(slot)
        except OSError as fault:
            raise Refused(f"{slot.command.label} can't be started: {fault.strerror}") from None

    def report(self) -> dict[str, Any]:
        """The state of all, for `controls`."""
        return {
            "typed": TYPED if CAN_FREEZE or os.name != "posix" else {"kill": TYPED["kill"]},
            "processes": [self._row(slot) for slot in self._slots.values()],
        }

    def _row(self, slot: Slot) -> dict[str, Any]:
        command = slot.command
        more = None
        if command.program not in SINGLE and len(self._slots) < MAX_COMMANDS:
            try:
                more = another(command, [s.command for s in self._slots.values()]).typed
            except ValueError:
                pass
        return {
            "process": command.label,
            "program": command.program,
            "pid": slot.child.pid if slot.child else None,
            "state": slot.state,
            "ended": slot.ended,
            "start": command.typed,
            "more": more,
        }


def status_text(code: int) -> str:
    if code >= 0:
        return f"status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
