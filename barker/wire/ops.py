"""Ops: every message of the protocol, as a type.

A message is one JSON object. Its ``op`` is the name of the type in small letters, its keys are the
fields below in their order, with a body or bodies last. A field that has a default may be absent,
and is left out where it has that value. `barker.wire.fields` defines the values of a field.

`barker.wire.messages` turns a message into a line and back, by the table ``OPS`` at the end. That
is made of these types; so are the fuzzer's messages and the tables of the protocol's reference.
"""

import functools
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Annotated, Any, NamedTuple, get_args

from barker.wire import fields
from barker.wire.fields import (
    Address,
    Addresses,
    Bodies,
    Body,
    Count,
    Counts,
    Hex,
    Host,
    Ids,
    Name,
    Named,
    Numbers,
    Places,
    Policy,
    Port,
    Prefix,
    Role,
    Text,
    To,
    Traces,
    Users,
    Yes,
)
from barker.wire.table import table

# --- opening, keeping, closing -------------------------------------------------------------------


class Hello(NamedTuple):
    """The first message of either side, the opener's first. It has no more for a stranger.

    The opener's `role` chooses the key with which both sides prove themselves.
    """

    v: Count
    role: Role
    nonce: Hex


class Proof(NamedTuple):
    """The second message of either side: the sender knows the key, and gives its name.

    `epoch` is a directory's own, or the last directory's that the sender knew.
    """

    mac: Hex
    name: Name
    epoch: Hex | None = None


class Ping(NamedTuple):
    """Requests a pong, which comes behind all that was sent before."""


class Pong(NamedTuple):
    """The answer, one for each ping."""


class Error(NamedTuple):
    """The last message before a close: the link is at fault."""

    code: Name
    reason: Text


# --- the directory -------------------------------------------------------------------------------


class Register(NamedTuple):
    """This instance serves that address, for as long as this link lives."""

    address: Address
    name: Name
    host: Host
    port: Port
    policy: Policy
    kind: Name
    since: Count


class Unregister(NamedTuple):
    """It serves that address no longer, though the link goes on."""

    address: Address
    name: Name


class Watch(NamedTuple):
    """Requests the routes of everything at or below an address, now and at each change."""

    prefix: Prefix


class Instance(NamedTuple):
    """One target of a route: no message, but an object in one."""

    name: Name
    host: Host
    port: Port
    since: Count
    kind: Name | None = None


def is_targets(value: Any) -> bool:
    return type(value) is list and all(
        type(target) is dict
        and fields.is_name(target.get("name"))
        and fields.is_host(target.get("host"))
        and fields.is_port(target.get("port"))
        and fields.is_count(target.get("since"))
        and ("kind" not in target or fields.is_name(target["kind"]))
        for target in value
    )


class Routes(NamedTuple):
    """The whole list for one address; an empty one means that no instance serves it."""

    address: Address
    policy: Policy
    targets: Annotated[Sequence[Instance], is_targets, Instance]


class Resolve(NamedTuple):
    """Requests a choice by the directory, for peers that hold no ring."""

    address: Address


class Target(NamedTuple):
    """The choice, now and again at each change; all null if no instance serves the address."""

    address: Address
    name: Name | None
    host: Host | None
    port: Port | None


# --- handing over --------------------------------------------------------------------------------


