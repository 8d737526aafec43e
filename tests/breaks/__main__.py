"""Makes breaks in copies, and tells how the simulation finds them; exits 1 if it does not."""

import sys

from barker.laboratory.progress import status_of
from barker.process.arguments import Parser
from tests import breaks


def main() -> int:
    parser = Parser(
        "-m tests.breaks",
        "Break copies of the code on purpose, and have the simulation find each break. "
        "The exit status is 1 if it does not.",
        ["-m tests.breaks", "-m tests.breaks shared_counter"],
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    args = parser.parse_args()
    unknown = {*args.names} - {*breaks.names()}
    if unknown:
        parser.error(f"there is {', '.join(breaks.names())}")
    missed = []
    for name in args.names or breaks.names():
        some = breaks.load(name)
        print(f"{name}: {some.about.partition(chr(10))[0]}", flush=True)
        found = breaks.hunt(some)
        if found.kind not in some.kinds:
            missed.append(name)
        says = found.story or "NOT FOUND"
        print(f"{name}: after {found.seconds:.0f} s: {says}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(status_of("breaks", main))
