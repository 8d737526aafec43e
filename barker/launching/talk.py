"""Talk: the lines between a launcher and its ``controls``, over the pipes of that child.

    controls -> launcher    REQUEST {"n":1,"act":"kill","process":"outbox-5801"}
    launcher -> controls    {"n":1,"why":""}        done; or why not
                            {"state":{...}}         all processes, after each change

A frozen ``controls`` does not read, and its pipe fills. So a thread writes to it, and the launcher
never waits. Of the states that are not written yet, the newest is enough.
"""

import contextlib
import threading
from collections import deque
from typing import Any, NamedTuple

from barker.launching.child import ChildProcess
from barker.wire import strictjson
from barker.wire.fields import is_count, is_name
from barker.wire.protocol import BadMessage

# Requests on their way to the launcher; beyond it, `controls` refuses more as ``full``.
MAX_REQUESTS = 32
# A larger state is sent without its commands, so that it fits a line of the protocol.
MAX_STATE_BYTES = 60_000
# A state as the launcher writes it, and a little more. Longer lines are dropped.
MAX_REPORT_BYTES = MAX_STATE_BYTES + 1000

_REQUEST = "REQUEST "
# All processes are ready, which every child of a launcher is sent.
READY_LINE = "ready"


class Request(NamedTuple):
    """One request of `controls`, which numbers them."""

    n: int
    act: str
    process: str


def request_line(request: Request) -> str:
    return _REQUEST + strictjson.dumps(request._asdict()).decode()


def parse_request(line: str) -> Request | None:
    """The request in a line of that child's output, if there is one."""
    if not line.startswith(_REQUEST):
        return None
    try:
        fields = strictjson.loads(line.removeprefix(_REQUEST).encode())
        request = Request(**fields)
    except (BadMessage, TypeError):
        return None
    fine = is_count(request.n) and is_name(request.act) and is_name(request.process)
    return request if fine else None


def answer_line(n: int, why: str) -> str:
    return strictjson.dumps({"n": n, "why": why}).decode()


def state_line(state: dict[str, Any]) -> str:
    line = strictjson.dumps({"state": state})
    if len(line) > MAX_STATE_BYTES:  # long flags, many processes
        rows = [{**row, "start": None, "more": None} for row in state["processes"]]
        line = strictjson.dumps({"state": {**state, "processes": rows}})
    return line.decode()


class Mailbox:
    """Lines for the standard input of one child, written by a thread of their own."""

    def __init__(self, child: ChildProcess) -> None:
        self._child = child
        self._answers: deque[str] = deque(maxlen=MAX_REQUESTS)
        self._state = ""
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._write_all, name="mailbox", daemon=True).start()

    def answer(self, line: str) -> None:
        with self._changed:
            self._answers.append(line)
            self._changed.notify()

    def show(self, state: str) -> None:
        """Send this state, unless a newer one comes before."""
        with self._changed:
            self._state = state
            self._changed.notify()

    def close(self) -> None:
        """Write nothing more. A write that waits goes on until the child reads, or ends."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _write_all(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # it has ended, or its input is closed
            while True:
                with self._changed:
                    while not (self._answers or self._state or self._closed):
                        self._changed.wait()
                    if self._closed:
                        return
                    lines = [*self._answers, *filter(None, [self._state])]
                    self._answers.clear()
                    self._state = ""
                for line in lines:
                    self._child.send(line)
