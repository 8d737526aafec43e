"""A directory that answers no ping."""

from barker.directory import Directory
from barker.links.link import Link
from barker.wire.ops import Ping

ROLE = "directory"
FAILS = {"strangers", "unknown", "longest line", "pings", "silence"}


def break_it() -> None:
    def on_ping(self: Directory, link: Link, ping: Ping) -> None:
        pass

    Directory.on_ping = on_ping  # type: ignore[attr-defined]
