"""The book's drawings, made from the code that they show.

    python docs/pictures.py

writes them beside this file; a test compares. It has no facts of its own: the list of processes is
the launcher's, the ring's points come from `Ring`, the barks of the failover go through a `Window`
and a `Duplicates`, and the states of a link are its own table. Only the messages of a hand-over are
written down here.
"""

import bisect
import math
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import inside  # noqa: E402
import kept  # noqa: E402
from shapes import Sequence, box, line, svg, text  # noqa: E402

import launch  # noqa: E402
from barker.delivery.batches import Batch  # noqa: E402
from barker.delivery.duplicates import Duplicates  # noqa: E402
from barker.delivery.window import Window  # noqa: E402
from barker.links.life import LIFE  # noqa: E402
from barker.process.dialing import BACKOFF_FIRST_S, BACKOFF_MAX_S  # noqa: E402
from barker.routing.ring import Ring, position  # noqa: E402
from barker.streams.cursor import Cursor  # noqa: E402
from barker.streams.stream import Stream  # noqa: E402
from barker.wire.ops import Put  # noqa: E402

# --- the architecture ---


def architecture() -> str:
    names: dict[str, list[str]] = {}
    for words in launch.COMMANDS:
        kind, *more = words.split()
        port = more[more.index("--port") + 1] if "--port" in more else ""
        names.setdefault(kind, []).append(f"{kind}-{port}" if port else kind)
    outboxes, (first,), (inbox,) = names["outbox"], names["bizlogic"], names["inbox"]
    (directory,), (followers,) = names["directory"], names["followers"]
    parts = []
    for i, (kind, what) in enumerate((("autobark", "dogs"), ("bark", "you"), ("a page", "you"))):
        parts.append(box(20, 120 + 80 * i, 92, [kind, what]))
        ends = [145 + 80 * j + 9 * (i - 1) for j in range(len(outboxes))]  # no arrow hides another
        parts += [line(112, 145 + 80 * i, 197, end) for end in ends]
    for i, name in enumerate(outboxes):
        parts.append(box(200, 120 + 80 * i, 120, [name, "journal, queue"]))
        parts.append(line(320, 145 + 80 * i, 414, 222 - 4 + 4 * i))
        parts.append(line(320, 150 + 80 * i, 414, 306, "dash", arrow=False))
    parts.append(box(418, 196, 120, [first, "who follows?"]))
    parts.append(box(418, 290, 120, ["a spare", "the next one"]))
    parts.append(line(538, 221, 622, 221))
    parts.append(line(538, 310, 622, 240, "dash", arrow=False))
    parts.append(box(626, 196, 140, [inbox, "journal, timelines"]))
    parts.append(box(626, 290, 140, [followers, "told to bizlogic"]))
    parts.append(line(626, 310, 542, 236, "dash"))
    for i, kind in enumerate(("listen", "a page")):
        y = 160 + 80 * i
        parts.append(box(830, y, 90, [kind, "reads"]))
        parts.append(line(766, 221, 826, y + 25))
    parts.append(box(318, 16, 284, [directory, "the place of each service, for all who watch"]))
    told = ((260, 116), (478, 192), (696, 192))
    parts += [line(460, 66, x, y, "dash", arrow=False) for x, y in told]
    for x, policy, key in (
        (154, "consistent hash", "on the author"),
        (370, "ordered", "the first that works"),
        (580, "consistent hash", "on the reader"),
    ):
        parts.append(text(x, 372, policy, "mid bold"))
        parts.append(text(x, 390, key, "mid dim"))
    parts.append(text(806, 372, "windows", "mid bold"))
    parts.append(text(806, 390, "a cursor for each", "mid dim"))
    parts.append(
        text(470, 424, "at each arrow: put, take this over; ack, it is mine now", "mid dim")
    )
    parts.append(box(330, 440, 280, ["monitor-5700", "a sample of each service, once a second"]))
    return svg(940, 506, "Who puts to whom in Barker", parts)


# --- a failover ---


