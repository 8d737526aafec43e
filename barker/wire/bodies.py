"""Bodies: barks and events, the rules for each of them, and their encoding.

A body without a `kind` is a bark. The others are events: they change the graph of users,
or inform a reader about it. They look like barks and travel the same way:

=============  =====================================  =============================================
kind           fields besides `id`, `user`, `at`      goes from a client to ...
=============  =====================================  =============================================
``join``                                              its outbox, and on to ``followers``
``follow``     `whom`                                 the same way
``unfollow``   `whom`                                 the same way
``suggestion`` `whom`, `common`, `content`            (from the service ``suggestions``) an inbox
=============  =====================================  =============================================
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from barker.wire.fields import is_count, is_id, is_user
from barker.wire.protocol import (
    BAD_MESSAGE,
    BARK_ID,
    MAX_BODY_BYTES,
    MAX_COUNT,
    TOO_LARGE,
    USER_NAME,
    BadMessage,
)
from barker.wire.strictjson import NOT_FLAT, canonical, dumps, is_flat, loads, parse

# Twice the first limit of Twitter; counted in characters (code points), not bytes.
MAX_CONTENT_CHARS = 280

MENTION = re.compile(r"(?<![A-Za-z0-9_@])@([a-z][a-z0-9_]{0,19})(?![A-Za-z0-9_])")


# Nearly every text has one of these; only in others each character is checked.
_VISIBLE = re.compile(r"[!-~]")
# Letters and signs outside it that every font draws as nothing: fillers of Hangul, the Braille
# pattern without dots, the musical null notehead.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159")


def looks_blank(text: str) -> bool:
    """Is there nothing to be seen: white space, signs of control or direction, marks on nothing?"""
    return not any(
        c.isprintable()
        and not c.isspace()
        and c not in _BLANK
        and unicodedata.category(c) not in ("Mn", "Me")
        for c in text
    )


class Bark(NamedTuple):
    """One bark: `id` once for ever per `user`; `at` in milliseconds since 1970."""

    id: str
    user: str
    content: str
    at: int


def encode_bark(bark: Bark) -> bytes:
    return dumps(bark._asdict())


def parse_bark(body: bytes) -> Bark:
    """The bark in a body that is not parsed yet. Raises BadMessage; see `check_bark`."""
    fields = loads(body)
    check_body(body, fields)
    check_bark(fields)
    return Bark(*map(fields.get, Bark._fields))


def check_body(body: bytes, fields: Any) -> None:
    """Check the form of any body: a small object without others in it.

    How deep JSON may be nested depends on its reader, and the moment. Raises BadMessage.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BadMessage(TOO_LARGE, f"{len(body)} bytes; at most {MAX_BODY_BYTES} are allowed")
    if not is_flat(body, fields):
        raise BadMessage(BAD_MESSAGE, NOT_FLAT)


