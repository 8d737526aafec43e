"""Launcher: what both launch scripts do, from their flags to the start of a fleet.

A launcher starts nothing if one of its ports is taken, or if its services would refuse to start.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence

from barker.disk.files import DEFAULT_STATE, remove_mark
from barker.launching.fleet import Command, Fleet, busy_ports
from barker.links import hosts, tls
from barker.process.arguments import (
    DEFAULT_HOST,
    DIRECTORY_PORT,
    Parser,
    at_least_0,
    tls_arguments,
)
from barker.process.terminal import CLOSED, complain, tolerate_any_text

# Ports that other protocols have, to which no browser connects: the "bad ports" of the Fetch
# standard, of those above ours.
NO_BROWSER = frozenset({6000, 6566, *range(6665, 6670), 6679, 6697, 10080})


MAX_PORT = 65535
# How to get out of the way of other programs, and of ports that browsers don't like.
MOVE = "Move all ports with --shift-ports N."


def launcher_parser(
    program: str, about: str, examples: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """The flags of every launcher; `launcher_arguments` reads them."""
    result = Parser(program, about, examples)
    result.add_argument("place", nargs="?", metavar="HOST", help="the same as --host HOST")
    result.add_argument(
        "--host",
        default=DEFAULT_HOST,
        help="address to listen at and to be reached by (default: %(default)s)",
    )
    result.add_argument(
        "--advertise", metavar="HOST", help="what others reach this machine by, if not --host"
    )
    result.add_argument(
        "--shift-ports",
        type=at_least_0,
        default=0,
        metavar="N",
        help="add N to every port (default: %(default)s)",
    )
    result.add_argument(
        "--state",
        type=lambda text: pathlib.Path(text).resolve(),
        default=DEFAULT_STATE,
        metavar="DIR",
        help="folder of the secret and the users (default: var/)",
    )
    result.add_argument(
        "--secret-file",
        type=pathlib.Path,
        metavar="FILE",
        help="the secret, if it is not the state folder's",
    )
    tls_arguments(result)
    return result


def launcher_arguments(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> argparse.Namespace:
    """What was typed, with one host: by its flag, or without."""
    args = parser.parse_args(argv)
    if args.place is None:
        return args
    if args.host not in (args.place, DEFAULT_HOST):
        parser.error(f"{args.place} and --host {args.host} are two hosts; give one of them")
    return argparse.Namespace(**{**vars(args), "host": args.place})


def reached_by(args: argparse.Namespace) -> str:
    """The host by which a launcher's services are found."""
    return str(args.advertise or args.host)


def listening_flags(args: argparse.Namespace) -> list[str]:
    """The flags that a launcher gives to those of its commands that listen."""
    return ["--host", args.host, *(["--advertise", args.advertise] if args.advertise else [])]


def common_flags(args: argparse.Namespace) -> list[str]:
    """The flags by which a process finds this system, unless it is where everybody looks anyway."""
    flags = []
    place = (reached_by(args), DIRECTORY_PORT + args.shift_ports)
    if place != (DEFAULT_HOST, DIRECTORY_PORT):
        flags += ["--directory", hosts.spell(*place)]
    if args.state != DEFAULT_STATE:
        flags += ["--state", str(args.state)]
    for flag in ("--secret-file", "--tls-cert", "--tls-key", "--tls-ca"):
        path = getattr(args, flag[2:].replace("-", "_"))
        if path:  # the children's folder is the project's, and not where this was typed
            flags += [flag, str(path.resolve())]
    return flags


def run_fleet(
    program: str,
    args: argparse.Namespace,
    commands: Sequence[Command],
    announce: Callable[[], str],
) -> int:
    """What a launcher does after its arguments; `announce` makes the text printed after the start.

    If a port is taken, or none for a page, nothing is started: the exit status is 1, and the
    message says which port, who wanted it, and how to move it. Neither is anything if all would
    refuse to (raises StateError then), or if what they say can't be shown.
    """
    tolerate_any_text()
    if sys.stdout is None:
        complain(program, CLOSED)
        return 1
    tls.contexts(args, is_service=True)
    fleet = Fleet(program)
    fleet.stop_on_signals()
    for command in commands:
        if command.port and command.port > MAX_PORT:
            complain(
                program,
                f"--shift-ports {args.shift_ports}: ports end at {MAX_PORT}, and {command.label}"
                " would be beyond",
            )
            return 2
    for command in commands:
        if command.port in NO_BROWSER:
            complain(
                program,
                f"no browser connects to port {command.port}, which would be {command.label}'s."
                f" {MOVE}",
            )
            return 1
    try:
        at = hosts.addresses(args.host, 0)
        refusal = hosts.why_closed(args.host, at, args.secret_file, args.advertise)
        if refusal:
            complain(program, refusal)
            return 2
        busy = busy_ports(commands)
    except (OSError, UnicodeError) as fault:
        why = getattr(fault, "strerror", None) or fault
        complain(program, f"can't listen at {args.host}: {why}")
        return 1
    for command in busy:
        complain(
            program,
            f"port {command.port} is taken by another program; {command.label} wanted it. {MOVE}",
        )
    if busy:
        return 1
    for command in commands:  # all begin together: nobody remembers one that was here before
        remove_mark(args.state, command.label)
    try:
        fleet.start(commands)
        fleet.say(announce())
        return fleet.run()
    finally:
        fleet.stop()
