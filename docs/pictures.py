"""The book's drawings, made from the code that they are of.

    python docs/pictures.py

writes them beside this file; a test compares. Nothing in here knows a fact of its own: the list of
processes is the launcher's, the ring's points come from `Ring`, the barks of the failover go
through a `Window` and a `Duplicates`, and the states of a link are its own table.
"""

import ast
import bisect
import math
import pathlib
import re
import sys
import textwrap
from collections.abc import Iterable
from html import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

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

# Each picture has its own paper, so that it can be read on any page; both sets of colours have a
# contrast of at least 4.5 for text.
STYLE = """
  svg { --paper: #ffffff; --ink: #1f2328; --dim: #59636e; --rule: #d1d9e0; --box: #f6f8fa;
        --a: #0a63c9; --b: #a35a00; --c: #1a7f37; --d: #b3307d; --bad: #c9212e; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #14181d; --ink: #e6edf3; --dim: #9aa5b1; --rule: #3a424c; --box: #1f252c;
          --a: #5aa7ff; --b: #e0a33e; --c: #4fc46a; --d: #f083bd; --bad: #ff7b72; }
  }
  text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink);
         stroke: var(--paper); stroke-width: 3px; paint-order: stroke; }
  .code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 12px; }
  .dim { fill: var(--dim); } .bad { fill: var(--bad); } .bold { font-weight: 600; }
  .mid { text-anchor: middle; } .end { text-anchor: end; }
  .paper { fill: var(--paper); } .box { fill: var(--box); stroke: var(--dim); }
  .line { stroke: var(--ink); fill: none; stroke-width: 1.4; } .thin { stroke: var(--rule); }
  .dash { stroke: var(--dim); stroke-dasharray: 4 4; fill: none; }
  .cut { stroke: var(--bad); stroke-width: 2.5; }
  .head { fill: var(--ink); } .faint { opacity: 0.25; }
  .a { --own: var(--a); } .b { --own: var(--b); } .c { --own: var(--c); } .d { --own: var(--d); }
  .arc { stroke: var(--own); fill: none; } .dot { fill: var(--own); }
"""


def svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
width="{width}" height="{height}" role="img">
<title>{escape(title)}</title>
<style>{STYLE}</style>
<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" \
orient="auto-start-reverse"><path class="head" d="M0 1 10 5 0 9z"/></marker></defs>
<rect class="paper" width="{width}" height="{height}"/>
{body}
</svg>
"""


def text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{style}">{escape(words)}</text>'


def line(
    x1: float, y1: float, x2: float, y2: float, style: str = "line", arrow: bool = True
) -> str:
    marker = ' marker-end="url(#arrow)"' if arrow else ""
    return f'<path class="{style}" d="M{x1:g} {y1:g} {x2:g} {y2:g}"{marker}/>'


def box(x: float, y: float, width: float, lines: list[str], height: float = 0) -> str:
    """A box around lines of text; the first one is its name."""
    height = height or 14 + 18 * len(lines)
    parts = [
        f'<rect class="box" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'
    ]
    top = y + height / 2 - 9 * (len(lines) - 1) + 4.5
    for i, words in enumerate(lines):
        style = "mid code" if i == 0 else "mid dim"
        parts.append(text(x + width / 2, top + 18 * i, words, style))
    return "\n".join(parts)


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
    parts.append(box(318, 16, 284, [directory, "who serves what, told to all who watch"]))
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
    parts.append(box(330, 440, 280, ["monitor-5700", "a sample of each, once a second"]))
    return svg(940, 506, "Who puts to whom in Barker", parts)


# --- a failover ---


class Sequence:
    """A sequence diagram that grows downwards."""

    step = 31

    def __init__(self, actors: list[str], left: int = 70, apart: int = 172) -> None:
        self.x = {name: left + apart * i for i, name in enumerate(actors)}
        self.y = 72
        self.parts: list[str] = []
        self.ends: dict[str, int] = {}

    def says(self, who: str, whom: str, words: str, style: str = "") -> None:
        x1, x2 = self.x[who], self.x[whom]
        towards = 1 if x2 > x1 else -1
        self.parts.append(line(x1, self.y, x2 - 3 * towards, self.y))
        self.parts.append(text((x1 + x2) / 2, self.y - 6, words, f"mid code {style}"))
        self.y += self.step

    def notes(self, who: str, words: str, style: str = "dim") -> None:
        self.parts.append(text(self.x[who] + 8, self.y - 6, words, style))
        self.y += 22

    def dies(self, who: str) -> None:
        x, y = self.x[who], self.y
        self.parts.append(line(x - 9, y - 9, x + 9, y + 9, "cut", arrow=False))
        self.parts.append(line(x - 9, y + 9, x + 9, y - 9, "cut", arrow=False))
        self.parts.append(text(x + 16, y + 5, "kill -9", "bad bold"))
        self.ends[who] = y
        self.y += self.step + 8

    def drawn(self, title: str) -> str:
        bottom = self.y + 4
        lives = []
        for name, x in self.x.items():
            lives.append(line(x, 36, x, self.ends.get(name, bottom), "dash", arrow=False))
            lives.append(box(x - 60, 8, 120, [name], 28))
        width = max(self.x.values()) + 124  # there are notes behind the last one, too
        return svg(width, bottom + 12, title, [*lives, *self.parts])


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


# --- the ring ---

POINTS = 16  # for each node: as many as one can still see


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
    stream: Stream[int] = Stream(keep=7)
    for serial in range(1, 10):
        stream.append(serial)
    cursor = Cursor(after=6, window=3)
    cursor.take(stream)
    for serial in range(10, 19):
        stream.append(serial)
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
        *span(first + len(sent), stream.last, 126, "wait for credit", "dim"),
        *span(
            stream.lost + 1, stream.last, 164, f"retained: the last {len(stream.entries)}", "dim"
        ),
        line(at(first + len(sent)), 34, at(first + len(sent)), 72),
        text(at(first + len(sent)), 26, f"cursor: sent up to {cursor.sent}", "mid bold"),
    ]
    return svg(650, 200, "A timeline, and the cursor of one reader", parts)


# --- modules and processes ---

PROCESSES = (
    "directory", "outbox", "bizlogic", "inbox", "followers", "suggestions", "bark", "listen",
)  # fmt: skip
FOLDERS = (
    "wire", "websocket", "routing", "streams", "disk", "links", "process", "delivery", "graph",
    "manifold", "client",
)  # fmt: skip


def _imports(name: str) -> set[str]:
    """The modules of ours that one imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(_source(name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("barker.") and _source(name).is_file()}


def _source(name: str) -> pathlib.Path:
    return ROOT / (name.replace(".", "/") + ".py")


def _all_imports(name: str) -> set[str]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _imports(name)
    return seen


def modules() -> str:
    """Which module is in which process: what its program imports, directly or not."""
    inside = {process: _all_imports(f"barker.{process}") for process in PROCESSES}
    parts, y = [], 62
    for i, process in enumerate(PROCESSES):
        parts.append(text(462 + 62 * i, 40 - 16 * (i % 2), process, "mid code"))
    for folder in FOLDERS:
        rows: dict[tuple[bool, ...], list[str]] = {}
        for path in sorted((ROOT / "barker" / folder).glob("[a-z]*.py")):
            name = f"barker.{folder}.{path.stem}"
            rows.setdefault(tuple(name in inside[p] for p in PROCESSES), []).append(path.stem)
        parts.append(line(12, y - 16, 930, y - 16, "thin", arrow=False))
        parts.append(text(12, y, folder, "bold"))
        for where, names in sorted(rows.items(), reverse=True):
            if not any(where):
                continue  # of launchers and of the list of commands
            for i, is_there in enumerate(where):
                if is_there:
                    parts.append(f'<circle class="head" cx="{462 + 62 * i}" cy="{y - 4}" r="4"/>')
            for words in textwrap.wrap(", ".join(names), 44):
                parts.append(text(104, y, words, "code"))
                y += 17
            y += 5
    return svg(940, y, "Which module is in which process", parts)


# --- the parts of an outbox ---


def outbox() -> str:
    """What `Outbox.__init__` makes, and what each part gets of the others."""
    tree = ast.parse(_source("barker.outbox").read_text(encoding="utf-8"))
    where = {
        alias.name: node.module.split(".", 1)[1].replace(".", "/") + ".py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("barker.")
        for alias in node.names
    }
    (begin,) = (
        n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__init__"
    )
    made: dict[str, tuple[str, list[str]]] = {}  # part -> its class, and the parts that it gets
    local: dict[str, list[str]] = {}  # variables, and the parts in them
    for node in begin.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not node.value:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        gets: list[str] = []
        for inner in ast.walk(node.value):
            if isinstance(inner, ast.Attribute):
                gets += [inner.attr] if inner.attr in made else local.get(inner.attr, [])
            elif isinstance(inner, ast.Name):
                gets += local.get(inner.id, [])
        call = node.value
        if isinstance(target, ast.Name):
            local[target.id] = gets
        elif isinstance(target, ast.Attribute):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                if call.func.id in where and call.func.id[0].isupper():
                    made[target.attr] = call.func.id, list(dict.fromkeys(gets))
            elif gets:
                local[target.attr] = gets
    ideas = dict(
        re.findall(
            r"^``(\w+\.py)`` +\d+ +(.+)$",
            (ROOT / "docs" / "modules.rst").read_text(encoding="utf-8"),
            re.M,
        )
    )
    parts, place = [], {name: 34 + 56 * i for i, name in enumerate(made)}
    for name, y in place.items():
        kind, gets = made[name]
        path = where[kind]
        idea = ideas.get(path.rsplit("/", 1)[1], "")
        parts.append(f'<rect class="box" x="20" y="{y}" width="430" height="44" rx="5"/>')
        parts.append(text(32, y + 18, f"self.{name} = {kind}", "code bold"))
        parts.append(text(438, y + 18, path, "code dim end"))
        parts.append(text(32, y + 36, idea, "dim"))
        for i, other in enumerate(gets):
            y1, y2 = place[other] + 26, y + 12 + 7 * i
            bend = 462 + 16 * ((y - place[other]) // 56)
            parts.append(
                f'<path class="line" d="M450 {y1} C{bend + 20} {y1} {bend + 20} {y2} 453 {y2}" '
                'marker-end="url(#arrow)"/>'
            )
    parts.append(text(20, 20, "Outbox(Service)", "code bold"))
    return svg(640, 44 + 56 * len(made), "The parts of an outbox", parts)


PICTURES = {
    "barker-arch.svg": architecture,
    "failover.svg": failover,
    "full.svg": full,
    "ring.svg": ring,
    "link.svg": link,
    "timeline.svg": timeline,
    "modules.svg": modules,
    "outbox.svg": outbox,
}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (ROOT / "docs" / name).write_text(draw(), encoding="utf-8")
