"""The life of a connection: its states, and the events that change them.

    connecting -> greeting -> up -> closing -> closed      (an acceptor's begins at greeting)

Pure. `barker.links.connection` changes its state only by a row of `LIFE`, and docs/link.svg is
drawn from these rows.
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
    """The next state, and when it is entered."""

    then: State
    when: str


LIFE = {
    (State.CONNECTING, Event.CONNECTED): Step(State.GREETING, "connected"),
    (State.CONNECTING, Event.GONE): Step(State.CLOSED, "refused, or no answer in time"),
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
    """The state of one connection; `over` once nothing more is sent or handled."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.over = False

    def step(self, event: Event) -> bool:
        """Take the step of this event; False, without any effect, if the table has none."""
        step = LIFE.get((self.state, event))
        if step is None:
            return False
        self.state = step.then
        self.over = step.then in (State.CLOSING, State.CLOSED)
        return True
