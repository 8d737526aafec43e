"""Drawings of the inside: which module is in which process, and the parts of an outbox.

Both are read from the source text: from imports, and from what `Outbox.__init__` makes.
"""

import ast
import pathlib
import re
import textwrap

from shapes import line, svg, text

ROOT = pathlib.Path(__file__).resolve().parent.parent

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
