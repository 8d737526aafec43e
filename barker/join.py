"""Join: become a user.

    python -m barker.join fifi_2

A name is 1 to 20 of a-z, 0-9 and _, and begins with a letter, and is one user's alone. A followers
service decides; as long as none does, that is reported. Prints the id of the message, once the
outbox for this user's barks has acked it. From then on the user may bark; with ``--wait``, every
service also knows the user.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import sys
from typing import Any

from barker.client.following import Follower, say
from barker.client.speaker import new_id, now_ms, speaker_arguments
from barker.process import terminal
from barker.process.arguments import quick_parser
from barker.wire.bodies import JOIN, Event

ABOUT = """\
Make a new user. A name is 1 to 20 of a-z, 0-9 and _, and begins with a letter. Prints the id of the
event once the outbox of that user has acked it.
"""
EXAMPLES = (
    "visitor",
    "fifi_2 --wait",
)


# A followers service decides about a name sooner than this; if not, we print what we wait for.
DECIDED_S = 1.0


class Joiner(Follower):
    kind = "join"

    async def started(self) -> None:
        await super().started()
        self.later(DECIDED_S, self._say_why)

    def _say_why(self) -> None:
        why = self.why_deferred
        if why:
            terminal.complain(self.kind, f"{why} ...")

    def in_force(self, fields: dict[str, Any]) -> bool:
        return bool(fields["exists"])


def parser() -> argparse.ArgumentParser:
    result = quick_parser("join", ABOUT, EXAMPLES)
    result.add_argument("user", help="the name")
    result.add_argument("--wait", action="store_true", help="wait until all services know it")
    speaker_arguments(result)
    return result


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    args.id = args.id or new_id()
    return say(args, Event(JOIN, args.id, args.user, now_ms()), Joiner)


if __name__ == "__main__":
    sys.exit(main())
