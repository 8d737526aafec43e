"""Quick: the lines of which there are most, read by a pattern.

`barker.wire.messages` can read any line, and asks `barker.wire.protocol`'s table about every field.
Most lines are one of five, as `wire` itself puts them together: an ``ack``; a ``put`` or a
``message``, alone or many in one line, each for one stream. For these, a pattern says in one go
what the table would say, in less than half of the time. Where it does not fit, nothing is wrong:
the line is for the others to read, as is what goes to several streams.

What makes a pattern enough: no body has braces or brackets in it, so nothing is nested, and many
can be parsed as one list; none has a tab in it, so they can be cut apart at those between; numbers
are shorter than `MAX_COUNT`. The length of each of many is asked besides. Tests hold all of it to
the table, line by line.
"""

import re
from typing import Any

from barker.wire.protocol import ADDRESS, MAX_BODY_BYTES, BadMessage
from barker.wire.strictjson import parse

# How a line with many bodies begins, and what is between them. A tab inside a string is always
# escaped, so a comma and a tab are never inside of one.
GROUPS = (b'{"op":"puts",', b'{"op":"messages",')
BETWEEN = b",\t"

_NUMBER = rb"(?:0|[1-9][0-9]{0,14})"
_HEX = rb'"([0-9a-f]{16,64})"'
_STREAM = rb'"%b"' % ADDRESS.pattern.encode()
_BODY = rb"\{[^][{}\n\t]*+\}"
_one = re.compile(
    rb'\{"op":"(?:'
    rb'ack","seq":(%b)\}'
    % _NUMBER
    + rb'|put","seq":(%b),"to":\[(%b)\],' % (_NUMBER, _STREAM)
    + rb'(?:"origin":%b,"n":(%b),)?"body":(%b)\}' % (_HEX, _NUMBER, _BODY)
    + rb'|message","address":(%b),"epoch":%b,' % (_STREAM, _HEX)
    + rb'"serial":(%b),"body":(%b)\})' % (_NUMBER, _BODY)
).fullmatch


def _listed(item: bytes, between: bytes = b",") -> bytes:
    """One or more of them. What was matched is never given back: there is only one way to read."""
    # An atomic group, and not `*+`, by which Python up to 3.11.4 skips a part of the last item.
    return b"(?>%b(?:%b%b)*)" % (item, between, item)


_BODIES = rb"(\[%b\])" % _listed(rb"\{[^][{}\n\t]*+\}", BETWEEN)
_many = re.compile(
    rb'\{"op":"(?:'
    rb'puts","seq":(%b),"to":\[\[(%b)\]\],'
    % (_NUMBER, _listed(_STREAM, rb"\],\["))
    + rb'(?:"origin":%b,"n":\[(%b)\],)?"bodies":%b\}' % (_HEX, _listed(_NUMBER), _BODIES)
    + rb'|messages","epoch":%b,' % _HEX
    + rb'"to":(\[\{%b\}\]),"bodies":%b\})' % (_listed(_STREAM + b":" + _NUMBER, rb"\},\{"), _BODIES)
).fullmatch


def decode(line: bytes) -> dict[str, Any] | None:
    """The message, as `messages.decode` has it; None if the line is not for this."""
    try:
        return _decode_many(line) if line.startswith(GROUPS) else _decode_one(line)
    except BadMessage:
        return None


def _decode_one(line: bytes) -> dict[str, Any] | None:
    found = _one(line)
    if found is None:
        return None
    acked, seq, to, origin, n, put, address, epoch, serial, body = found.groups()
    if acked:
        return {"op": "ack", "seq": int(acked)}
    if address:
        return {
            "op": "message",
            "address": address[1:-1].decode(),
            "epoch": epoch.decode(),
            "serial": int(serial),
            "body": body,
            "parsed": parse(body),
        }
    stamp = {"origin": origin.decode(), "n": int(n)} if origin else {}
    return {
        "op": "put",
        "seq": int(seq),
        "to": [to[1:-1].decode()],
        **stamp,
        "body": put,
        "parsed": parse(put),
    }


def _decode_many(line: bytes) -> dict[str, Any] | None:
    found = _many(line)
    if found is None:
        return None
    seq, to, origin, n, put, epoch, serials, bodies = found.groups()
    pieces = (put or bodies)[1:-1].split(BETWEEN)
    if max(map(len, pieces)) > MAX_BODY_BYTES:
        return None
    message: dict[str, Any]
    if put:
        addresses = [[address] for address in to[1:-1].decode().split('"],["')]
        if len(addresses) == 1:  # which is for all of them
            addresses *= len(pieces)
        message = {"op": "puts", "seq": int(seq), "to": addresses}
        if origin:
            message["origin"] = origin.decode()
            message["n"] = list(map(int, n.split(b",")))
            if len(message["n"]) != len(pieces):
                return None
    else:
        message = {"op": "messages", "epoch": epoch.decode(), "to": parse(serials)}
    if len(message["to"]) != len(pieces):
        return None
    message["bodies"], message["parsed"] = pieces, parse(put or bodies)
    return message
