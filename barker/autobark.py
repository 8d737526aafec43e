"""Autobark: random barks of random users, at a steady rate.

    python -m barker.autobark 0.5

The barks come from ``autobark.txt`` beside this file: templates, and words to put in. The people of
this world write their own barks; only dogs are random.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import asyncio
import pathlib
import random
import sys
from collections.abc import Sequence
from typing import ClassVar

from barker.client.speaker import new_id, now_ms
from barker.client.tracked import Outcome, TrackedSender
from barker.disk import files
from barker.disk.users import PEOPLE
from barker.process import terminal
from barker.process.arguments import at_least_0, common_arguments, positive, quick_parser
from barker.process.node import Node
from barker.process.running import run_node
from barker.wire import bodies, protocol
from barker.wire.bodies import Bark
from barker.wire.ops import Item

VOCABULARY = pathlib.Path(__file__).with_name("autobark.txt")
# Barks that may wait when no outbox takes any; then no more are made, so memory is bounded.
MAX_WAITING = 2 * protocol.UNACKED_WINDOW
# High rates come in handfuls: no reader sees the difference, and a timer per bark costs more than
# the bark.
HANDFUL_S = 0.01
# At low rates we look at the clock now and then: no timer is set for a thousand years.
LONGEST_NAP_S = 3600.0


ABOUT = """\
Send random barks of random dogs, so many a second, until Ctrl-C.
"""
EXAMPLES = (
    "0.5",
    "1000 --count 5000 --seed 7",
)


class Vocabulary:
    """Templates and the words for them."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a template with a placeholder that has no words."""
        self.templates: list[str] = []
        self._words: dict[str, list[str]] = {}
        for line in text.splitlines():
            name, colon, words = line.partition(": ")
            if colon and name.isidentifier() and name.islower():
                self._words[name] = [w.strip() for w in words.split("|")]
            elif line and not line.startswith("#"):
                self.templates.append(line)
        for template in self.templates:
            try:
                template.format(user="", **dict.fromkeys(self._words, ""))
            except KeyError as name:
                raise ValueError(f"no words for {name} in {template!r}") from None

    def say(self, dice: random.Random, users: Sequence[str]) -> str:
        words = {name: dice.choice(some) for name, some in self._words.items()}
        return dice.choice(self.templates).format(user=dice.choice(users), **words)


class Autobark(Node):
    kind = "autobark"
    needs: ClassVar = {"outbox": "outbox"}

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._dice = random.Random(args.seed)
        self._vocabulary = Vocabulary(VOCABULARY.read_text(encoding="utf-8"))
        self._users = files.world(args.state).names
        self._dogs = [u for u in self._users if u not in PEOPLE] or self._users

    @property
    def has_job(self) -> bool:
        return self.args.count is not None

    async def started(self) -> None:
        self._sender = TrackedSender(self, on_refused=self._refused)
        self._all = Outcome()  # all barks share it
        self.start(self._bark(), name="autobark")

    async def _bark(self) -> None:
        """Count the due barks by the clock, so that rates hold however late a timer is."""
        rate, count, sender = self.args.rate, self.args.count, self._sender
        begun, said = self.now(), 0
        while count is None or said < count:
            due = int((self.now() - begun) * rate) + 1
            if count is not None:
                due = min(due, count)
            while said < due and len(sender) < MAX_WAITING:
                self._say_one()
                said += 1
            sender.pump()
            if said < due:  # no outbox took them: they were never said, so don't catch up later
                begun, said, count = self.now(), 0, None if count is None else count - said
            if said == 1:
                # Several that were started together need not go on together.
                begun += random.random() / rate
            if count is None or said < count:
                due_s = begun + said / rate - self.now()
                await asyncio.sleep(min(max(due_s, HANDFUL_S), LONGEST_NAP_S))
        await sender.all_answered()
        self.stop()

    def _say_one(self) -> None:
        user = self._dice.choice(self._dogs)
        bark = Bark(new_id(), user, self._vocabulary.say(self._dice, self._users), now_ms())
        self._sender.track(f"outbox/{user}", Item(bodies.encode_bark(bark)), self._all)

    def _refused(self, outcome: Outcome) -> None:
        terminal.complain("autobark", outcome.reason)


def parser() -> argparse.ArgumentParser:
    result = quick_parser("autobark", ABOUT, EXAMPLES)
    result.add_argument("rate", type=positive, metavar="RATE", help="barks a second")
    result.add_argument("--count", type=at_least_0, metavar="N", help="stop after N barks")
    result.add_argument("--seed", type=int, help="bark the same as the last time")
    common_arguments(result)
    return result


def main(argv: list[str] | None = None) -> int:
    return run_node(Autobark, parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
