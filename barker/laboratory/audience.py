"""Audience: reads many inboxes, and remembers each reader's barks, their order, and when.

It remembers all of it, so it is for experiments and tests, not for a client that runs for long.
"""

from collections.abc import Sequence
from typing import Any

from barker.client.reader import Reader
from barker.laboratory.verdict import Key, Shown
from barker.process.node import Node


class Audience:
    """A part of a node. It has no readers before `read`."""

    def __init__(self, node: Node) -> None:
        self.shown: dict[str, list[Shown]] = {}  # by reader
        self.got: set[Key] = set()  # all that was shown
        self.shown_at: list[float] = []  # when, by the node's clock
        self.first_shown: dict[str, float] = {}  # by id, when the first reader was shown it
        self.refused: list[tuple[str, str]] = []  # users without an inbox, and why
        self._node = node
        self._readers: list[Reader] = []

    def read(self, users: Sequence[str], history: int = 0) -> None:
        """Read the inboxes of these users too: the last barks there, and all later ones."""
        for user in users:
            self.shown[user] = []
        reader = Reader(self._node, list(users), self.show, self._refused, history)
        self._readers.append(reader)
        reader.dial()

    def show(self, reader: str, body: dict[str, Any], late: bool) -> None:
        """This reader was shown a bark just now; also by another program than ours."""
        at = self._node.now()
        self.shown[reader].append(Shown(body["user"], body["id"], body["content"], late, at))
        self.got.add((reader, body["id"]))
        self.shown_at.append(at)
        self.first_shown.setdefault(body["id"], at)

    def _refused(self, user: str, reason: str) -> None:
        self.refused.append((user, reason))

    @property
    def is_ready(self) -> bool:
        """Has every inbox answered? Then later barks are not the past."""
        return all(reader.is_ready for reader in self._readers)

    @property
    def sources(self) -> set[str]:
        """Names of the instances to which there is a link."""
        return {name for reader in self._readers for name in reader.peers}

    @property
    def late(self) -> set[Key]:
        """The barks that an inbox has marked as late."""
        return {(reader, b.id) for reader, barks in self.shown.items() for b in barks if b.late}

    @property
    def gaps(self) -> int:
        """How many gaps the readers were sent."""
        return sum(reader.gaps for reader in self._readers)
