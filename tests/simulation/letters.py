"""Dead letters: where the outboxes of a run put what is refused for good, and what is there."""

import json
import pathlib


def dead_letters(folder: pathlib.Path) -> set[str]:
    """The ids of all bodies that are in a file of dead letters."""
    lines = [
        line for path in folder.glob("outbox*.jsonl") for line in path.read_bytes().split(b"\n")
    ]
    return {json.loads(line)["body"]["id"] for line in lines if line}
