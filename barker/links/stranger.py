"""A stranger: one connection at our port, from its first byte until it has proved itself.

Before the proof come only a `hello` and a `proof`, and for a page an HTTP request in front of them.
So a line or a frame has at most 1 KiB here, and a longer one is refused unparsed.

Pure: bytes go in; bytes to send and a verdict come out. Left out: the socket, TLS, and the bounds
on all strangers together (`barker.links.porch`).
"""

from collections.abc import Collection

from barker.links.framing import (
    Framing,
    HttpFraming,
    LineFraming,
    WebSocketFraming,
    framing_of,
)
from barker.links.greeting import Greeting, Peer
from barker.links.life import Event, Life, State
from barker.wire import messages
from barker.wire.ops import Error
from barker.wire.protocol import BarkerError, ProtocolError

# A line or a frame before the proof; ours have under 300 bytes. A longer one is refused.
STRANGER_LINE_BYTES = 1024


class Stranger:
    """`peer` is the verdict. `life` is over once nothing more is read."""

    def __init__(self, greeting: Greeting, allowed_hosts: Collection[str]) -> None:
        """`allowed_hosts`: the hosts under which a browser may find us."""
        self.life = Life(State.GREETING)
        self.framing: Framing = LineFraming()  # to refuse in, before the first bytes
        self.peer: Peer | None = None
        self.early: list[bytes] = []  # lines that came behind the proof
        self.fault: BarkerError | None = None  # why it was refused, unless in HTTP
        self._greeting = greeting
        self._allowed_hosts = allowed_hosts
        self._begun = False

    def receive(self, data: bytes) -> bytes:
        """The bytes to send in answer to some, of which there must be one at least."""
        try:
            return self._receive(data)
        except ProtocolError as fault:
            return self.refuse(fault)
        except BarkerError:  # it reports that it closes
            self.life.step(Event.CLOSE)
            return b""

    def _receive(self, data: bytes) -> bytes:
        if not self._begun:
            self.framing = framing_of(data, self._allowed_hosts, STRANGER_LINE_BYTES)
            self._begun = True
        framing = self.framing
        lines = framing.feed(data)
        if isinstance(framing, HttpFraming):
            answer = framing.take_output()
            if not framing.upgraded:
                if framing.ended:
                    self.life.step(Event.CLOSE)
                return answer
            self.framing = WebSocketFraming(STRANGER_LINE_BYTES)
            return answer + self._greet(self.framing.feed(framing.rest))
        return self._greet(lines)

    def _greet(self, lines: list[bytes]) -> bytes:
        answer, framing = b"", self.framing
        for i, line in enumerate(lines):
            said = self._greeting.receive(messages.decode(line))
            answer += framing.pack(map(messages.encode, said)) if said else b""
            if self._greeting.peer:
                self.peer, self.early = self._greeting.peer, lines[i + 1 :]
                self.life.step(Event.PROVED)
                framing.widen()
                return answer
        if framing.error:
            return answer + self.refuse(framing.error)
        if framing.ended:
            self.life.step(Event.CLOSE)
        return answer + framing.take_output()

    def refuse(self, fault: BarkerError) -> bytes:
        """The last words: the reason why we read no more."""
        if not self.life.step(Event.CLOSE):
            return b""
        self.fault = fault
        error = messages.encode(Error(fault.code, fault.reason[:500]))
        words = self.framing.pack([error])
        self.framing.close(fault)
        return words + self.framing.take_output()
