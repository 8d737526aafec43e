"""Fields: the values of each field, as a type for a checker and a check that runs.

``Count`` is an `int` to mypy, and at run time a whole number from 0 to 2^53 - 1. The types of
`barker.wire.ops` are made of these, and no other module defines the values of a field.

A *column* is a list with one value for each body of a message. Columns carry every bark, so their
checks use sets and `map` and do not loop.
"""

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

from barker.wire.protocol import (
    ADDRESS,
    BARK_ID,
    INSTANCE_NAME,
    MAX_ADDRESS_CHARS,
    MAX_ADDRESSES,
    MAX_COUNT,
    MAX_NUMBER,
    REMEMBERED_BYTES,
    REMEMBERED_EPOCHS,
    REMEMBERED_NAMES,
    USER_NAME,
)

Check = Callable[[Any], bool]


class Column(NamedTuple):
    """The check of a column. It has one value for each body; or, with `or_one`, one for all."""

    check: Check
    or_one: bool = False


# --- single values ---

_SURROGATES = re.compile(r"[\ud800-\udfff]")


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_NUMBER


def is_text(value: Any) -> bool:
    # Half of a surrogate pair has no encoding, and a hop may have to forward a text.
    return type(value) is str and len(value) <= 500 and not _SURROGATES.search(value)


# A pattern takes longer than all the rest of a check, so the names that fit are remembered.
@functools.lru_cache(maxsize=REMEMBERED_NAMES)
def _address_ok(value: str) -> bool:
    return ADDRESS.fullmatch(value) is not None


@functools.lru_cache(maxsize=REMEMBERED_NAMES)
def is_user(value: str) -> bool:
    """Is this string the name of a user?"""
    return USER_NAME.fullmatch(value) is not None


