"""Judges answers to the labs, and tells which judgement is wrong; exits 1 if any is."""

import sys
import time

from barker.laboratory.progress import status_of
from barker.process.arguments import Parser
from tests.labs import answers, fault, judged, labs


def main() -> int:
    parser = Parser(
        "-m tests.labs",
        "Have the untouched tree, the model answer and the wrong answers of labs judged. "
        "The exit status is 1 if a judgement is wrong.",
        ["-m tests.labs", "-m tests.labs mute ring"],
    )
    parser.add_argument("names", nargs="*", metavar="LAB", help="which (default: all)")
    args = parser.parse_args()
    unknown = {*args.names} - {*labs()}
    if unknown:
        parser.error(f"there is {', '.join(labs())}")
    wrong = 0
    for name in args.names or labs():
        for answer in answers(name):
            begun = time.monotonic()
            found = judged(answer)
            why = fault(answer, found)
            wrong += bool(why)
            took_s = time.monotonic() - begun
            print(f"{answer!s:<32}{'WRONG' if why else 'right'}  {took_s:5.1f} s", flush=True)
            if why:
                print(f"{why}:\n{found.shown}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(status_of("labs", main))
