"""What the drawings of the book are made of: boxes, lines, text, and sequences of messages."""

from collections.abc import Iterable
from html import escape

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
