"""The suggestions service: suggests to users whom they might follow.

    python -m barker.suggestions

It keeps a copy of the graph (`barker.graph.feed`), and when the graph changes, looks at the users
that the change affects (`barker.graph.friends`). A new suggestion goes to the user's inbox as a
message of the kind ``suggestion``. Its id is made of the two names, so an inbox that has it already
drops it. Therefore this service keeps nothing on disk, and two of them do no harm.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from barker.delivery.sender import Sender, report_refusal
from barker.graph.feed import GRAPH, Feed
from barker.graph.friends import Suggester, Suggestion, text_of
from barker.graph.graph import Change, Graph
from barker.process.faults import Ticker
from barker.process.service import Service, run_service
from barker.wire import strictjson
from barker.wire.bodies import SUGGESTER, SUGGESTION
from barker.wire.ops import Item

# An affected user waits for this long, and so is looked at once a second, at most.
GATHER_S = 1.0
# We look at users for so long at a time, and then pause for four times as long: a graph that always
# changes costs a fifth of a core, and suggestions come later.
WORK_S = 0.005
PAUSE_S = 4 * WORK_S
# Suggestions on their way to inboxes; beyond it, the other users wait.
MAX_ON_THEIR_WAY = 1000


ABOUT = """\
Run the service that suggests to users whom they might follow. It keeps nothing on disk.
"""
EXAMPLES = (
    "--port 5695",
    "--port 5696 -v",
)


class Suggestions(Service):
    kind = "suggestions"
    default_port = 5695
    needs: ClassVar = {GRAPH: "followers"}

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._copy = Copy(self)
        self._inboxes: Sender[str] = Sender(self, "inbox", lambda batches: None, report_refusal)
        self._suggester = Suggester(self._copy.held)
        self._due: deque[tuple[float, str]] = deque()  # when which user's turn is, in order
        self._waiting: set[str] = set()
        self._others: list[str] = []  # the users of another graph, whose turn is between these
        self._made = 0
        self._ticker = Ticker(self.later, self._delay_s, self._work)

    # --- affected users ---

    def changed(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.whom:  # a user who has only joined follows none
                self._await(self._suggester.affected(change))

    def replaced(self, graph: Graph) -> None:
        """Another graph: all users may be affected."""
        self._suggester.use(graph)
        self._others = list(graph.names)
        self._ticker.start()

    def _await(self, users: Iterable[str]) -> None:
        due = self.now() + GATHER_S
        for user in users:
            if user not in self._waiting:
                self._waiting.add(user)
                self._due.append((due, user))
        self._ticker.start()

    def _delay_s(self) -> float | None:
        """Until the next turn; None if no user waits for one."""
        if self._others:
            return PAUSE_S
        return max(PAUSE_S, self._due[0][0] - self.now()) if self._due else None

    def _work(self) -> None:
        """Look at the users whose turn it is, for a moment."""
        now = self.now()
        try:
            while self.now() - now < WORK_S and len(self._inboxes) < MAX_ON_THEIR_WAY:
                user = self._next(now)
                if user is None:
                    break
                for suggestion in self._suggester.suggest(user):
                    item = Item(body_of(suggestion))
                    self._inboxes.put(f"inbox/{user}", item, user)
                    self._made += 1
        finally:  # suggestions that were made before a fault are sent all the same
            self._inboxes.pump()

    def _next(self, now: float) -> str | None:
        """The user whose turn it is."""
        if self._due and self._due[0][0] <= now:
            user = self._due.popleft()[1]
            self._waiting.discard(user)
            return user
        return self._others.pop() if self._others else None

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        return {
            **super().gauges(),
            **self._inboxes.gauges(),
            "in": self._made,
            "streams": self._suggester.open,
            "affected": len(self._waiting) + len(self._others),
        }


class Copy(Feed[Graph]):
    """Our copy of the graph."""

    def __init__(self, service: Suggestions) -> None:
        super().__init__(service, Graph)
        self._service = service

    def changed(self, changes: Sequence[Change]) -> None:
        self._service.changed(changes)

    def replaced(self) -> None:
        self._service.replaced(self.held)


def body_of(suggestion: Suggestion) -> bytes:
    """A suggestion as a body for its user's inbox."""
    user, whom, common, _ = suggestion
    body = {
        "kind": SUGGESTION,
        "id": f"{user}-{whom}",
        "user": SUGGESTER,
        "at": time.time_ns() // 1_000_000,
        "whom": whom,
        "common": common,
        "content": text_of(suggestion),
    }
    return strictjson.dumps(body)


def main(argv: list[str] | None = None) -> int:
    return run_service(Suggestions, "suggestions", ABOUT, EXAMPLES, argv)


if __name__ == "__main__":
    sys.exit(main())
