"""Links: one end of a simulated connection, and what dials."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from barker import wire
from barker.link import Conversation, Link
from barker.wire import BarkerError
from tests.simulation.settings import BUSY_MESSAGES

if TYPE_CHECKING:
    from tests.simulation.parties import Party


class End:
    """One side's end of a connection: what a party takes for a `Link`."""

    name = "simulated"
    count_puts = Link.count_puts

    def __init__(self, party: "Party", conversation: Conversation) -> None:
        self.party = party
        self.conversation = conversation
        self.other: End = self
        self.peer: dict[str, Any] = {}
        self.closed = False  # as our own side has it
        self.down = False  # link_down was called
        self.pipe: deque[bytes] = deque()  # on its way from here to the other end
        self.broken = False  # nothing more gets from here to the other end
        self.out: list[bytes] = []
        self.received = self.acked = 0
        self.pings = self.pongs = 0
        self.messages_in = self.messages_out = 0
        self.waits: Callable[[], None] | None = None  # to be called when there is room

    def __repr__(self) -> str:
        return f"{self.party.name}>{self.other.party.name}"

    @property
    def busy(self) -> bool:
        return sum(1 + line.count(wire.BETWEEN) for line in (*self.out, *self.pipe)) > BUSY_MESSAGES

    def when_free(self, work: Callable[[], None]) -> None:
        self.waits = work

    def see_room(self) -> None:
        """The other side has read something: whoever waited for that goes on at his next turn."""
        if self.waits and not self.busy:
            work, self.waits = self.waits, None
            self.party.timers.append(lambda: None if self.closed else work())

    def ping(self) -> None:
        self.pings += 1
        self.send(wire.PING)

    def send(self, message: bytes) -> None:
        if not self.closed:
            self.out.append(message)

    def write(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.send(message)
        self.flush()

    def flush(self) -> None:
        if not self.closed and not self.broken:
            self.pipe += self.out
        self.out.clear()

    def abort(self, reason: str = "") -> None:
        self.closed = self.broken = True
        self.out.clear()

    def close(self, fault: BarkerError | None = None) -> None:
        if fault:
            self.party.world.fault(f"{self!r} closed with {fault}")
        self.flush()
        self.closed = self.broken = True

    def hear(self, count: int) -> None:
        """One batch, as `Link.run` and `Link._handle` have it, or the end of the connection."""
        lines = [self.other.pipe.popleft() for _ in range(min(count, len(self.other.pipe)))]
        self.other.see_room()
        if self.closed or not lines:
            self.go_down()
            return
        ops = self.conversation.ops
        try:
            try:
                for line in lines:
                    message = wire.decode(line)
                    if message["op"] == "ping":
                        self.send(wire.PONG)
                    elif message["op"] == "pong":
                        self.pongs += 1
                    else:
                        ops[message["op"]](self, message)  # type: ignore[arg-type]
                    if self.closed:
                        return
            finally:
                self.conversation.batch_end(self)  # type: ignore[arg-type]
                self.flush()
        except BarkerError as fault:
            self.close(fault)

    def go_down(self) -> None:
        if not self.down:
            self.down = True
            self.abort()
            self.party.ends.remove(self)
            if self.party.alive:
                self.conversation.link_down(self)  # type: ignore[arg-type]

    @property
    def has_news(self) -> bool:
        """Is there anything to hear, be it the end?"""
        return not self.down and bool(self.other.pipe or self.other.broken or self.closed)


class SimDialer:
    """Instead of `barker.node.Dialer`: connects when the network says so."""

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