def admitted(body: bytes, fields: dict[str, Any] | None) -> bytes:
    """A body that comes to its first manifold, in the form for all later hops.

    `fields` is its parsed content, or None if that is no object. Raises BadMessage.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BadMessage(TOO_LARGE, f"{len(body)} bytes; at most {MAX_BODY_BYTES} are allowed")
    if fields is None:
        raise BadMessage(BAD_MESSAGE, NOT_FLAT)
    return canonical(body, fields)


def check_object(body: bytes) -> dict[str, Any]:
    """The fields of a body. Raises BadMessage."""
    fields = loads(body)
    if type(fields) is not dict:
        raise BadMessage(BAD_MESSAGE, NOT_FLAT)
    return fields


def check_key(fields: dict[str, Any]) -> tuple[str, str]:
    """The key of a body, whatever its kind: (user, id). Raises BadMessage."""
    user, id_ = fields.get("user"), fields.get("id")
    if type(id_) is not str or not is_id(id_):
        raise BadMessage(BAD_MESSAGE, "bad id")
    if type(user) is not str or len(user) > 20 or not is_user(user):
        raise BadMessage(BAD_MESSAGE, "bad user")
    return user, id_


def check_bark(fields: dict[str, Any]) -> tuple[str, str]:
    """Are these the fields of a bark? Returns its key. Raises BadMessage.

    The code is `too-large` for too much text, else `bad-message`.
    """
    key = check_key(fields)
    content, at = fields.get("content"), fields.get("at")
    if type(at) is not int or not 0 <= at <= MAX_COUNT:
        raise BadMessage(BAD_MESSAGE, "bad at")
    if type(content) is not str or (not _VISIBLE.search(content) and looks_blank(content)):
        raise BadMessage(BAD_MESSAGE, "there is no text")
    if len(content) > MAX_CONTENT_CHARS:
        raise BadMessage(
            TOO_LARGE, f"{len(content)} characters; at most {MAX_CONTENT_CHARS} are allowed"
        )
    if not content.isascii():
        try:
            content.encode()
        except UnicodeEncodeError:
            raise BadMessage(BAD_MESSAGE, "half of a surrogate pair is not a character") from None
    return key


# A bark in our own clients' spelling, one on each line. Only the escapes that JSON requires are in
# it, and these are written in the one short way that each has.
_PLAIN_BARK = re.compile(
    r'^\{"id":"([A-Za-z0-9_-]{1,64})","user":"([a-z][a-z0-9_]{0,19})",'
    r'"content":"([^"\\]+(?:\\["\\bfnrt][^"\\]*)*)","at":(0|[1-9][0-9]{0,15})\}$',
    re.MULTILINE,
)
_CONTROLS = bytes(range(32))
Columns = tuple[list[str], list[str], list[str], list[int]]


def plain_barks(bodies: Sequence[bytes]) -> Columns | None:
    """Ids, users, texts and times, if each body is a canonical bark with exactly the four fields.

    None: each has to be checked alone. One pattern finds the fields of many in the time of a few.
    """
    block = b"\n".join(bodies)
    if len(block) - len(block.translate(None, _CONTROLS)) != len(bodies) - 1:
        return None
    try:
        rows = _PLAIN_BARK.findall(block.decode())
    except UnicodeDecodeError:
        return None
    if len(rows) != len(bodies):  # else each match is a line
        return None
    ids, users, contents, times = map(list, zip(*rows, strict=True))
    if b"\\" in block:
        contents = parse(b'["%b"]' % '","'.join(contents).encode())
    at = list(map(int, times))
    if (
        max(map(len, contents)) > MAX_CONTENT_CHARS
        or max(at) > MAX_COUNT
        or not (all(map(_VISIBLE.search, contents)) or not any(map(looks_blank, contents)))
    ):
        return None
    return ids, users, contents, at


def check_time(fields: dict[str, Any]) -> int:
    """The time of a bark or event, by its author's clock. Raises BadMessage."""
    at = fields.get("at")
    if not is_count(at):
        raise BadMessage(BAD_MESSAGE, "bad at")
    return int(at)  # type: ignore[arg-type]


def mentions(content: str) -> list[str]:
    """The users named with an @ in a text, in order, each once, whether they exist or not."""
    return list(dict.fromkeys(MENTION.findall(content))) if "@" in content else []


# --- events ---

JOIN, FOLLOW, UNFOLLOW, SUGGESTION = "join", "follow", "unfollow", "suggestion"
OF_THE_GRAPH = (JOIN, FOLLOW, UNFOLLOW)

# The author of suggestions: a name that no user can join under. So no bark of a user ever counts as
# later than one of this service.
SUGGESTER = "suggestions"
RESERVED = frozenset({SUGGESTER})


class Event(NamedTuple):
    """An event of one user: `id` once for ever per `user`; `at` in milliseconds since 1970."""

    kind: str
    id: str
    user: str
    at: int
    whom: str = ""  # a join has none


def encode_event(event: Event) -> bytes:
    fields = event._asdict()
    if not event.whom:
        del fields["whom"]
    return dumps(fields)


def check_event(fields: dict[str, Any]) -> Event:
    """The event in a body's fields. Raises BadMessage."""
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
        raise BadMessage(BAD_MESSAGE, "users read their own barks; no user can follow themself")
    return Event(kind, id_, user, at, whom)


NAME_RULES = "a name is 1 to 20 of a-z, 0-9 and _, and begins with a letter"
