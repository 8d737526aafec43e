"""A guide: goes through the steps of a tour, in a laboratory of its own, and believes nothing.

Each step is shown like this: its title and text, Enter, the commands and their effects, and then
its claim, but only after a check. A check that fails is shown instead, and ends the tour with
status 1. The steps themselves are in `barker.laboratory.tour`.
"""

import asyncio
import contextlib
import os
import shlex
import signal
import textwrap
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from barker.disk import files
from barker.laboratory.lab import Broken, Child, Lab, until
from barker.laboratory.witness import Witness
from barker.process.node import Node
from barker.process.terminal import complain, python, show

WIDTH = 80
SERVICES = [
    "directory --port 5672",
    "inbox --port 5820",
    "followers --port 5690",
    "bizlogic --port 5680",
    "outbox --port 5800",
    "outbox --port 5801",
    "outbox --port 5802",
]


class Step(NamedTuple):
    """One experiment: its subject, where to read more, its actions, and what is then true.

    `do` raises Broken if something turns out otherwise. `text` and `claim` are plain sentences.
    """

    title: str
    chapter: str
    text: str
    claim: str
    do: "Callable[[Guide], Awaitable[None]]"


class Guide(Node):
    """One tour. It has a witness; while a step is done, dogs bark."""

    kind = "tour"

    def __init__(self, lab: Lab, steps: Sequence[Step], *, wait: bool) -> None:
        super().__init__(lab.args())
        self.lab = lab
        self.steps = steps
        self.witness = Witness(self, files.world(lab.state))
        self.watch("bizlogic", lambda: None)  # only to know its routes
        self._keys = Keys() if wait else None

    async def started(self) -> None:
        self.start(self._tour(), name="tour")

    def interrupted(self, number: int = signal.SIGTERM) -> None:
        self.stop(128 + number)  # however it was ended: not everything was checked

    async def _tour(self) -> None:
        try:
            await self._begin()
            for number, step in enumerate(self.steps, start=1):
                say(heading(f"{number}. {step.title}", f"docs/{step.chapter}"))
                say(wrapped(step.text))
                if self._keys and not await self._keys.go_on():
                    say("\nYou have left, and everything is stopped.")
                    break
                say("")
                async with self.witness.talking():
                    await step.do(self)
                await self.witness.settled()
                self._check_verdict()
                say("\n" + wrapped(f"True: {step.claim}"))
            else:
                self._sum_up()
        except Broken as fault:
            say("\n" + wrapped(f"FALSE: {fault}"))
            self.stop(1)
        except OSError as fault:  # our output has no reader, or a process could not be started
            complain(self.kind, fault)
            self.stop(1)
        self.stop()

    async def _begin(self) -> None:
        say(heading("Barker, a tour", f"{len(self.steps)} steps"))
        say(wrapped("A whole system is started for you, beside whatever runs here already."))
        say("")
        started = [await self.launch(words) for words in SERVICES]
        for child in started:
            await child.until_ready()
        self.witness.producer.say(["ace"])  # it is through when all have found each other
        await self.witness.settled()
        await until(lambda: len(self.peers_of("outbox")) == 3, "three outboxes are there")
        say("\nTo look around in it from another terminal:\n")
        say(f"  FLAGS='{shlex.join(self.lab.flags)}'\n  {python()} -m barker.listen ark3 $FLAGS")

    def _check_verdict(self) -> None:
        said, unread = self.witness.producer.said, self.witness.audience.refused
        for what, count in self.witness.verdict().items():
            self.check(not count, f"{count} of {len(said)} barks are {what}")
        refused = [bark.reason for bark in said if bark.refused]
        self.check(not refused, f"a bark was refused: {''.join(refused[:1])}")
        self.check(not unread, f"there is nothing to read for {unread[:1]}")

    def _sum_up(self) -> None:
        kept = ", ".join(f"{count} {what}" for what, count in self.witness.verdict().items())
        acked, shown = self.witness.producer.acked, len(self.witness.audience.shown_at)
        say(heading("The sum", "docs/index.rst"))
        say(
            wrapped(
                f"{acked} barks were acknowledged and shown {shown} times to their readers: "
                f"{kept}. Everything is stopped, and nothing of it is left."
            )
        )

    # --- for steps ---

    def check(self, holds: object, otherwise: str) -> None:
        """Raises Broken with `otherwise` unless it `holds`."""
        if not holds:
            raise Broken(otherwise)

    def show(self, text: str) -> None:
        """A line of evidence, or several if it is long."""
        lines = textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="      ")
        say("\n".join(lines))

    def typed(self, command: str) -> None:
        """The command that you would have typed."""
        say(f"  $ {command}")

    async def launch(self, words: str) -> Child:
        """Start a service in the background, as one types it; it need not be ready yet."""
        child, command = self.lab.start(words)
        self.typed(f"{command} $FLAGS &")
        return child

    async def run_command(self, words: str) -> Child:
        """Run a client to its end, as one types it, and show its output."""
        child, command = self.lab.start(words)
        self.typed(f"{command} $FLAGS")
        await child.until_ended()
        for line in child.lines:
            self.show(line)
        return child

    def running(self, name: str) -> Child:
        """The newest process of that name, with the port of the text: ``bizlogic-5680``."""
        stem, _, port = name.rpartition("-")
        name = f"{stem}-{int(port) + self.lab.shift}"
        return [child for child in self.lab.children if child.name == name][-1]

    def peers_of(self, service: str) -> list[str]:
        """Names of the instances that the directory knows, the first one first."""
        return [target.name for target in self.routes.route(service).targets]


class Keys:
    """Enter and `q` from standard input, without keeping the loop from its work."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str] | None = None

    async def go_on(self) -> bool:
        """Wait for Enter. False for `q`, or at the end of standard input."""
        if self._lines is None:
            self._lines = asyncio.Queue()
            # A thread, because not every platform's loop can wait for a terminal; a daemon,
            # because nothing can interrupt its read.
            args = (asyncio.get_running_loop(), self._lines)
            threading.Thread(target=_read_lines, args=args, daemon=True).start()
        say("\nEnter does it, q leaves: ", end="")
        return (await self._lines.get()).strip().lower() not in ("q", "quit", "end")


def _read_lines(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str]) -> None:
    """Not by `sys.stdin`: a thread that reads it when the interpreter ends has its lock."""
    rest = b""
    with contextlib.suppress(RuntimeError):  # the loop is closed: the tour is over
        while data := os.read(0, 1024):
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                loop.call_soon_threadsafe(lines.put_nowait, line.decode(errors="replace"))
        loop.call_soon_threadsafe(lines.put_nowait, "end")


def say(text: str, end: str = "\n") -> None:
    """Raises OSError."""
    show(*text.split("\n"), end=end)


def heading(left: str, right: str) -> str:
    return f"\n{left}{right:>{WIDTH - len(left)}}\n{'-' * WIDTH}"


def wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)
