"""Launch: the whole of Barker on this machine, in one terminal.

    python launch.py

Starts every command of the list below at once (they find each other in any order), shows what they
say, and stops them all on Ctrl-C.
"""

import argparse
import shlex
import sys

from barker.disk import files
from barker.disk.journal import forget
from barker.launching.fleet import Command
from barker.launching.launcher import (
    common_flags,
    launcher_parser,
    listening_flags,
    reached_by,
    run_fleet,
)
from barker.process import terminal
from barker.process.arguments import DIRECTORY_PORT

# One line, one process. Comment a line out, copy one with another port, and see what happens.
COMMANDS = [
    "directory --port 5672",
    "inbox --history 25 --port 5820",
    "bizlogic --port 5680",
    "outbox --port 5800",
    "outbox --port 5801",
    "outbox --port 5802",
    "listen ark3",
    "autobark 0.5",
    "autobark 0.5",
    "autobark 0.5",
    "autobark 0.5",
    "autobark 0.5",
    "followers --port 5690",
    "suggestions --port 5695",
]

WEBUI = files.ROOT / "webui"

TRY_NEXT = """
Barks scroll by below; Ctrl-C stops everything. Try in another terminal:
  python -m barker.bark ark3 This is my first manual bark.{flags}
  python -m barker.listen rdl{flags}
  python -m monitoring.monitor --once{flags}     shows all services, with their numbers
  python -m barker.bizlogic --port {spare_port}{flags}   a spare; then kill -9 the first one
{page}"""


def command(line: str, number: int, args: argparse.Namespace) -> Command:
    """A line of the list as a process: its port shifted, and with the flags that all need."""
    module, *words = shlex.split(line)
    label, port, own = module, None, words
    if "--port" in words:
        at = words.index("--port") + 1
        port = int(words[at]) + args.shift_ports
        words[at] = str(port)
        own = [*words, *listening_flags(args)]
    label = f"{label}-{port}" if port else f"{label}-{number}" if number else label
    argv = ["-m", f"barker.{module}", *own, *common_flags(args)]
    return Command(label, argv, args.host, port, shlex.join([module, *words]))


def write_settings(args: argparse.Namespace) -> None:
    """What the page has to know."""
    files.write_page_settings(
        WEBUI / "barker_host.js",
        host=reached_by(args),
        port=DIRECTORY_PORT + args.shift_ports,
        secret=files.secret(args.state, args.secret_file).decode(),
        users=files.world(args.state).names,
        tls=args.tls_cert is not None,
    )


def announcement(args: argparse.Namespace, pageless: str) -> str:
    """What to try next; `pageless` says why there is no page, if there is none."""
    flags = common_flags(args, is_found=not pageless)
    page = f"or open this file in a browser:\n  {(WEBUI / 'index.html').as_uri()}"
    return TRY_NEXT.format(
        flags=" " + shlex.join(flags) if flags else "",
        page=f"(no page: {pageless})" if pageless else page,
        spare_port=5681 + args.shift_ports,
    )


def parser() -> argparse.ArgumentParser:
    result = launcher_parser("launch.py", __doc__)
    result.add_argument(
        "--fresh", action="store_true", help="forget what the journals of earlier runs have kept"
    )
    result.add_argument(
        "--tour",
        action="store_true",
        help="be shown round instead, in a system of its own that is not this one",
    )
    result.add_argument(
        "--no-wait", action="store_true", help="with --tour: go on without waiting for Enter"
    )
    return result


def main(argv: list[str] | None = None) -> int:
    command_line = parser()
    args = command_line.parse_args(argv)
    if args.tour:
        others = {k: v for k, v in vars(args).items() if k not in ("tour", "no_wait")}
        if any(value != command_line.get_default(name) for name, value in others.items()):
            command_line.error("--tour has ports and a folder of its own, and takes no other flag")
        from barker.laboratory import tour  # only here: a launcher loads nothing of what it starts

        return tour.take(wait=not args.no_wait)
    if args.no_wait:
        command_line.error("--no-wait goes with --tour")
    modules = [line.split()[0] for line in COMMANDS]
    commands = []
    for i, line in enumerate(COMMANDS):
        alone = modules.count(modules[i]) == 1
        commands.append(command(line, 0 if alone else modules[: i + 1].count(modules[i]), args))
    try:
        if args.fresh:
            forget(args.state / "journal")
        return run_fleet(
            "launch.py",
            args,
            commands,
            lambda: write_settings(args),
            lambda pageless: announcement(args, pageless),
        )
    except files.StateError as fault:
        terminal.complain("launch.py", fault)
        return 2 if isinstance(fault, files.UsageError) else 1


if __name__ == "__main__":
    sys.exit(main())