def failover() -> str:
    """Three barks; the first bizlogic is killed when one of them is settled."""
    author, outbox, first, spare, inbox = (
        "bark", "outbox-5800", "bizlogic-5680", "bizlogic-5681", "inbox-5820",
    )  # fmt: skip
    d = Sequence([author, outbox, first, spare, inbox])
    window: Window[int] = Window(limit=8)
    had = Duplicates()
    for n in (1, 2, 3):
        d.says(author, outbox, f"put seq {n}")
        window.add(Batch.of(Put(0, ["bizlogic"], [b"{}"]), [n]))
    d.notes(outbox, "writes n 1, 2, 3 to its journal")
    d.says(outbox, author, "ack seq 3")

    def pushed(to: str) -> list[tuple[int, int]]:
        sent = [(seq, batch.job(0)) for seq, batch in window.send(most=8)]
        for seq, n in sent:
            d.says(outbox, to, f"put seq {seq}, n {n}")
        return sent

    def taken(n: int) -> None:
        of = (("ark3", f"id{n}"), "epoch", n)
        fresh, _ = had.fresh(*of, ["inbox/rdl"])
        had.add(*of, fresh)
        d.notes(
            inbox, f"n {n}: new, kept" if fresh else f"n {n}: had it", "dim" if fresh else "bold"
        )

    sent = pushed(first)
    for seq, n in sent[:2]:
        d.says(first, inbox, f"put seq {seq}, n {n}")
        taken(n)
    d.says(inbox, first, "ack seq 1")
    d.says(first, outbox, "ack seq 1")
    window.ack(1)
    d.notes(outbox, f"{len(window)} are unacked")
    d.dies(first)
    window.rewind()
    d.notes(outbox, "another link: all of them again, numbered from 1")
    sent = pushed(spare)
    for seq, n in sent:
        d.says(spare, inbox, f"put seq {seq}, n {n}")
        taken(n)
    d.says(inbox, spare, f"ack seq {sent[-1][0]}")
    d.says(spare, outbox, f"ack seq {sent[-1][0]}")
    window.ack(sent[-1][0])
    d.notes(outbox, f"{len(window)} are unacked: it may forget them")
    return d.drawn("Put and ack through a failover of bizlogic")


# --- a full outbox ---


def full() -> str:
    """Three barks for an outbox that has room for one; no bark overtakes another."""
    author, outbox = "bark", "outbox-5800"
    d = Sequence([author, outbox], apart=330)
    window: Window[str] = Window(limit=8)

    def put(*barks: str) -> None:
        for bark in barks:
            window.add(Batch.of(Put(0, ["outbox/ark3"], [b"{}"]), [bark]))

    def send() -> None:
        for seq, batch in window.send(most=8):
            d.says(author, outbox, f"put seq {seq}: {batch.job(0)}")

    put("one", "two", "three")
    send()
    d.notes(outbox, "keeps one: full")
    for seq in (2, 3):
        d.says(outbox, author, f"refuse seq {seq}, full", "bad")
        window.put_off(seq, ["outbox/ark3"])
        if seq == 2:
            d.says(outbox, author, "ping")
    put("four")
    send()
    d.notes(author, "four waits: there are refused ones")
    d.says(author, outbox, "pong")
    d.notes(outbox, "has room again")
    d.says(outbox, author, "ack seq 3")
    window.ack(3)
    for batch in reversed(window.take_put_off()):
        window.add_first(batch)
    send()
    d.says(outbox, author, "ack seq 6")
    window.ack(6)
    return d.drawn("What follows after full")


# --- a hand-over ---


def handover() -> str:
    """A second inbox comes: the way of one timeline, and of its reader."""
    directory, old, new, reader = "directory", "inbox-5820", "inbox-5821", "listen"
    d = Sequence([directory, old, new, reader], left=80, apart=190)
    d.says(new, directory, "register")
    d.says(directory, old, "routes")
    d.notes(old, "not its timeline any more")
    d.says(old, reader, "moved")
    d.says(old, new, "put, old, stamped")
    d.notes(new, "keeps what it lacks")
    d.says(reader, new, "subscribe")
    d.says(new, reader, "all that is retained")
    d.notes(reader, "drops known ids")
    d.says(new, old, "ack")
    d.notes(old, "notes an empty timeline")
    return d.drawn("A timeline moves to a new inbox")


