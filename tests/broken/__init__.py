"""Programs of which each breaks one rule, for the judge to find: a judge that can't fail is none.

    python -m tests.broken acks_at_once --port 5680 ...     one of ours, with one function replaced

Each module here is one of them. Its docstring says what is wrong; `ROLE` is what it is started as,
`FAILS` are the conformance cases that it has to fail, and no other, and `break_it` replaces the
function. ``test_judge`` has the judge try each of them.
"""

import importlib
import pkgutil
from types import ModuleType


def names() -> list[str]:
    return sorted(
        m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith(("_", "test_"))
    )


def load(name: str) -> ModuleType:
    return importlib.import_module(f"tests.broken.{name}")
