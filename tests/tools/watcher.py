"""A watcher: a node inside a test that is sent the samples of every agent."""

import argparse
import time
from typing import Any

from barker.laboratory.agents import Agents
from tests.tools.fleet import DEADLINE_S, Guest, until


class Watcher(Guest):
    kind = "watcher"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.agents = Agents(self)

    def latest(self, kind: str) -> dict[str, Any]:
        """The last sample of an agent of that kind; empty if there is none yet."""
        some = [sample for sample in self.agents.samples.values() if sample["kind"] == kind]
        return max(some, key=lambda sample: int(sample["at"]), default={})

    async def figure(self, kind: str, name: str, deadline_s: float = 30 * DEADLINE_S) -> Any:
        """Of a sample that is taken from now on."""
        asked = time.time_ns() // 1_000_000
        await until(lambda: self.latest(kind).get("at", 0) > asked, "a sample", deadline_s)
        return self.latest(kind)[name]