# --- the ring ---

POINTS = 16  # for each node: as many as the eye can count


def ring() -> str:
    three = [f"outbox-{port}" for port in (5800, 5801, 5802)]
    four = [*three, "outbox-5803"]
    before, after = Ring(three, POINTS), Ring(four, POINTS)
    parts = [
        *_circle(220, 236, before, None),
        *_circle(690, 236, after, before),
        text(220, 30, "three outboxes", "mid bold"),
        text(690, 30, "a fourth one comes", "mid bold"),
        text(690, 48, "bright: what has another owner now", "mid dim"),
    ]
    return svg(910, 430, "The ring of three outboxes, and what a fourth one takes", parts)


def _circle(x: float, y: float, shown: Ring, before: Ring | None) -> list[str]:
    """A ring as arcs in its owners' colours; what has not moved since `before` is pale."""
    colour = dict(zip(sorted(shown.nodes), "abcd", strict=False))
    parts = []
    places = shown._positions
    for i, owner in enumerate(shown._owners):
        start, end = places[i - 1] if i else places[-1] - 2**64, places[i]
        moved = before is None or _owner_at(before, end) != owner
        faint = "" if moved else " faint"
        parts.append(_arc(x, y, 128, start, end, f"arc {colour[owner]}{faint}", 26))
        parts.append(_dot(x, y, 148, end, 2.2, f"dot {colour[owner]}{faint}"))
    for key in ("ark3", "rdl", "ella", "lassie", "snoopy", "odie", "rhs"):
        place = position(key)
        angle = 2 * math.pi * place / 2**64
        owner = shown.owner(key) or ""
        parts.append(_dot(x, y, 108, place, 4, f"dot {colour[owner]}"))
        right = math.sin(angle) >= 0
        label_x, label_y = x + 164 * math.sin(angle), y - 164 * math.cos(angle) + 4
        parts.append(
            text(round(label_x, 1), round(label_y, 1), key, "code" if right else "code end")
        )
    for i, (name, share) in enumerate(shown.shares().items()):
        row = y - 30 + 24 * i
        parts.append(f'<circle class="dot {colour[name]}" cx="{x - 62:g}" cy="{row - 4:g}" r="6"/>')
        parts.append(text(x - 50, row, f"{name}  {share:.0%}", "code"))
    return parts


def _owner_at(of: Ring, place: int) -> str:
    return of._owners[bisect.bisect_left(of._positions, place) % len(of._owners)]


def _at(x: float, y: float, radius: float, place: int) -> tuple[float, float]:
    angle = 2 * math.pi * place / 2**64
    return x + radius * math.sin(angle), y - radius * math.cos(angle)


def _dot(x: float, y: float, radius: float, place: int, size: float, style: str) -> str:
    cx, cy = _at(x, y, radius, place)
    return f'<circle class="{style}" cx="{cx:.1f}" cy="{cy:.1f}" r="{size:g}"/>'


def _arc(x: float, y: float, radius: float, start: int, end: int, style: str, width: int) -> str:
    (x1, y1), (x2, y2) = _at(x, y, radius, start), _at(x, y, radius, end)
    large = int(end - start > 2**63)
    d = f"M{x1:.1f} {y1:.1f} A{radius:g} {radius:g} 0 {large} 1 {x2:.1f} {y2:.1f}"
    return f'<path class="{style}" stroke-width="{width}" d="{d}"/>'


# --- a link ---

PLACES = {
    "connecting": (90, 70),
    "greeting": (320, 70),
    "up": (550, 70),
    "closing": (550, 210),
    "closed": (320, 210),
}


