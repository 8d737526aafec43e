"""The table: one frame of the picture as text for a terminal of 80 columns."""

import textwrap
import time
from typing import Any

from monitoring.picture import SILENT, letters_file

WIDTH = 80
# Kinds in the order in which a bark meets them; others come after.
KINDS = ("outbox", "bizlogic", "inbox", "followers", "suggestions", "directory", "monitor")

NAME = 17  # characters that are shown of a name
COLUMNS = "{:<17} {:>7} {:<5} {:>7} {:>7} {:>7} {:>7} {:>4} {:>4} {:>5}"
HEAD = COLUMNS.format(
    "SERVICE", "PID", "STATE", "DEPTH", "OLDEST", "IN/S", "OUT/S", "RING", "CPU", "MEM"
)


def table(frame: dict[str, Any]) -> list[str]:
    """A line for each service below a line for all of them; gone ones with the time.

    Behind them, in full: what services wait for, and dead letters, which a person has to look at.
    """
    services = sorted(frame["services"], key=_place_in_table)
    lines = [*_summary(frame), "", HEAD]
    lines += [_line(row, frame["routes"]) for row in services]
    if frame["left_out"]:
        lines.append(f"and {frame['left_out']} more")
    for row in services:
        if "waits" in row:
            lines += ["", *_wrapped(f"{row['name']}: {row['waits']}")]
        lines += _dead_letters(row)
    return [line.rstrip()[:WIDTH] for line in lines]


def _place_in_table(row: dict[str, Any]) -> tuple[int, str]:
    kind = row["kind"]
    return (KINDS.index(kind) if kind in KINDS else len(KINDS), row["name"])


def _summary(frame: dict[str, Any]) -> list[str]:
    clock = time.strftime("%H:%M:%S", time.localtime(frame["at"] / 1000))
    depth = "no outbox answers" if frame["depth"] is None else f"queue depth {frame['depth']}"
    firsts = [
        f"{route['first'] or 'nobody'} takes the traffic of {service}"
        for service, route in frame["routes"].items()
        if route["policy"] == "ordered" and service != "monitor"
    ]
    return [f"Barker at {clock}: {depth}", *firsts]


def _line(row: dict[str, Any], routes: dict[str, Any]) -> str:
    share = first = None
    for service, route in routes.items():
        share = route.get("shares", {}).get(row["name"], share)
        if route.get("first") == row["name"] and service != "monitor":
            first = row["name"]
    pid = row.get("pid", "-")
    if not row["up"]:
        return f"{row['name'][:NAME]:<{NAME}} {pid:>7} {_gone(row)}"
    return COLUMNS.format(
        row["name"][:NAME],
        pid,
        "first" if first else "waits" if "waits" in row else "up",
        amount(row.get("backlog")),
        age(row.get("oldest_ms")),
        amount(row.get("in")),
        amount(row.get("out")),
        "-" if share is None else f"{share:.0%}",
        "-" if row.get("cpu") is None else f"{row['cpu']:.0%}",
        size(row.get("rss_bytes")),
    )


def _gone(row: dict[str, Any]) -> str:
    if not row["gone"]:
        return "does not answer"
    when = time.strftime("%H:%M:%S", time.localtime(row["gone"] / 1000))
    return f"silent since {when}" if row["how"] == SILENT else f"{row['how']} at {when}"


def _dead_letters(row: dict[str, Any]) -> list[str]:
    count = row.get("dead_letters")
    if not count:
        return []
    many = f"{count} dead letters" if count > 1 else "1 dead letter"
    text = f"{row['name']} has {many}, in {letters_file(row['name'])}"
    if "dead_letter" in row:
        text += f". The latest: {row['dead_letter']}"
    return ["", *_wrapped(text)]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def amount(value: float | None) -> str:
    """A count or a rate in at most 7 characters."""
    if value is None:
        return "-"
    if value >= 10_000_000:
        return f"{value / 1e6:.1f}M"
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.1f}"


def age(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "-"
    seconds = milliseconds / 1000
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def size(count: int | None) -> str:
    """Bytes, in MiB or GiB."""
    if count is None:
        return "-"
    return f"{count / 2**20:.0f}M" if count < 2**30 else f"{count / 2**30:.1f}G"
