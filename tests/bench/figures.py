"""Figures: what was measured in several runs, held against a ceiling and a bound, as a table.

Pure: numbers come in, and a table of 80 columns or a JSON document goes out.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

WIDTH = 80


class Bound(NamedTuple):
    """What was asked for: a limit that must hold, and what was hoped for besides."""

    limit: float
    at_least: bool = False  # else: at most
    aim: float | None = None

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def relaxed(self, factor: float) -> "Bound":
        limit = self.limit / factor if self.at_least else self.limit * factor
        return self._replace(limit=limit)

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


def at_most(limit: float) -> Bound:
    return Bound(limit)


def at_least(limit: float, aim: float | None = None) -> Bound:
    return Bound(limit, True, aim)


class Figure(NamedTuple):
    """One line of the table.

    `runs` has a value of each run; `ratios`, if it is measured against something else, one of each
    run to that something in the same run. The bound is for the ratio if there is one.
    """

    name: str
    runs: Sequence[float]
    ratios: Sequence[float] = ()
    bound: Bound | None = None

    @property
    def value(self) -> float:
        return statistics.median(self.runs)

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def judged(self) -> float:
        return self.value if self.ratio is None else self.ratio

    @property
    def missed(self) -> bool:
        """The bound does not hold. What the platform doesn't tell (NaN) misses nothing."""
        if self.bound is None or math.isnan(self.judged):
            return False
        return not self.bound.holds(self.judged)

    def line(self) -> str:
        ratio = "" if self.ratio is None else number(self.ratio)
        spread = ""
        if len(self.runs) > 1:
            spread = f"{number(min(self.runs))} - {number(max(self.runs))}"
        verdict = ""
        if self.bound:
            known = not math.isnan(self.judged)
            verdict = f"{self.bound} {'MISSED' if self.missed else 'ok' if known else '?'}"
        text = f"{self.name:<32}{number(self.value):>9}{spread:>18}{ratio:>6} {verdict:>14}"
        return text.rstrip()

    def json(self) -> dict[str, Any]:
        bound = self.bound
        return {
            "name": self.name,
            "median": _json(self.value),
            "min": _json(min(self.runs)),
            "max": _json(max(self.runs)),
            "runs": [_json(value) for value in self.runs],
            "ratio": None if self.ratio is None else _json(self.ratio),
            "bound": str(bound) if bound else None,
            "aim": bound.aim if bound else None,
            "missed": self.missed,
        }


class Section(NamedTuple):
    """Figures of one kind; `ratio` says what their ratios are to."""

    title: str
    ratio: str
    figures: list[Figure]

    def relaxed(self, factor: float) -> "Section":
        """Every bound may be missed by this factor."""
        figures = [f._replace(bound=f.bound and f.bound.relaxed(factor)) for f in self.figures]
        return self._replace(figures=figures)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours by theirs, run by run; NaN where theirs is nothing."""
    return [a / b if b else math.nan for a, b in zip(ours, theirs, strict=True)]


def number(value: float) -> str:
    """With about three digits that say something."""
    if math.isnan(value):
        return "?"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def table(heading: Sequence[str], sections: Sequence[Section]) -> str:
    """All of it, in lines of at most `WIDTH` columns."""
    lines = [*heading, ""]
    columns = f"{'':<32}{'median':>9}{'min - max':>18}{'ratio':>6} {'bound':>14}"
    for section in sections:
        lines += [section.title, f"  ratio: {section.ratio}", columns, "-" * WIDTH]
        lines += [figure.line() for figure in section.figures]
        lines.append("")
    bound = [figure for section in sections for figure in section.figures if figure.bound]
    missed = sum(figure.missed for figure in bound)
    unknown = sum(math.isnan(figure.judged) for figure in bound)
    lines.append(f"{len(bound)} bounds, {missed} missed, {unknown} that could not be judged")
    return "\n".join(lines)


def _json(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
