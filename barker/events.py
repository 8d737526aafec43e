"""Events: what changes the graph of who follows whom, and what is said of it to a reader.

A body without a `kind` is a bark. The others look like one and travel the same way:

=============  =====================================  =============================================
kind           fields besides `id`, `user`, `at`      goes from a client to ...
=============  =====================================  =============================================
``join``                                              its outbox, and on to ``followers``
``follow``     `whom`                                 the same way
``unfollow``   `whom`                                 the same way
``suggestion`` `whom`, `common`, `content`            (from the service ``suggestions``) an inbox
=============  =====================================  =============================================
"""

from typing import Any, NamedTuple

from barker.barks import BARK_ID
from barker.protocol import is_count
from barker.wire import BAD_MESSAGE, USER_NAME, BadMessage, dumps

JOIN, FOLLOW, UNFOLLOW, SUGGESTION = "join", "follow", "unfollow", "suggestion"
OF_THE_GRAPH = (JOIN, FOLLOW, UNFOLLOW)

# Who says suggestions: a name that nobody can join under, so that no bark of a person is ever
# taken for later than what a service has said.
SUGGESTER = "suggestions"
RESERVED = frozenset({SUGGESTER})


class Event(NamedTuple):
    """One person's word: `id` once for ever per `user`; `at` in milliseconds since 1970."""

    kind: str
    id: str
    user: str
    at: int
    whom: str = ""  # a join has nobody


def encode_event(event: Event) -> bytes:
    fields = event._asdict()
    if not event.whom:
        del fields["whom"]
    return dumps(fields)


def check_event(fields: dict[str, Any]) -> Event:
    """The event that a body means. Raises BadMessage."""
    values: list[Any] = [fields.get(name) for name in Event._fields]
    kind, id_, user, at, whom = values
    if kind not in OF_THE_GRAPH:
        raise BadMessage(BAD_MESSAGE, f"an outbox takes barks, {', '.join(OF_THE_GRAPH)}")
    if type(id_) is not str or not BARK_ID.fullmatch(id_):
        raise BadMessage(BAD_MESSAGE, "bad id")
    if type(user) is not str or not USER_NAME.fullmatch(user):
        raise BadMessage(BAD_MESSAGE, NAME_RULES)
    if not is_count(at):
        raise BadMessage(BAD_MESSAGE, "bad at")
    if kind == JOIN:
        if user in RESERVED:
            raise BadMessage(BAD_MESSAGE, f"{user} is the name of a service")
        return Event(JOIN, id_, user, at)
    if type(whom) is not str or not USER_NAME.fullmatch(whom):
        raise BadMessage(BAD_MESSAGE, f"{kind} whom?")
    if whom == user:
        raise BadMessage(BAD_MESSAGE, "everybody reads their own barks; nobody can follow themself")
    return Event(kind, id_, user, at, whom)


NAME_RULES = "a name is 1 to 20 of a-z, 0-9 and _, and begins with a letter"
