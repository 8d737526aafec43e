"""The suggestions service: tells users whom they might want to follow.

    python -m barker.suggestions

It keeps a copy of the graph (`barker.graph.feed`), and when the graph changes, looks at those whom
the change affects (`barker.graph.friends`). What is new to suggest goes to the user's inbox as a
message of the kind ``suggestion``. Its id is made of the two names, so an inbox that has it already
drops it; therefore this service keeps nothing on disk, and two of them do no harm.
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
from barker.process.slices import Steps
from barker.wire import strictjson
from barker.wire.bodies import SUGGESTER, SUGGESTION
from barker.wire.ops import Item

# Who is affected waits for this long: so one user is looked at once a second, at most.
GATHER_S = 1.0
# We look at users for so long at a time, and then do nothing for four times as long: a graph that
# changes all the time costs a fifth of a core, and suggestions come later.
WORK_S = 0.005
PAUSE_S = 4 * WORK_S
# Suggestions on their way to inboxes; behind them, the rest of the users waits.
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
        self._due: deque[tuple[float, str]] = deque()  # when whose turn is, in order
        self._waiting: set[str] = set()
        self._made = 0
        self._ticker = Ticker(self.later, self._delay_s, self._work)

    # --- who is affected ---

    def changed(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.whom:  # one who has only joined, follows nobody
                self._await(self._suggester.affected(change))

    def replaced(self, graph: Graph) -> None:
        """Another graph: all users may be affected."""
        self._suggester.use(graph)
        self.slices.add(self._await_all(list(graph.names)))

    def _await_all(self, users: Sequence[str]) -> Steps:
        for user in users:
            self._await([user])
            yield

    def _await(self, users: Iterable[str]) -> None:
        due = self.now() + GATHER_S
        for user in users:
            if user not in self._waiting:
                self._waiting.add(user)
                self._due.append((due, user))
        self._ticker.start()

    def _delay_s(self) -> float | None:
        """Until the next turn; None if no user waits for one."""
        return max(PAUSE_S, self._due[0][0] - self.now()) if self._due else None

    def _work(self) -> None:
        """Look at those whose turn it is, for a moment."""
        turns, now = self._due, self.now()
        try:
            while turns and turns[0][0] <= now and self.now() - now < WORK_S:
                if len(self._inboxes) >= MAX_ON_THEIR_WAY:
                    break
                user = turns.popleft()[1]
                self._waiting.discard(user)
                for suggestion in self._suggester.suggest(user):
                    item = Item(body_of(suggestion))
                    self._inboxes.put(f"inbox/{user}", item, user)
                    self._made += 1
        finally:  # what was made before a fault is sent all the same
            self._inboxes.pump()

    # --- being watched ---

    def gauges(self) -> dict[str, Any]:
        return {
            **super().gauges(),
            **self._inboxes.gauges(),
            "in": self._made,
            "streams": self._suggester.open,
            "affected": len(self._waiting),
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
    """A suggestion as its user's inbox takes it."""
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
