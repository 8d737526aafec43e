"""Listen: show the barks in a user's inbox, one line for each.

python -m barker.listen ark3
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import json
import sys
import time
from typing import Any, ClassVar

from barker.client.reader import Reader
from barker.disk import files
from barker.process import terminal
from barker.process.arguments import at_least_0, common_arguments, positive, quick_parser
from barker.process.node import Node
from barker.process.running import run_node
from barker.wire import protocol

ABOUT = """\
Show the barks that reach the inboxes of some users, a line for each. It goes on until Ctrl-C, and
across restarts of any service.
"""
EXAMPLES = (
    "ark3",
    "ark3 rdl --once --json",
)


class Listener(Node):
    kind = "listen"
    needs: ClassVar = {"inbox": "inbox"}

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.has_deadline = args.once
        self._shown = 0
        try:
            names = files.world(args.state).names
        except files.StateError:
            names = []
        self._width = max(map(len, names), default=8)
        self._reader_width = max(map(len, args.users))

    @property
    def has_job(self) -> bool:
        return self.args.once or self.args.count is not None

    async def started(self) -> None:
        if self.args.count == 0:
            self.stop()
        if self.args.once:
            self.later(self.args.timeout, self._too_late)
        self.reader = Reader(
            self, self.args.users, self._show, self._no_such, self.args.history, self._caught_up
        )

    def _show(self, reader: str, fields: dict[str, Any], late: bool) -> None:
        if self.args.count is not None and self._shown >= self.args.count:
            return
        if self.args.json:
            shown = {"reader": reader, **fields, **({"late": True} if late else {})}
            line = terminal.printable_json(json.dumps(shown, ensure_ascii=False))
        else:
            line = self.line(reader, fields)
        if not terminal.say(self.kind, line):  # the reader of our output has gone
            self.stop(1)
            return
        self._shown += 1
        if self._shown == self.args.count:
            self.stop()

    def line(self, reader: str, fields: dict[str, Any]) -> str:
        at: Any = fields.get("at")
        try:
            clock = time.strftime("%H:%M:%S", time.localtime(at / 1000))
        except (TypeError, ValueError, OverflowError, OSError):  # no time, or none for a clock
            clock = "--:--:--"
        author, text = f"{fields['user']}:", fields.get("content", "")
        return f"{clock} {reader:<{self._reader_width}} <-- {author:<{self._width + 1}} {text}"

    def _caught_up(self) -> None:
        if self.args.once:
            self.stop()

    def _too_late(self) -> None:
        missing = self.lacks() or self.trouble or self.reader.why_waiting
        missing = missing or "no inbox has answered"
        terminal.complain("listen", f"not all within {self.args.timeout:g} s: {missing}")
        self.stop(1)

    def _no_such(self, user: str, reason: str) -> None:
        terminal.complain("listen", reason)
        self.stop(1)


def parser() -> argparse.ArgumentParser:
    result = quick_parser("listen", ABOUT, EXAMPLES)
    result.add_argument("users", nargs="+", metavar="USER", help="the inbox; several are allowed")
    result.add_argument(
        "--history",
        type=at_least_0,
        metavar="N",
        help="show at most the last N of what is there (default: the inbox decides, 25)",
    )
    result.add_argument("--count", type=at_least_0, metavar="N", help="stop after N barks")
    result.add_argument("--once", action="store_true", help="stop after what is there")
    result.add_argument(
        "--timeout",
        type=positive,
        default=10.0,
        metavar="SECONDS",
        help="with --once: give up after this (default: %(default)s)",
    )
    result.add_argument("--json", action="store_true", help="one JSON object a line")
    common_arguments(result)
    return result


def main(argv: list[str] | None = None) -> int:
    command = parser()
    args = command.parse_args(argv)
    for user in args.users:
        if not protocol.USER_NAME.fullmatch(user):
            command.error(f"{user!r} is no user name")
    return run_node(Listener, args)


if __name__ == "__main__":
    sys.exit(main())
