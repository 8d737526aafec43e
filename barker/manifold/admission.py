"""Admission: which entries of a put an outbox accepts, and why it refuses the others.

A line of barks in our own clients' spelling is checked by its columns, all of it at once. If one of
its entries is out of the ordinary, each is checked alone.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from barker.delivery.duplicates import Keys
from barker.graph.people import People
from barker.manifold.intake import Faults
from barker.routing.routes import split
from barker.wire import bodies, protocol, strictjson
from barker.wire.bodies import JOIN, check_event
from barker.wire.ops import Put
from barker.wire.protocol import BAD_MESSAGE, FULL, BadMessage

# How far a client's `at` may be ahead of our clock; a later one is set to ours. An earlier one may
# be right: pages keep barks while they are offline. The last change of an edge counts, and one from
# the future would win for as long as it takes that future to come.
MAX_AHEAD_S = 60

# Known authors of barks here, of some 230 bytes. Beyond it, all are forgotten, and looked up again
# among the users.
REMEMBERED_AUTHORS = 500_000

Key = tuple[str, str]


class Columns(NamedTuple):
    """Accepted entries: all columns of a put but its counters."""

    bodies: Sequence[bytes]
    users: Sequence[str]
    ids: Sequence[str]
    at: Sequence[int]
    named: Sequence[str] | None
    trace: Sequence[str] | None


class Admitted(NamedTuple):
    """The entries of one line to keep: barks and events, and their keys."""

    barks: Columns | None
    events: Columns | None
    keys: dict[Key, int]  # with the hash of the text
    authors: set[str]  # without those that are known already
    joins: set[str]  # users that exist by it


class _Row(NamedTuple):
    body: bytes
    user: str
    id: str
    at: int
    named: str
    trace: str


class _Taken:
    """The entries accepted so far of a line that is checked one by one."""

    def __init__(self) -> None:
        self.barks: list[_Row] = []
        self.events: list[_Row] = []
        self.keys: dict[Key, int] = {}
        self.joins: set[str] = set()

    def admitted(self) -> Admitted | None:
        barks, events = _columns(self.barks), _columns(self.events)
        authors = {user for user, _ in self.keys}
        return Admitted(barks, events, self.keys, authors, self.joins) if barks or events else None


def _columns(rows: Sequence[_Row]) -> Columns | None:
    if not rows:
        return None
    texts, users, ids, at, named, trace = zip(*rows, strict=True)
    rest = (column if any(column) else None for column in (named, trace))
    return Columns(texts, users, ids, at, *rest)


def _said(fields: dict[str, Any]) -> int:
    """A hash of a bark's or an event's content without its time: its text, or the change."""
    if "kind" in fields:
        return hash((fields["kind"], fields.get("whom")))
    return hash(fields.get("content"))


class Admission:
    """Checks puts for one outbox. A check changes nothing; see `accept`."""

    def __init__(
        self,
        service: str,
        people: People,
        barks_full: Callable[[int], str],
        events_full: Callable[[int], str],
        check_join: Callable[[Key, bytes], None],
    ) -> None:
        """`barks_full` and `events_full` return why there is no room for so many more, or "".

        `check_join` raises BadMessage unless a new join may be taken.
        """
        self._service = service
        self._people = people
        self._barks_full = barks_full
        self._events_full = events_full
        self._check_join = check_join
        self._known = Keys()
        self._authors: dict[str, str] = {}  # by address

    def accept(self, admitted: Admitted) -> None:
        """The journal has it: its entries are known from now on."""
        self._known.add(admitted.keys)
        if admitted.authors:
            self._have_spoken(admitted.authors)
        for user in admitted.joins:
            self._people.add(user)

    def recover(self, put: Put, *, joins: bool) -> None:
        """The journal had this put; `joins`: there may be joins in it."""
        users = put.users or ()
        meanings = [fields or {} for fields in strictjson.objects(put.bodies)]
        keys = zip(users, put.ids or (), strict=True)
        self._known.add(dict(zip(keys, map(_said, meanings), strict=True)))
        self._have_spoken(users)  # also if there is no such user any more: it was acked
        if joins:
            for user, fields in zip(users, meanings, strict=True):
                if fields.get("kind") == JOIN:
                    self._people.add(user)

    def _have_spoken(self, users: Iterable[str]) -> None:
        if len(self._authors) >= REMEMBERED_AUTHORS:
            self._authors.clear()
        self._authors.update((f"{self._service}/{user}", user) for user in {*users})

    @property
    def authors(self) -> int:
        """How many users have barked here."""
        return len(self._authors)

    def check(self, put: Put) -> tuple[Admitted | None, Faults]:
        """The entries to keep, if there are any, and those to refuse."""
        latest = time.time_ns() // 1_000_000 + 1000 * MAX_AHEAD_S
        plain = self._check_all(put, latest)
        return (plain, []) if plain else self._check_each(put, latest)

    def _check_all(self, put: Put, latest: int) -> Admitted | None:
        """All of them, if none is out of the ordinary: known authors, new keys, room for all."""
        columns = None if put.origin else bodies.plain_barks(put.bodies)
        if columns is None:
            return None
        ids, users, contents, at = columns
        keys = dict(zip(zip(users, ids, strict=True), map(hash, contents), strict=True))
        if (
            [*map(self._authors.get, put.entries())] != users
            or max(at) > latest
            or len(keys) < len(users)
            or not self._known.are_new(keys)
            or self._barks_full(len(users))
        ):
            return None
        named = None
        if "@" in "".join(contents):
            named = [" ".join(bodies.mentions(content)) for content in contents]
        barks = Columns(put.bodies, users, ids, at, named, put.trace)
        return Admitted(barks, None, keys, set(), set())

    def _check_each(self, put: Put, latest: int) -> tuple[Admitted | None, Faults]:
        meanings = strictjson.objects(put.bodies)
        taken, faults = _Taken(), []
        full: BadMessage | None = None
        rows = zip(put.entries(), put.bodies, meanings, put.trace or repeat(""), strict=False)
        for place, (address, body, fields, trace) in enumerate(rows):
            try:
                if full:
                    raise full
                if put.origin is not None:
                    raise BadMessage(BAD_MESSAGE, "an outbox stamps what it takes itself")
                if " " in address:
                    raise BadMessage(BAD_MESSAGE, "a bark has one author")
                body = bodies.admitted(body, fields)
                assert fields is not None
                at = fields.get("at")
                if type(at) is int and at > latest:
                    fields = {**fields, "at": latest - 1000 * MAX_AHEAD_S}
                    body = strictjson.dumps(fields)
                check = self._check_event if "kind" in fields else self._check_bark
                check(address, body, fields, trace, taken)
            except BadMessage as fault:
                faults.append((place, fault))
                if fault.code == FULL:  # later entries must not overtake it
                    full = BadMessage(FULL, "something before it was refused as full")
        return taken.admitted(), faults

    def _check_bark(
        self, address: str, body: bytes, fields: dict[str, Any], trace: str, taken: _Taken
    ) -> None:
        key = bodies.check_bark(fields)
        user = self._authors.get(address)
        if user is None:
            user = split(address)[1]
            self._check_exists(user, taken)
        if key[0] != user:
            raise BadMessage(BAD_MESSAGE, f"{address} takes no barks of {key[0]}")
        if why := self._barks_full(len(taken.barks) + 1):
            raise BadMessage(FULL, why)
        said = _said(fields)
        if self._is_new(key, said, taken):
            taken.keys[key] = said
            named = " ".join(bodies.mentions(fields["content"]))
            taken.barks.append(_Row(body, *key, fields["at"], named, trace))

    def _is_new(self, key: Key, said: int, taken: _Taken) -> bool:
        """Is the key unknown? Raises BadMessage if it is known with another text."""
        known = taken.keys.get(key, self._known.said(key))
        if known not in (None, said):
            raise BadMessage(BAD_MESSAGE, f"{key[0]} has said something else with the id {key[1]}")
        return known is None

    def _check_exists(self, user: str, taken: _Taken) -> None:
        if user not in self._people and user not in taken.joins:
            if self._people.may_lack:
                raise BadMessage(FULL, "who else exists is not known here yet")
            raise BadMessage(protocol.UNKNOWN_USER, f"there is no user {user}")

    def _check_event(
        self, address: str, body: bytes, fields: dict[str, Any], trace: str, taken: _Taken
    ) -> None:
        """A change of the graph."""
        event = check_event(fields)
        if event.user != split(address)[1]:
            raise BadMessage(BAD_MESSAGE, f"{address} takes nothing of {event.user}")
        if why := self._events_full(len(taken.events) + 1):
            raise BadMessage(FULL, why)
        joins = event.kind == JOIN
        if not joins:
            self._check_exists(event.user, taken)
            self._check_exists(event.whom, taken)
        key, said = (event.user, event.id), _said(fields)
        if not self._is_new(key, said, taken):
            return
        if joins:
            self._check_join(key, body)
            taken.joins.add(event.user)  # later entries of the line may be by that user
        taken.keys[key] = said
        taken.events.append(_Row(body, *key, event.at, "", trace))
