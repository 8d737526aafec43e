"""The table: the fields of all types of messages, in a form by which any message is checked.

Made once, from annotations and defaults, with the checks in `barker.wire.fields`. Left out: the
types themselves; those of the wire are in `barker.wire.ops`, those of journals in
`barker.wire.records`.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

from barker.wire.fields import Check, Column, is_raw, is_raws

_NOTHING = object()


class Field(NamedTuple):
    """One field of a message."""

    name: str
    check: Check
    required: bool
    nullable: bool
    default: Any  # if it is not required
    column: Column | None
    item: Any  # of a list of objects: the type of each


class Row(NamedTuple):
    """The field for a reader of lines: its place in the type, and its checks."""

    place: int
    check: Check
    required: bool
    nullable: bool
    column: Column | None
    item: Any


class Spec(NamedTuple):
    """One type of messages; numbers are those of fields in the type.

    `forms` and `shapes` are `barker.wire.messages`' caches: for messages that lack the same fields,
    and for lines with the same keys.
    """

    op: str
    type: Any
    fields: tuple[Field, ...]  # in the type's order
    head: tuple[int, ...]  # in a line's order, without its end
    defaults: tuple[Any, ...]  # of each; a required field has one that no value equals
    absent: tuple[Any, ...]  # a message without any field
    by_name: Mapping[str, Row]
    required: int  # how many have to be there
    body: int | None  # the last field of a line
    bodies: int | None
    forms: dict[tuple[bool, ...], Any]
    shapes: dict[tuple[str, ...], Any]

    @property
    def written(self) -> tuple[Field, ...]:
        """All fields in a line's order."""
        return tuple(sorted(self.fields, key=_is_end))


def _is_end(field: Field) -> bool:
    return field.check in (is_raw, is_raws)


def table(types: Iterable[Any]) -> Mapping[str, Spec]:
    """By op, the specs of all these types."""
    return {kind.__name__.lower(): _spec(kind) for kind in types}


def _spec(kind: Any) -> Spec:
    fields = tuple(_fields(kind))
    ends = {field.check: i for i, field in enumerate(fields) if _is_end(field)}
    head = tuple(i for i, field in enumerate(fields) if not _is_end(field))
    defaults = tuple(_NOTHING if f.required or _is_end(f) else f.default for f in fields)
    by_name = {
        f.name: Row(i, f.check, f.required, f.nullable, f.column, f.item)
        for i, f in enumerate(fields)
    }
    absent = tuple(field.default for field in fields)
    required = sum(field.required for field in fields)
    op = kind.__name__.lower()
    tables = (head, defaults, absent, by_name, required)
    return Spec(op, kind, fields, *tables, ends.get(is_raw), ends.get(is_raws), {}, {})


def _fields(kind: Any) -> Iterator[Field]:
    hints = get_type_hints(kind, include_extras=True)
    defaults = kind._field_defaults
    for name in kind._fields:
        options = get_args(hints[name])
        nullable = NoneType in options
        annotated = options[0] if nullable else hints[name]
        check, *item = annotated.__metadata__
        yield Field(
            name,
            check.check if isinstance(check, Column) else check,
            name not in defaults,
            nullable,
            defaults.get(name),
            check if isinstance(check, Column) else None,
            item[0] if item else None,
        )
