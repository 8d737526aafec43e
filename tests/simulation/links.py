"""Links: one end of a simulated connection, and what dials."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from barker.links.link import Conversation, Link
from barker.wire.messages import PING
from barker.wire.ops import Op
from barker.wire.protocol import BarkerError
from barker.wire.rights import SERVICE
from barker.wire.strictjson import BETWEEN
from tests.simulation.settings import BUSY_MESSAGES

if TYPE_CHECKING:
    from tests.simulation.parties import Party


class Unforeseen(Exception):
    """What no check foresaw: memory is short, a text is one that the code can't bear."""


# Exceptions that a service has logged and borne, since the last look. All but ours are bugs.
BORNE: list[BaseException] = []


def note_borne(*_: object, **__: object) -> None:
    """Instead of what logs an exception."""
    fault = sys.exc_info()[1]
    if fault and not isinstance(fault, Unforeseen):
        BORNE.append(fault)


class Turn:
    """What is heard at a time, the dice say; all of that is handled at once."""

    over = False

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass


class End:
    """One side's end of a connection: what a party takes for a `Link`.

    How a batch is handled, and what becomes of it after an exception, is `Link`'s own code.
    """

    count_puts, commit, ack = Link.count_puts, Link.commit, Link.ack
    _take_in, _handle = Link._take_in, Link._handle
    _hand_over, _decode = Link._hand_over, Link._decode

    def __init__(self, party: "Party", conversation: Conversation) -> None:
        self.party = party
        self._conversation = conversation
        self.other: End = self
        self.name = ""  # of the other side
        self.peer: Any = None
        self.role = SERVICE
        self.closed = False  # as our own side has it
        self.down = False  # link_down was called
        self.pipe: deque[bytes] = deque()  # on its way from here to the other end
        self.broken = False  # nothing more gets from here to the other end
        self.out: list[bytes] = []
        self._handling = False
        self._rest: Iterator[Op] | None = None
        self._turns = Turn()
        self.received = self.committed = self.acked = 0
        self.pings = self.pongs = 0
        self.messages_in = self.messages_out = 0
        self.waits: Callable[[], None] | None = None  # to be called when there is room

    def __repr__(self) -> str:
        return f"{self.party.name}>{self.other.party.name}"

    @property
    def busy(self) -> bool:
        return sum(1 + line.count(BETWEEN) for line in (*self.out, *self.pipe)) > BUSY_MESSAGES

    def when_free(self, work: Callable[[], None]) -> None:
        self.waits = work

    def see_room(self) -> None:
        """The other side has read something: what waited for that goes on at its next turn."""
        if self.waits and not self.busy:
            work, self.waits = self.waits, None
            self.party.timers.append(lambda: self.use_room(work))

    def use_room(self, work: Callable[[], None]) -> None:
        if not self.closed:
            try:
                work()
            except Unforeseen:
                self.abort()

    def ping(self) -> None:
        self.pings += 1
        self.send(PING)

    def send(self, message: bytes) -> None:
        if not self.closed:
            self.out.append(message)

    def write(self, messages: Iterable[bytes]) -> None:
        self.party.spot("write")
        for message in messages:
            self.send(message)
        self.flush()
        self.party.spot("write+")

    def flush(self) -> None:
        if not self.closed and not self.broken:
            self.pipe += self.out
        self.out.clear()

    def abort(self, reason: str = "") -> None:
        self.closed = self.broken = True
        self.out.clear()

    def close(self, fault: BarkerError | None = None) -> None:
        if self.closed:
            return
        self._conversation.link_closing(self)  # type: ignore[arg-type]
        if fault:
            self.party.world.fault(f"closed: {self!r} with {fault}")
        self.flush()
        self.closed = self.broken = True

    def come_up(self) -> None:
        try:
            self._conversation.link_up(self)  # type: ignore[arg-type]
        except Unforeseen:
            self.go_down()

    def hear(self, count: int) -> None:
        """One batch, or the end of the connection, as `Link.run` has it."""
        lines = [self.other.pipe.popleft() for _ in range(min(count, len(self.other.pipe)))]
        self.other.see_room()
        if self.closed or not lines:
            self.go_down()
            return
        try:
            self._take_in(lines)  # type: ignore[misc]
            self._handle()  # type: ignore[misc]
        except BarkerError as fault:
            self.close(fault)
        except Unforeseen:
            self.go_down(aborted=self.closed)

    def go_down(self, aborted: bool = True) -> None:
        if not self.down:
            self.down = True
            if aborted:
                self.abort()
            self.leave()
            if self.party.alive:
                try:
                    self._conversation.link_down(self)  # type: ignore[arg-type]
                except Unforeseen:
                    self.party.node.fail("what this link was part of does not know that it is gone")
                self.flush()
            self.abort()

    def leave(self) -> None:
        self.party.ends.remove(self)
        self.party.node.links.discard(self)

    @property
    def has_news(self) -> bool:
        """Is there anything to hear, be it the end?"""
        return not self.down and bool(self.other.pipe or self.other.broken or self.closed)


class SimDialer:
    """Instead of `barker.process.node.Dialer`: connects when the network says so."""

    def __init__(
        self, owner: Any, host: str, port: int, conversation: Conversation, expect: str
    ) -> None:
        self.place = (host, port)
        self.expect = expect
        self.conversation = conversation
        self.end: End | None = None
        self.party: Party = owner.party
        self.party.dialers.append(self)

    def close(self) -> None:
        self.party.dialers.remove(self)
        if self.end:
            self.end.abort()
