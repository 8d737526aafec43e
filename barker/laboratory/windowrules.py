"""Window rules: does a window of duplicates keep its rules? Each check returns why not, or "".

A check makes small windows of the class, and knows what they must know: it has accepted all of it.
`barker.delivery.duplicates` has the rules.
"""

import array
import random
from collections.abc import Callable, Sequence
from typing import Any

Window = Any  # a class like `barker.delivery.duplicates.Duplicates`

WINDOW, KEYS = 8, 16
# Entries of all collections in a window together, after many barks of many origins. The bound of
# each table may be ours several times over.
MOST_ENTRIES = 40_000


def _take(window: Window, id_: str, origin: str | None, n: int, to: Sequence[str]) -> list[str]:
    """Ask about one, and add what is fresh, as an inbox does; the fresh ones."""
    fresh, _ = window.fresh(("ark3", id_), origin, n, to)
    fresh = list(fresh)
    if fresh:
        window.add(("ark3", id_), origin, n, fresh)
    return fresh


def rule_1(kind: Window) -> str:
    """Once for each address; user and id together are the key."""
    window = kind(WINDOW, KEYS)
    for to, right in (("a b", "a b"), ("b a", ""), ("c a d", "c d"), ("d c b a", "")):
        if (got := _take(window, "x", "o", 1, to.split())) != right.split():
            return f"a bark comes for {to}, and is fresh for {' '.join(got) or 'none'}"
    for origin, n, key in (("o", 2, ("rdl", "x")), (None, 0, ("ark3", "y"))):
        if list(window.fresh(key, origin, n, ["a"])[0]) != ["a"]:
            return f"{key} is taken for ('ark3', 'x')"
    if _take(window, "x", "p", 7, ["a"]):
        return "a bark that comes again by another outbox is fresh"
    return ""


def rule_2(kind: Window) -> str:
    """A counter is known for the window of its origin."""
    window = kind(WINDOW, KEYS)
    for n in range(1, WINDOW + 1):
        _take(window, f"quiet{n}", "quiet", n, ["a"])
    for n in range(10 * KEYS):
        _take(window, f"busy{n}", "busy", n, ["a"])
    for n in range(1, WINDOW + 1):
        if _take(window, f"quiet{n}", "quiet", n, ["a"]):
            late = f"after {10 * KEYS} barks of another origin"
            return f"counter {n} of {WINDOW} comes again {late}, and is fresh"
    dice = random.Random(1)
    newest = 0
    for _ in range(500):
        newest += dice.choice((1, 1, 1, 3))
        _take(window, f"o{newest}", "o", newest, ["a"])
        back = newest - dice.randrange(WINDOW)
        seen = _take(window, f"o{back}", "o", back, ["a"]) if back > 0 else []
        if _take(window, f"o{back}", "o", back, ["a"]) if back > 0 else seen:
            return f"counter {back} comes again, {newest} is the highest, and it is fresh"
    return ""


def rule_3(kind: Window) -> str:
    """Out of the window the key decides, and new is late, not lost."""
    window = kind(WINDOW, 10 * KEYS)
    _take(window, "old", "o", 90, ["a"])
    _take(window, "new", "o", 200, ["a"])
    for n in (199, 150, 3):
        fresh, late = window.fresh(("ark3", f"x{n}"), "o", n, ["a"])
        if list(fresh) != ["a"]:
            return f"a bark with counter {n} comes first after {200}: it is dropped, and lost"
        if not late:
            return f"a bark with counter {n} comes after {200}, and is not late"
    if (
        window.fresh(("ark3", "y"), "o", 201, ["a"])[1]
        or window.fresh(("a", "y"), "p", 1, ["a"])[1]
    ):
        return "a bark with the highest counter of its origin is late"
    if _take(window, "old", "o", 90, ["a"]):
        return "a bark that waited for long comes again, its key is known, and it is fresh"
    window = kind(WINDOW, KEYS)
    for n in range(10 * KEYS):
        _take(window, f"u{n}", None, 0, ["a"])
        for back in range(max(0, n - KEYS + 1), n + 1):
            if window.fresh(("ark3", f"u{back}"), None, 0, ["a"])[0]:
                return f"min_keys is {KEYS}, and of the keys {n - back + 1} back one is forgotten"
    return ""


def rule_4(kind: Window) -> str:
    """A question changes nothing."""
    window = kind(WINDOW, KEYS)
    _take(window, "x", "o", 5, ["a"])
    before = _content(window)
    for origin, n, id_ in (("o", 6, "y"), ("new", 1, "z"), (None, 0, "u"), ("o", 5, "x")):
        window.fresh(("ark3", id_), origin, n, ["a", "b"])
    if _content(window) != before:
        return "`fresh` changes the window: a batch that can't be kept would be remembered"
    return ""


def bound(kind: Window) -> str:
    """Memory has a bound."""
    window, many, origins = kind(WINDOW, KEYS), 20_000, 400
    for n in range(many):
        _take(window, f"m{n}", f"origin{n % origins if n > many // 2 else 0}", n, ["a"])
    if (size := _entries(window)) > MOST_ENTRIES:
        return f"after {many} barks it has {size} entries, for a window of {WINDOW}"
    return ""


def _parts(value: Any) -> list[Any] | None:
    """What a collection or an object holds, of a dict its values; None of all else."""
    if isinstance(value, dict):
        return list(value.values())
    if _is_collection(value):
        return list(value)
    if isinstance(value, type) or callable(value):
        return None
    names = [n for kind in type(value).__mro__ for n in kind.__dict__.get("__slots__", ())]
    names += getattr(value, "__dict__", ())
    return [getattr(value, name, None) for name in names] or None


def _is_collection(value: Any) -> bool:
    kinds = (dict, list, tuple, set, frozenset)
    return isinstance(value, kinds) or hasattr(value, "popleft")


def _content(value: Any, depth: int = 7) -> Any:
    """Something to compare it by, later. The reader's classes need not be made for copies."""
    parts = _parts(value)
    if depth == 0 or parts is None:
        return repr(value)
    keys = list(value) if isinstance(value, dict) else []
    return keys, [_content(part, depth - 1) for part in parts]


def _entries(value: Any, depth: int = 7) -> int:
    """How many entries the collections in it have, those inside them too."""
    parts = _parts(value)
    if depth == 0 or parts is None:
        return len(value) if isinstance(value, bytearray | array.array) else 0
    own = len(parts) if _is_collection(value) else 0
    return own + sum(_entries(part, depth - 1) for part in parts)


RULES: dict[str, Callable[[Window], str]] = {
    check.__name__: check for check in (rule_1, rule_2, rule_3, rule_4, bound)
}
