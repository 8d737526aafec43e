"""What actions need to know of a run, and where they leave what they have seen."""

import asyncio
import contextlib
import pathlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from barker.laboratory.blows import Blow
from barker.laboratory.crowd import Crowd
from barker.laboratory.lab import Lab
from tests.chaos.journals import retained, unsettled
from tests.chaos.strangers import Strangers
from tests.tools.children import SCALE, until
from tests.tools.fleet import People

# Barks of the last half minute or so, and how long an old journal waits for them to be shown.
LATELY = 5_000
PATIENCE_S = 10.0 * SCALE


class Gate:
    """Many may be inside at once, or one who wants to be alone."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = False
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def inside(self, *, alone: bool = False) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(
                lambda: not (self._alone or (alone and self._inside)),
            )
            self._inside += 1
            self._alone = alone
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._alone = False
                self._changed.notify_all()


@dataclass
class Scene:
    """One run, as far as actions are concerned."""

    lab: Lab
    crowd: Crowd
    people: People
    done: Counter[str] = field(default_factory=Counter)  # by action, how often
    # By event, how many strangers were refused while nobody read that they were.
    refused: list[tuple[Blow, int]] = field(default_factory=list)
    strangers: Strangers = field(default_factory=Strangers)
    # Two followers services whose old journals are put back at once have lost what both had.
    followers: Gate = field(default_factory=Gate)
    # The only followers service that had all was hurt: one that lacks what it has may take over.
    alone: bool = False

    def others_serve(self, name: str) -> bool:
        """Does any followers service but this one have all that is acked?"""
        graphs = self.crowd.graphs
        return bool((graphs.complete.keys() & graphs.peers.keys()) - {name})

    def go_alone(self) -> None:
        """What newcomers are due rests on what holds; from now on it may not, for a while."""
        self.alone = True
        people = self.people
        due = {(reader, id_) for id_, readers in people.also.items() for reader in readers}
        people.excused |= due - people.audience.got
        people.also_due = lambda author, text: ()

    async def shown_so_far(self) -> None:
        """Wait for a while until readers have what was said lately: so that little is excused."""
        due = self.people.expected(self.people.producer.said[-LATELY:])
        with contextlib.suppress(AssertionError):  # somebody else is frozen
            await until(lambda: due <= self.people.audience.got, "all is shown", PATIENCE_S)

    async def excuse(self, kind: str, gone: pathlib.Path, copy: pathlib.Path) -> None:
        """Instead of the journal in `gone` there will be its older `copy`: what that takes away."""
        in_thread = asyncio.to_thread
        if kind == "outbox":
            ids = await in_thread(unsettled, gone) - await in_thread(unsettled, copy)
            for said in self.people.producer.said:
                if said.bark.id in ids:
                    self.people.excused |= self.people.due(said)
            for asked in self.crowd.asked:
                asked.excused = asked.excused or asked.event.id in ids
        elif kind == "inbox":
            pairs = await in_thread(retained, gone) - await in_thread(retained, copy)
            self.people.excused |= pairs - self.people.audience.got
