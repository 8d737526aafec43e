"""A directory that answers no ping."""

import argparse

from barker.directory import Directory
from barker.wire.ops import Ping

ROLE = "directory"
FAILS = {"strangers", "unknown", "longest line", "pings", "silence"}


def break_it() -> None:
    begin = Directory.__init__

    def silent(self: Directory, args: argparse.Namespace) -> None:
        begin(self, args)
        self.add_handler(Ping, lambda link, ping: None)

    Directory.__init__ = silent  # type: ignore[method-assign]
