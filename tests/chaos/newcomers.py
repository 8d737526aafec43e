"""Users who join while everything else happens, who bark, follow, and are followed and mentioned.

What is due follows from what they are told. Who was told that a join is acked may bark, and reads
it; what a list says (``graph/USER``) holds, so whoever is a follower there is shown what is barked
from then on, and whoever exists there may be mentioned and followed.
"""

import asyncio
import functools
import random
from collections.abc import Callable, Collection, Sequence

from barker.laboratory.crowd import Asked, Crowd
from barker.laboratory.producer import SaidBark
from barker.wire.bodies import FOLLOW, JOIN, mentions
from barker.wire.protocol import NAME_TAKEN
from tests.tools.fleet import People, until

# People who want one name, each under an id of their own, and the time between them at most.
RIVALS = 2
RIVAL_AFTER_S = 1.0
# From one bark of a newcomer, or to one, to the next.
CHAT_EVERY_S = 0.05


class Newcomers:
    """All who have joined so far. Use: `wave` for some more of them, `chat` meanwhile."""

    def __init__(self, crowd: Crowd, people: People, old: Sequence[str], seed: int) -> None:
        """`old` are users whom everybody knows."""
        self.joined = 0
        self.known: list[str] = []  # whose join holds
        self.undone: set[str] = set()  # whose join an old journal has taken away
        self.claims: dict[str, list[Asked]] = {}  # by name, all joins
        # Ids of what was said on the strength of a join that an outbox had acked, and that no other
        # knew yet. If that outbox goes away meanwhile, another one refuses it.
        self.early: set[str] = set()
        self._crowd = crowd
        self._people = people
        self._old = old
        self._dice = random.Random(seed)
        self._asked: dict[str, set[str]] = {}  # by author, who was ever asked to follow
        self._followers: dict[str, set[str]] = {}  # by author, whose follow holds
        people.also_due = self._due

    def _due(self, author: str, text: str) -> Collection[str]:
        """Whom a bark of this moment is to be shown, besides those whom the world has for it."""
        mentioned = {name for name in mentions(text) if name in self.known}
        return self._followers.get(author, set()) | mentioned

    def possible(self, said: SaidBark) -> set[str]:
        """Who may have been shown a bark, whenever it was put to inboxes."""
        return self._asked.get(said.bark.user, set()) | set(mentions(said.bark.content))

    def given_twice(self) -> list[tuple[str, str, str]]:
        """Names that two were told yes for, with the ids of these two."""
        given = {
            name: [asked.event.id for asked in claims if asked.acked]
            for name, claims in self.claims.items()
            if not any(asked.excused for asked in claims)
        }
        return [(name, ids[0], ids[1]) for name, ids in given.items() if len(ids) > 1]

    def has_lost(self, asked: Asked) -> bool:
        """Has another one the name that this join asks for?"""
        rivals = self.claims.get(asked.event.user, []) if asked.event.kind == JOIN else []
        return asked.refused == NAME_TAKEN and any(rival.acked for rival in rivals)

    async def wave(self, count: int, deadline_s: float) -> None:
        """So many join. AssertionError if it does not come to hold before the deadline."""
        names = [f"new{self.joined + i}" for i in range(count)]
        self.joined += count
        for _ in range(RIVALS):
            for name in names:
                self.claims.setdefault(name, []).append(self._crowd.ask(JOIN, name))
            self._crowd.pump()
            await asyncio.sleep(self._dice.uniform(0, RIVAL_AFTER_S))
        claims = [asked for name in names for asked in self.claims[name]]
        await self._answered(claims, deadline_s)
        joins = {n: next((c for c in self.claims[n] if c.acked), claims[0]) for n in names}
        # An outbox has acked it, and nobody else need have heard of it yet.
        said = self._people.producer.say(names)
        follows = [self._follow(name, self._dice.choice(self._old)) for name in names]
        if self.known:
            follows.append(self._follow(names[0], self._dice.choice(self.known)))
        self.early |= {s.bark.id for s in said} | {asked.event.id for asked in follows}
        for name in names:
            self._crowd.lists.ask(name)
        exists = self._crowd.lists.exists
        await self._all_hold(
            [(joins[name], functools.partial(exists, name)) for name in names], deadline_s
        )
        there = [name for name in names if exists(name)]
        self.undone.update(set(names) - set(there))
        self._people.welcome(there)
        self.known += there
        follows += [self._follow(self._dice.choice(self._old), name) for name in there]
        await self._come_to_hold(follows, deadline_s)

    def _follow(self, user: str, whom: str) -> Asked:
        self._asked.setdefault(whom, set()).add(user)
        asked = self._crowd.ask(FOLLOW, user, whom)
        self._crowd.pump()
        return asked

    async def _answered(self, asked: Collection[Asked], deadline_s: float) -> None:
        self._crowd.pump()
        await until(lambda: all(a.acked or a.refused for a in asked), "an answer", deadline_s)

    async def _come_to_hold(self, follows: Sequence[Asked], deadline_s: float) -> None:
        await self._answered(follows, deadline_s)
        lists = self._crowd.lists

        def holds(asked: Asked) -> Callable[[], bool]:
            lists.ask(asked.event.user)

            def look() -> bool:
                if not lists.follows(asked.event.user, asked.event.whom):
                    return False
                self._followers.setdefault(asked.event.whom, set()).add(asked.event.user)
                return True

            return look

        await self._all_hold([(asked, holds(asked)) for asked in follows], deadline_s)

    async def _all_hold(
        self, waiting: list[tuple[Asked, Callable[[], bool]]], deadline_s: float
    ) -> None:
        """Wait until each is in force, or can't be."""

        def all_done() -> bool:
            waiting[:] = [(a, holds) for a, holds in waiting if not (holds() or a.excused)]
            return not any(not a.refused for a, _ in waiting)

        try:
            await until(all_done, "all holds", deadline_s)
        except AssertionError as fault:
            first = waiting[0][0].event
            raise AssertionError(f"{fault}, first {first}") from None

    async def chat(self, seconds: float) -> None:
        """Newcomers bark, and are barked at."""
        end = self._people.now() + seconds
        while self._people.now() < end:
            if self.known:
                name = self._dice.choice(self.known)
                if self._dice.random() < 0.5:
                    self._people.producer.say([name])
                else:
                    self._people.producer.say([self._dice.choice(self._old)], f"@{name}")
            await asyncio.sleep(CHAT_EVERY_S)
