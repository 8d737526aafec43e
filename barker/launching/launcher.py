"""Launcher: the work of both launch scripts, from their flags to the start of a fleet.

A launcher starts nothing if one of its ports is taken, or if its services would refuse to start.
"""

import argparse
import compileall
import contextlib
import pathlib
import sys
from collections.abc import Callable, Sequence

from barker.disk import files, keys
from barker.disk.claims import Claim, place_of
from barker.disk.files import DEFAULT_STATE
from barker.disk.locks import Taken
from barker.launching.commands import MAX_PORT, NO_BROWSER, Command, busy_ports
from barker.launching.fleet import Fleet
from barker.links import hosts, tls
from barker.process.arguments import (
    DEFAULT_HOST,
    DIRECTORY_PORT,
    LAUNCHER,
    Parser,
    at_least_0,
    tls_arguments,
)
from barker.process.terminal import CLOSED, complain, tolerate_any_text


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
        "--advertise", metavar="HOST", help="the host by which others reach us, if not --host"
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
        help="the secret, if it is not the state folder's; the clients' key is beside it",
    )
    tls_arguments(result)
    return result


def launcher_arguments(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> argparse.Namespace:
    """The parsed command line, with one host: from its flag, or without."""
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


def directory_of(args: argparse.Namespace) -> str:
    """The address of the directory of a launcher's system."""
    return hosts.spell(reached_by(args), DIRECTORY_PORT + args.shift_ports)


def common_flags(
    args: argparse.Namespace, *, is_service: bool, is_found: bool = False
) -> list[str]:
    """The flags by which a process finds this system. A client's key is not a service's.

    `is_found` leaves out the address of its directory, which the state folder has.
    """
    flags = [] if is_found else ["--directory", directory_of(args)]
    if args.state != DEFAULT_STATE:
        flags += ["--state", str(args.state)]
    for flag in ("--secret-file", "--tls-cert", "--tls-key", "--tls-ca"):
        path = getattr(args, flag[2:].replace("-", "_"))
        if path and flag == "--secret-file" and not is_service:
            path = keys.beside(path)
        if path:  # the children's folder is the project's, and not the user's
            flags += [flag, str(path.resolve())]
    return flags


def run_fleet(
    program: str,
    args: argparse.Namespace,
    commands: Sequence[Command],
    settings: Callable[[], None],
    announce: Callable[[str, bool], str],
    prepare: Callable[[], None] = lambda: None,
) -> int:
    """A launcher's work after its arguments.

    `settings` writes those of its page. `announce` makes the text printed after the start, of two
    arguments: why the page does not find this system ("" if it does), and whether commands with the
    same state folder find it. `prepare` is called before the first process, once no port is taken.

    If a port is taken, or none for a page, nothing is started: the exit status is 1, and one line
    names the port, and the flag that moves it. Nothing is started either if the services would
    refuse to start (raises StateError then), or if their output can't be shown.
    """
    tolerate_any_text()
    if sys.stdout is None:
        complain(program, CLOSED)
        return 1
    tls.contexts(args, is_service=True)
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
                " Move all ports with another --shift-ports N.",
            )
            return 1
    with contextlib.ExitStack() as ours:
        fleet = Fleet(program)
        fleet.stop_on_signals()
        ours.callback(fleet.stop)
        try:
            at = hosts.addresses(args.host, 0)
            refusal = hosts.why_closed(args.host, at, args.secret_file, args.advertise)
            if refusal:
                complain(program, refusal)
                return 2
            keys.secret(args.state, args.secret_file)
            files.world(args.state)
            busy = busy_ports(commands)
        except (OSError, UnicodeError) as fault:
            why = getattr(fault, "strerror", None) or fault
            complain(program, f"can't listen at {args.host}: {why}")
            return 1
        here, pageless, is_found = directory_of(args), "", True
        name = pathlib.Path(program).parent.name or LAUNCHER
        try:
            ours.callback(Claim(args.state, name, here).close)
        except Taken:
            # Without an address, that launcher starts at this moment, most likely there.
            there = place_of(args.state, name) or here
            if there == here and not busy:
                busy = [command for command in commands if command.port]
            pageless = f"the page shows the system of {there}, which runs from this folder, too"
            is_found = False
        if busy:
            complain(program, _taken(busy, args.shift_ports + 1000))
            return 1
        prepare()
        if not pageless:
            try:
                settings()
            except files.StateError as fault:
                pageless = f"the page does not find this system: {fault}"
        compile_once()
        fleet.start(commands)
        fleet.say(*announce(pageless, is_found).split("\n"))
        return fleet.run()


def compile_once() -> None:
    """Write the byte code that is missing; else, at a first start, each child compiles it all."""
    if not sys.dont_write_bytecode:
        compileall.compile_dir(files.ROOT / "barker", quiet=2)


def _taken(busy: Sequence[Command], shift: int) -> str:
    """One line about ports that are taken."""
    first = busy[0]
    ports = f"port {first.port} ({first.label}) is"
    if len(busy) > 1:
        ports = f"port {first.port} ({first.label}) and {len(busy) - 1} more are"
    return (
        f"{ports} taken, probably by a Barker that still runs here: stop it with Ctrl-C,"
        f" or move this one with --shift-ports {shift}"
    )