def is_address(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_ADDRESS_CHARS and _address_ok(value)


def is_addresses(value: Any) -> bool:
    return (
        type(value) is list
        and 0 < len(value) <= MAX_ADDRESSES
        and all(map(is_address, value))
        and len(set(value)) == len(value)
    )


def is_prefix(value: Any) -> bool:
    return value == "" or is_address(value)


def is_name(value: Any) -> bool:
    return type(value) is str and INSTANCE_NAME.fullmatch(value) is not None


def is_host(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 255 and value.isprintable() and " " not in value


def is_port(value: Any) -> bool:
    return type(value) is int and 0 < value < 65536


def is_policy(value: Any) -> bool:
    return value in ("consistent", "ordered")


_HEX = re.compile(r"[0-9a-f]{16,64}")


# A few of them repeat: the epochs of manifolds.
@functools.lru_cache(maxsize=REMEMBERED_EPOCHS)
def _hex_ok(value: str) -> bool:
    return _HEX.fullmatch(value) is not None


def is_hex(value: Any) -> bool:
    return type(value) is str and len(value) <= 64 and _hex_ok(value)


def is_role(value: Any) -> bool:
    return value in ("client", "operator", "service")


def is_true(value: Any) -> bool:
    return value is True


def is_raw(value: Any) -> bool:
    return type(value) is bytes


def is_id(value: Any) -> bool:
    # Our own ids are letters and digits; this check takes a tenth of a pattern's time.
    return type(value) is str and (
        (value.isalnum() and value.isascii() and len(value) <= 64)
        or BARK_ID.fullmatch(value) is not None
    )


# --- columns ---


class _Entries:
    """The addresses in entries of ``to``: ``inbox/ark3 inbox/rdl`` has two.

    Authors bark more than once, so entries repeat, and are remembered up to so many bytes; beyond
    that all are forgotten.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}
        self._bytes = 0  # of memory for them, about

    def split(self, entry: str) -> tuple[str, ...]:
        """Its addresses, each once. Raises ValueError if it is no list of addresses."""
        addresses = self._known.get(entry)
        if addresses is None:
            addresses = tuple(entry.split(" "))
            if not is_addresses(list(addresses)):
                raise ValueError("not addresses with a space between them")
            size = 200 + 2 * len(entry) + 60 * len(addresses)
            self._bytes += size
            if self._bytes > REMEMBERED_BYTES:
                self._known.clear()
                self._bytes = size
            self._known[entry] = addresses
        return addresses

    def has(self, entry: str) -> bool:
        """Is it a list of addresses?"""
        if entry in self._known:
            return True
        try:
            return bool(self.split(entry))
        except ValueError:
            return False


_entries = _Entries()
addresses_in = _entries.split


_STRINGS = {str}


# A whole column in one look: its values with a space between them, of which none has a space.
_USERS = re.compile(f"{USER_NAME.pattern}(?: {USER_NAME.pattern})*")
_IDS = re.compile(f"{BARK_ID.pattern}(?: {BARK_ID.pattern})*")


def _are(pattern: re.Pattern[str], value: Any) -> bool:
    """Is it a list of values that fit, with one value at least?"""
    try:
        text = " ".join(value)
    except TypeError:  # no list, or not of texts
        return False
    return (
        type(value) is list
        and text.count(" ") == len(value) - 1
        and pattern.fullmatch(text) is not None
    )


# While the system is not busy, nearly every column has one value, and a reader waits for it; so it
# is checked without sets.


def is_to(value: Any) -> bool:
    """For each body its addresses, with a space between them; or one entry for all bodies."""
    if type(value) is list and len(value) == 1:
        return type(value[0]) is str and _entries.has(value[0])
    return (
        type(value) is list
        and set(map(type, value)) == _STRINGS
        and all(map(_entries.has, set(value)))
    )


def is_counts(value: Any) -> bool:
    if type(value) is list and len(value) == 1:
        return type(value[0]) is int and 0 <= value[0] <= MAX_COUNT
    return (
        type(value) is list
        and set(map(type, value)) == {int}
        and min(value) >= 0
        and max(value) <= MAX_COUNT
    )


def is_numbers(value: Any) -> bool:
    return is_counts(value) and max(value) <= MAX_NUMBER


def is_users(value: Any) -> bool:
    return _are(_USERS, value)


def is_ids(value: Any) -> bool:
    return _are(_IDS, value)


def is_named(value: Any) -> bool:
    """For each body the users that it names, with a space between them, or "" if there are none."""
    if type(value) is not list or set(map(type, value)) != _STRINGS:
        return False
    names = " ".join(set(value)).split(" ")
    return max(map(len, names)) <= 20 and all(map(is_user, {*names} - {""}))


def is_traces(value: Any) -> bool:
    """For each body the name that it is followed by, or "" if it is not followed."""
    return (
        type(value) is list
        and set(map(type, value)) == _STRINGS
        and all(map(is_id, {*value} - {""}))
    )


def is_places(value: Any) -> bool:
    """Places of some of the bodies, from 0 on, in order."""
    return is_counts(value) and all(a < b for a, b in pairwise(value))


def is_raws(value: Any) -> bool:
    if type(value) is list and len(value) == 1:
        return type(value[0]) is bytes
    return type(value) is list and set(map(type, value)) == {bytes}


# --- as JSON ---

# Values are written without an encoder if their alphabets need no escapes. Other types are left to
# the encoder.
_as_strings = '","'.join


def _as_numbers(value: Iterable[int]) -> str:
    return ",".join(map(str, value))


WRITTEN: Mapping[Check, tuple[str, Callable[[Any], str]]] = {
    is_count: ("%s", str),
    is_port: ("%s", str),
    is_hex: ('"%s"', str),
    is_address: ('"%s"', str),
    is_name: ('"%s"', str),
    is_to: ('["%s"]', _as_strings),
    is_users: ('["%s"]', _as_strings),
    is_ids: ('["%s"]', _as_strings),
    is_named: ('["%s"]', _as_strings),
    is_counts: ("[%s]", _as_numbers),
    is_numbers: ("[%s]", _as_numbers),
    is_places: ("[%s]", _as_numbers),
}

# --- the types ---

Count = Annotated[int, is_count]
Text = Annotated[str, is_text]
Address = Annotated[str, is_address]
Addresses = Annotated[Sequence[str], is_addresses]
Prefix = Annotated[str, is_prefix]
Name = Annotated[str, is_name]
Host = Annotated[str, is_host]
Port = Annotated[int, is_port]
Policy = Annotated[str, is_policy]
Hex = Annotated[str, is_hex]
Role = Annotated[str, is_role]
Yes = Annotated[bool, is_true]
Body = Annotated[bytes, is_raw]
Bodies = Annotated[Sequence[bytes], is_raws]
To = Annotated[Sequence[str], Column(is_to, or_one=True)]
Counts = Annotated[Sequence[int], Column(is_counts)]
Number = Annotated[int, is_number]
Numbers = Annotated[Sequence[int], Column(is_numbers)]
Users = Annotated[Sequence[str], Column(is_users)]
Ids = Annotated[Sequence[str], Column(is_ids)]
Named = Annotated[Sequence[str], Column(is_named)]
Traces = Annotated[Sequence[str], Column(is_traces)]
Places = Annotated[Collection[int], is_places]