class Item(NamedTuple):
    """One entry of a put: no message, but a row through its columns.

    Without an `origin` it is as its author's client put it. The first manifold adds the other
    fields. It has looked into the body, so that no later hop has to.
    """

    body: bytes
    origin: str | None = None
    n: int = 0
    user: str = ""
    id: str = ""
    at: int = 0
    named: str = ""
    old: bool = False
    trace: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Its key at every hop."""
        return self.user, self.id


# As `Item._make`, without a call of Python for each.
new_item = functools.partial(tuple.__new__, Item)
_UNSTAMPED = Item(b"")[1:-1]


class Put(NamedTuple):
    """Take these over: entries, numbered from `seq` on, each with its addresses.

    `origin` and all columns behind it are the stamp of the first manifold: its epoch, and for each
    entry its counter there, its author, id and time, and the users that it names. A client sends
    none of them.
    """

    seq: Count
    to: To
    bodies: Bodies
    origin: Hex | None = None
    old: Yes = False  # a former owner hands them over
    n: Numbers | None = None
    users: Users | None = None
    ids: Ids | None = None
    at: Counts | None = None
    named: Named | None = None
    trace: Traces | None = None  # also a client's: each service notes when the entry came

    @classmethod
    def of(cls, seq: int, to: Sequence[str], items: Sequence[Item]) -> "Put":
        """The put of these items, all of one origin, and all `old` or none."""
        if len(items) == 1:
            one = items[0]
            traced_one = [one.trace] if one.trace else None
            if one.origin is None:
                return cls(seq, to, [one.body], trace=traced_one)
            columns = ([one.n], [one.user], [one.id], [one.at], [one.named] if one.named else None)
            return cls(seq, to, [one.body], one.origin, one.old, *columns, traced_one)
        bodies, (origin, *_), n, users, ids, at, named, (old, *_), trace = zip(*items, strict=True)
        traced = trace if any(trace) else None
        if to.count(to[0]) == len(to):
            to = to[:1]
        if origin is None:
            return cls(seq, to, bodies, trace=traced)
        names = named if any(named) else None
        return cls(seq, to, bodies, origin, old, n, users, ids, at, names, traced)

    def is_followed_by(self, other: "Put") -> bool:
        """Are these two one put, cut in two?"""
        source = self.origin, self.old, self.seq + len(self.bodies)
        return source == (other.origin, other.old, other.seq)

    @classmethod
    def joined(cls, puts: "Sequence[Put]") -> "Put":
        """All entries of puts of which each is followed by the next."""
        first = puts[0]
        if len(puts) == 1:
            return first

        def whole(column: str) -> Any:
            parts = [getattr(put, column) for put in puts]
            if not any(parts):
                return None
            gaps = ([""] * len(put.bodies) for put in puts)
            return [one for part, gap in zip(parts, gaps, strict=True) for one in part or gap]

        to = [entry for put in puts for entry in put.entries()]
        columns = map(whole, ("n", "users", "ids", "at", "named", "trace"))
        return cls(first.seq, to, whole("bodies"), first.origin, first.old, *columns)

    def items(self) -> Iterator[Item]:
        """Its entries, one by one."""
        if self.origin is None:
            rows = zip(
                self.bodies, *map(repeat, _UNSTAMPED), self.trace or repeat(""), strict=False
            )
            return map(new_item, rows)
        stamp = (self.n, self.users, self.ids, self.at, self.named or repeat(""))
        ends = (repeat(self.old), self.trace or repeat(""))
        rows = zip(self.bodies, repeat(self.origin), *stamp, *ends)  # type: ignore[arg-type]
        return map(new_item, rows)

    def select(self, places: Sequence[int]) -> "Put":
        """Only the entries at these places, one or more, in this order."""

        def some(column: Any) -> Any:
            return column and [column[i] for i in places]

        columns = map(some, (self.n, self.users, self.ids, self.at, self.named, self.trace))
        to = some(self.to) if len(self.to) == len(self.bodies) else self.to
        return Put(self.seq, to, some(self.bodies), self.origin, self.old, *columns)

    def entries(self) -> Sequence[str]:
        """`to` with an entry for each body."""
        return self.to if len(self.to) == len(self.bodies) else [self.to[0]] * len(self.bodies)

    def fault(self) -> str | None:
        """A fault of the put as a whole."""
        stamp = (self.origin, self.n, self.users, self.ids, self.at)
        missing = stamp.count(None)
        if missing == 0 or (missing == len(stamp) and not (self.named or self.old)):
            return None
        return "stamped in part"


class Ack(NamedTuple):
    """All puts up to this number are taken over, except refused entries."""

    seq: Count


class Refuse(NamedTuple):
    """This entry of a put was not taken over for these addresses."""

    seq: Count
    code: Name
    reason: Text
    addresses: Addresses


# --- reading -------------------------------------------------------------------------------------


class Subscribe(NamedTuple):
    """Requests a stream: its past, and then each new entry.

    The reader has had all up to the serial `after` of `epoch`; without an epoch it is a new reader,
    and wants at most `history` entries of the past. `window` entries may be on their way to it.
    """

    address: Address
    epoch: Hex | None = None
    after: Count = 0
    history: Count | None = None
    window: Count | None = None


class Subscribed(NamedTuple):
    """The first answer: from here on, every entry of the stream is one serial more.

    `last` is the newest entry there is; later ones are not the past. `history` is how much of the
    past to show to a reader without a preference. The stream retains at most `retained` entries.
    """

    address: Address
    epoch: Hex
    serial: Count
    last: Count
    history: Count
    retained: Count | None = None


class Unreadable(NamedTuple):
    """There is nothing to read at this address."""

    address: Address
    code: Name
    reason: Text


class Message(NamedTuple):
    """The next entries of streams: bodies, each with the streams that it goes to.

    `late` are the places of entries that come after a newer one of their author.
    """

    to: To
    bodies: Bodies
    late: Places = ()
    trace: Traces | None = None  # as in the puts

    def entries(self) -> Sequence[str]:
        """`to` with an entry for each body."""
        return self.to if len(self.to) == len(self.bodies) else [self.to[0]] * len(self.bodies)

    def fault(self) -> str | None:
        """A fault of the message as a whole."""
        return "late without a body" if self.late and max(self.late) >= len(self.bodies) else None


class Credit(NamedTuple):
    """The reader has all up to this serial, and has room for more. It settles nothing."""

    address: Address
    serial: Count


class Gap(NamedTuple):
    """The next entries of the stream, so many, are no longer retained; it goes on behind them."""

    address: Address
    missed: Count


class Moved(NamedTuple):
    """This stream is another instance's."""

    address: Address


class Sample(NamedTuple):
    """A service's figures, for subscribers to its agent."""

    body: Body


# --- the table -----------------------------------------------------------------------------------

Op = (
    (Hello | Proof | Ping | Pong | Error)
    | (Register | Unregister | Watch | Routes | Resolve | Target)
    | (Put | Ack | Refuse)
    | (Subscribe | Subscribed | Unreadable | Message | Credit | Gap | Moved | Sample)
)
OPS = table(get_args(Op))


def op_of(message: Op) -> str:
    """The name of its type on a line."""
    return type(message).__name__.lower()
