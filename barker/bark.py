"""Bark: put one bark, as one user.

    python -m barker.bark ark3 This is my first manual bark.

Prints the bark's id and exits 0 once the author's outbox has acked it; from then on it is the
system's to lose, and the system doesn't. Exits 1, with the reason on stderr, if it was refused or
there was no ack within the time-out. After a time-out it is unknown whether it was taken: send it
again with the same ``--id``, and it is shown once all the same. With ``--trace``, the bark's way
through the services follows its id, if a monitor runs that timed it.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import sys

from barker.client.speaker import Speaker, new_id, now_ms, speaker_arguments
from barker.client.tracing import TracedSpeaker
from barker.process import terminal
from barker.process.arguments import quick_parser
from barker.process.running import run_node
from barker.wire import bodies, protocol
from barker.wire.bodies import Bark
from barker.wire.protocol import BarkerError

ABOUT = """\
Send one bark, as one user. Prints its id once the outbox of its author has acked it; from then on
the system does not lose it. After a time-out it is unknown whether it was taken: send it again with
the same --id, and it is shown once all the same.
"""
EXAMPLES = (
    "ark3 This is my first manual bark.",
    "rdl --timeout 3 -- -5 degrees today",
)


def parser() -> argparse.ArgumentParser:
    result = quick_parser("bark", ABOUT, EXAMPLES)
    result.add_argument("user", help="the author")
    result.add_argument("text", nargs="+", help="the text")
    result.add_argument(
        "--trace",
        action="store_true",
        help="then print its way: the time to each service, which a running monitor knows",
    )
    speaker_arguments(result)
    return result


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    args.id = args.id or new_id()
    text = " ".join(args.text)
    try:
        # The outbox would check the same; but this needs no outbox, and names the typed word.
        if len(text) > bodies.MAX_CONTENT_CHARS:
            raise BarkerError(
                protocol.TOO_LARGE,
                f"{len(text)} characters; at most {bodies.MAX_CONTENT_CHARS} are allowed",
            )
        if not protocol.USER_NAME.fullmatch(args.user):
            raise BarkerError(protocol.BAD_MESSAGE, f"{args.user!r} is no user name")
        body = bodies.encode_bark(Bark(args.id, args.user, text, now_ms()))
        bodies.parse_bark(body)
    except BarkerError as fault:
        terminal.complain("bark", fault.reason)
        return 1
    speaker = TracedSpeaker if args.trace else Speaker
    return run_node(lambda args: speaker(args, args.user, args.id, body), args)


if __name__ == "__main__":
    sys.exit(main())
