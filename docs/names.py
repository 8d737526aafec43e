"""The book's index of names, made from what the modules say of themselves.

    python docs/names.py

writes ``names.rst`` beside this file: every public class and function, by module, with the first
sentence of its docstring. A test compares. What a module of barker is for, chapter 2 says in its
table; a sentence about it is here for the others alone.
"""

import ast
import pathlib
import re
import textwrap
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent

HEAD = """\
Names
=====

Every public class and function, by module, with what its first sentence says. This
page is made by ``docs/names.py`` from the modules, and a test compares the two. What
a module is for, and which chapter takes it apart, is in the table of `the layers
<02-the-design.rst>`_.
"""


def names() -> str:
    parts = [HEAD]
    for folder in ("barker", "monitoring"):
        for path in sorted((ROOT / folder).glob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            title = f"{folder}/{path.name}"
            entries = list(_entries(tree))
            if folder != "barker":
                entries.insert(0, f"{_said(tree)}\n")
            if entries:
                parts += [f"{title}\n{'-' * len(title)}\n", *entries]
    return "\n".join(parts)


def _entries(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not node.name.startswith("_"):
            yield f"``{node.name}``\n{textwrap.indent(_said(node), '    ')}\n"


def _said(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The first sentence of a docstring as reStructuredText; without one, how it is called."""
    text = ast.get_docstring(node)
    if text is None and isinstance(node, ast.ClassDef):
        text = f"`class {node.name}({', '.join(map(ast.unparse, node.bases))})`"
    elif text is None and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        names = ", ".join(arg.arg for arg in node.args.args)
        text = f"`{node.name}({names}) -> {ast.unparse(node.returns) if node.returns else 'None'}`"
    assert text is not None  # every module has one; another test says so
    first = re.split(r"(?<=[.!?])\s", " ".join(text.partition("\n\n")[0].split()))[0]
    # Single backquotes mean code in our docstrings; in reStructuredText two do.
    pieces = re.split(r"(``.+?``|`[^`]+`)", first)
    escaped = [
        f"``{piece.strip('`')}``" if i % 2 else re.sub(r"([*|\\]|_\b)", r"\\\1", piece)
        for i, piece in enumerate(pieces)
    ]
    return textwrap.fill("".join(escaped), 76, break_on_hyphens=False, break_long_words=False)


if __name__ == "__main__":
    (ROOT / "docs" / "names.rst").write_text(names(), encoding="utf-8")
