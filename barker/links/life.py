"""The life of a connection: its states, and what makes it go from one to the next.

    connecting -> greeting -> up -> closing -> closed      (an acceptor's begins at greeting)

Pure. `barker.links.connection` does nothing about its state but what `LIFE` has a row for, and
docs/link.svg is drawn from these rows.
"""

from enum import Enum
from typing import NamedTuple


class State(Enum):
    CONNECTING = "connecting"
    GREETING = "greeting"
    UP = "up"
    CLOSING = "closing"  # our last words are out, and the peer may still be sending
    CLOSED = "closed"


class Event(Enum):
    CONNECTED = "connected"
    PROVED = "proved"
    CLOSE = "close"  # we want to end it in good order
    GONE = "gone"  # nothing gets through any more


class Step(NamedTuple):
    """What a state becomes, and when."""

    then: State
    when: str


LIFE = {
    (State.CONNECTING, Event.CONNECTED): Step(State.GREETING, "connected"),
    (State.CONNECTING, Event.GONE): Step(State.CLOSED, "refused, or nobody answers in time"),
    (State.GREETING, Event.PROVED): Step(State.UP, "both have proved that they know the key"),
    (State.GREETING, Event.CLOSE): Step(State.CLOSING, "wrong version or proof: error"),
    (State.GREETING, Event.GONE): Step(State.CLOSED, "the peer has gone"),
    (State.UP, Event.CLOSE): Step(State.CLOSING, "we are done, or it talks nonsense: error"),
    (State.UP, Event.GONE): Step(State.CLOSED, "the peer has gone, is silent, or does not read"),
    (State.CLOSING, Event.GONE): Step(
        State.CLOSED, "the peer has closed, too, or a second is over"
    ),
}


class Life:
    """Where one connection is; `over` once nothing more is sent or handled."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.over = False

    def step(self, event: Event) -> bool:
        """Go on; False if the table has no such step, and then there is nothing to do."""
        step = LIFE.get((self.state, event))
        if step is None:
            return False
        self.state = step.then
        self.over = step.then in (State.CLOSING, State.CLOSED)
        return True
