"""The client: what it puts, and what the outboxes answer."""

import functools
import json
from typing import Any

from barker.client.tracked import Outcome
from barker.delivery import lanes
from barker.wire import bodies
from barker.wire.ops import Item


class Saying(Outcome):
    """A body of the client's, a bark or an event."""

    def __init__(self, id_: str, user: str, body: bytes, step: int, odd: bool = False) -> None:
        super().__init__()
        self.id = id_
        self.user = user
        self.body = body
        self.step = step  # when it was said
        self.odd = odd  # it may be refused

    @functools.cached_property
    def fields(self) -> dict[str, Any]:
        """What it means, to whatever reads JSON."""
        fields: dict[str, Any] = json.loads(self.body)
        return fields

    @property
    def content(self) -> str:
        return str(self.fields.get("content", ""))

    def __repr__(self) -> str:
        return f"{self.user}'s {self.id}"


def bark(user: str, number: int, at: int, step: int, words: str = "") -> Saying:
    id_ = f"{user}{number}"
    body = bodies.encode_bark(bodies.Bark(id_, user, f"{number}{words}", at))
    return Saying(id_, user, body, step)


def event(kind: str, id_: str, user: str, at: int, step: int, whom: str = "") -> Saying:
    return Saying(id_, user, bodies.encode_event(bodies.Event(kind, id_, user, at, whom)), step)


# What another language's encoder, or a person with a keyboard, makes of a bark. Each has the id,
# the user, the number and the time to fill in.
ODD = (
    b'{"id":"%b",\t"user":"%b",\t"content":"%d",\t"at":%d}',
    b'{ "id" : "%b" , "user" : "%b" , "content" : "%d" , "at" : %d }',
    b'{"id":"%b","user":"%b","content":"%d\\u0020\\u0041","at":%d}',
    b'{"id":"%b","user":"%b","content":"%d \\ud83d\\ude00\\/\\t},\\t{","at":%d}',
    b'{"id":"%b","user":"%b","content":"%d","x":1e15,\t"at":%d}',
    b'{"id":"%b","user":"%b","content":"%d","x":1.50,"at":%d}',
    b'{"id":"%b","user":"%b","content":"%d","x":1,"x":2,"at":%d}',
    b'{"content":"no","id":"%b","user":"%b",\t"content":"%d","at":%d}',
    b'{"id":"%b","user":"%b","content":"%d","x":"\\ud800","at":%d}',
    b'{"id":"%b","user":"%b","content":"%d","x":9007199254740993,"at":%d}',
    b'{"id":"%b","user":"%b","content":"%d","x":-0,"y":-1E-2,"z":null,"at":%d}',
    # Within the limit as it is, and beyond it if a later hop encodes it again.
    b'{"id":"%b","user":"%b","content":"%d",\t' + b'"%d":1e15,' * 700 + b'"at":%d}',
    b'{"id":"%b","user":"%b","content":"%d",\t"x":"\\ud800' + "é".encode() * 3500 + b'","at":%d}',
)


def odd_bark(user: str, number: int, at: int, step: int, style: int) -> Saying:
    id_ = f"{user}{number}"
    form = ODD[style % len(ODD)]
    more = tuple(range(form.count(b"%d") - 2))
    body = form % (id_.encode(), user.encode(), number, *more, at)
    return Saying(id_, user, body, step, odd=True)


def source(row: tuple[str, Item, object]) -> object:
    """A client that does not know whether its bodies are good has a line for each."""
    job = row[-1]
    return job if isinstance(job, Saying) and job.odd else _source(row)


_source = lanes._source