def link() -> str:
    parts, legend = [], []
    for number, ((before, _), (after, event)) in enumerate(LIFE.items(), start=1):
        state, then = before.value, after.value
        (x1, y1), (x2, y2) = _edge(PLACES[state], PLACES[then])
        parts.append(line(x1, y1, x2, y2))
        at = 0.7 if {state, then} in ({"up", "closed"}, {"greeting", "closing"}) else 0.5
        x, y = x1 + (x2 - x1) * at, y1 + (y2 - y1) * at
        parts.append(f'<circle class="box" cx="{x:.1f}" cy="{y:.1f}" r="10"/>')
        parts.append(text(round(x, 1), round(y + 4.5, 1), str(number), "mid bold"))
        legend.append(text(60, 284 + 21 * number, f"{number}", "bold"))
        legend.append(text(84, 284 + 21 * number, event))
    for state, (x, y) in PLACES.items():
        parts.append(box(x - 55, y - 18, 110, [state], 36))
    first, last = f"{1000 * BACKOFF_FIRST_S:.0f} ms", f"{BACKOFF_MAX_S:g} s"
    parts.append('<path class="dash" d="M263 210 H60 V92" marker-end="url(#arrow)"/>')
    parts.append(text(70, 182, "a dialler, after", "dim"))
    parts.append(text(70, 199, f"{first} ... {last}", "dim"))
    return svg(680, 300 + 21 * len(LIFE), "The states of a link", [*parts, *legend])


def _edge(
    a: tuple[float, float], b: tuple[float, float]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """From border to border of two boxes, for centres `a` and `b`."""

    def border(of: tuple[float, float], to: tuple[float, float]) -> tuple[float, float]:
        dx, dy = to[0] - of[0], to[1] - of[1]
        part = min(57 / abs(dx) if dx else 9.0, 20 / abs(dy) if dy else 9.0)
        return round(of[0] + dx * part, 1), round(of[1] + dy * part, 1)

    return border(a, b), border(b, a)


# --- a timeline ---


def timeline() -> str:
    """One stream and one cursor: entries that are lost to its reader, on their way, and waiting."""
    stream: Stream[int] = Stream(keep=5)
    cursor = Cursor(after=6, window=3)
    for serial in range(1, 19):
        stream.append(serial)
        if serial <= 12:
            cursor.take(stream)
    shown, left, width = cursor.sent, 96, 44
    cursor.ack(shown)
    missed, first, sent = cursor.take(stream)

    def at(serial: int) -> int:
        return left + width * (serial - 7)

    def span(a: int, b: int, y: int, words: str, style: str) -> list[str]:
        return [
            line(at(a) + 3, y, at(b + 1) - 3, y, "line", arrow=False),
            text((at(a) + at(b + 1)) / 2, y + 20, words, f"mid {style}"),
        ]

    parts = [text(left, 64, "serials", "dim"), text(20, 100, "shown ...", "dim")]
    for serial in range(7, stream.last + 1):
        gone, on_its_way = serial <= stream.lost, first <= serial < first + len(sent)
        style = "dash" if gone else "box"
        parts.append(f'<rect class="{style}" x="{at(serial)}" y="76" width="{width}" height="38"/>')
        words = "mid dim" if gone else "mid bold" if on_its_way else "mid"
        parts.append(text(at(serial) + width / 2, 100, str(serial), words))
    acked = at(shown + 1)
    parts += [
        line(acked, 34, acked, 72),
        text(acked, 26, f"the reader has acked {shown}", "mid bold"),
        *span(shown + 1, shown + missed, 126, f"gap: {missed} lost", "bad"),
        *span(first, first + len(sent) - 1, 126, f"window: {len(sent)} sent", "bold"),
        *span(first + len(sent), stream.last, 126, "waiting", "dim"),
        *span(
            stream.lost + 1, stream.last, 164, f"retained: the last {len(stream.entries)}", "dim"
        ),
        line(at(first + len(sent)), 34, at(first + len(sent)), 72),
        text(at(first + len(sent)), 26, f"cursor: sent up to {cursor.sent}", "mid bold"),
    ]
    return svg(650, 200, "A timeline, and the cursor of one reader", parts)


PICTURES = {
    "barker-arch.svg": architecture,
    "failover.svg": failover,
    "full.svg": full,
    "handover.svg": handover,
    "ring.svg": ring,
    "link.svg": link,
    "timeline.svg": timeline,
    "modules.svg": inside.modules,
    "outbox.svg": inside.outbox,
    "journal.svg": kept.journal,
    "replica.svg": kept.joining,
}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (ROOT / "docs" / name).write_text(draw(), encoding="utf-8")
