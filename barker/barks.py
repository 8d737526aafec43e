"""Barks: what somebody said, and what makes it something that nobody could have said."""

import re
from typing import Any, NamedTuple

from barker.wire import BAD_MESSAGE, TOO_LARGE, USER_NAME, BadMessage, dumps, is_count, loads

# What the seed's time called a tweet; counted in characters (code points), not bytes.
MAX_CONTENT_CHARS = 280
# A bark of 280 characters, every one escaped, is under 4 KiB. A first manifold that took a larger
# body could not hand it on: with stamp and addresses it has to fit a line at every later hop.
MAX_BODY_BYTES = 8 * 1024

BARK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
MENTION = re.compile(r"(?<![A-Za-z0-9_@])@([a-z][a-z0-9_]{0,19})(?![A-Za-z0-9_])")


class Bark(NamedTuple):
    """What somebody said: `id` once for ever per `user`; `at` in milliseconds since 1970."""

    id: str
    user: str
    content: str
    at: int


def encode_bark(bark: Bark) -> bytes:
    return dumps(bark._asdict())


def parse_bark(body: bytes) -> Bark:
    """The bark in a body that is not parsed yet; see `check_bark`."""
    return check_bark(body, loads(body))


def check_flat(body: bytes, fields: Any) -> None:
    """What every body is, whatever its kind: a small object without others in it.

    How deep JSON may be nested depends on who reads it, and when. Raises BadMessage.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BadMessage(TOO_LARGE, f"{len(body)} bytes; at most {MAX_BODY_BYTES} are allowed")
    if type(fields) is not dict:
        raise BadMessage(BAD_MESSAGE, "a body is a JSON object")
    if any(type(value) in (dict, list) for value in fields.values()):
        raise BadMessage(BAD_MESSAGE, "a body has nothing nested in it")


def check_bark(body: bytes, fields: Any) -> Bark:
    """The bark in a `body` that means `fields`. Raises BadMessage.

    The code is `too-large` for too much text or too many bytes, else `bad-message`.
    """
    check_flat(body, fields)
    values: list[Any] = [fields.get(name) for name in Bark._fields]
    bark = Bark(*values)
    if type(bark.id) is not str or not BARK_ID.fullmatch(bark.id):
        raise BadMessage(BAD_MESSAGE, "bad id")
    if type(bark.user) is not str or not USER_NAME.fullmatch(bark.user):
        raise BadMessage(BAD_MESSAGE, "bad user")
    if not is_count(bark.at):
        raise BadMessage(BAD_MESSAGE, "bad at")
    content = bark.content
    if type(content) is not str or not content.strip():
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
    return bark


def mentions(content: str) -> list[str]:
    """The users named with an @ in a text, in order, each once; whether they exist is not asked."""
    return list(dict.fromkeys(MENTION.findall(content))) if "@" in content else []
