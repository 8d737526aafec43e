"""System: `launch.py` with its list of commands.

A mistake in the list is reported with its line, before anything is started.
"""

import argparse
import shlex
from collections.abc import Sequence

from barker.disk import files, keys
from barker.disk.journal import forget
from barker.launching.commands import Command
from barker.launching.launcher import (
    common_flags,
    launcher_arguments,
    launcher_parser,
    listening_flags,
    reached_by,
    run_fleet,
)
from barker.links import hosts
from barker.process import terminal
from barker.process.arguments import DEFAULT_HOST, DIRECTORY_PORT, port_number
from barker.wire.rights import CONTROLS, clients_key

PROGRAM = "launch.py"
WEBUI = files.ROOT / "webui"
# The line that --controls adds to the list.
CONTROLS_LINE = "controls --port 5701"

ABOUT = """\
Start the whole of Barker on this machine, in one terminal: every command of the list in launch.py.
Show what they print, each line with the name of its process. Ctrl-C stops all of them.
"""
EXAMPLES = ("launch.py", "launch.py --shift-ports 1000 --fresh")

TRY_NEXT = """
Barks scroll by below; Ctrl-C stops everything. Try in another terminal:
  {python} -m barker.bark ark3 This is my first manual bark.{flags}
  {python} -m barker.listen rdl{flags}
  {python} -m monitoring.monitor --once{flags}    all services, and their numbers
  {python} -m barker.bizlogic --port {spare_port}{service_flags}  a spare: kill -9 the first
{page}"""


class BadLine(Exception):
    """The list, or a line of it, can't be started; the text has the reason."""


def parser() -> argparse.ArgumentParser:
    result = launcher_parser(PROGRAM, ABOUT, EXAMPLES)
    result.add_argument(
        "--fresh", action="store_true", help="forget what the journals of earlier runs have kept"
    )
    result.add_argument(
        "--controls",
        action="store_true",
        help="let the monitor's page kill, freeze and start these processes: start also the "
        "service that passes its requests to this launcher",
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


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `launch.py`; one that can't be followed ends the process."""
    command_line = parser()
    args = launcher_arguments(command_line, argv)
    if args.tour:
        others = {k: v for k, v in vars(args).items() if k not in ("tour", "no_wait")}
        if any(value != command_line.get_default(name) for name, value in others.items()):
            command_line.error("--tour has ports and a folder of its own, and takes no other flag")
    elif args.no_wait:
        command_line.error("--no-wait goes with --tour")
    return args


def launch(lines: Sequence[str], args: argparse.Namespace) -> int:
    """Start the commands, and go on until Ctrl-C; the exit status."""

    def prepare() -> None:
        if args.fresh:
            forget(args.state / "journal")

    try:
        commands = fleet_of(lines, args)
        if any(command.program == CONTROLS for command in commands):
            _check_loopback(args)
        return run_fleet(
            PROGRAM,
            args,
            commands,
            lambda: write_settings(args),
            lambda pageless, is_found: announcement(args, pageless, is_found),
            prepare,
        )
    except (BadLine, files.UsageError) as fault:
        terminal.complain(PROGRAM, fault)
        return 2
    except files.StateError as fault:
        terminal.complain(PROGRAM, fault)
        return 1


def _check_loopback(args: argparse.Namespace) -> None:
    """Raises UsageError if other machines would reach this system, and could kill its processes."""
    try:
        at = hosts.addresses(args.host, 0)
    except (OSError, UnicodeError):
        return  # the launcher reports that
    if args.advertise or not hosts.are_loopback(at):
        raise files.UsageError(
            f"--controls is for this machine alone, and {args.advertise or args.host} is for others"
        )


def write_settings(args: argparse.Namespace) -> None:
    """Write the page's settings."""
    files.write_page_settings(
        WEBUI / "barker_host.js",
        host=reached_by(args),
        port=DIRECTORY_PORT + args.shift_ports,
        key=clients_key(keys.secret(args.state, args.secret_file)).decode(),
        users=files.world(args.state).names,
        tls=args.tls_cert is not None,
    )


def announcement(args: argparse.Namespace, pageless: str, is_found: bool) -> str:
    """The commands to try next; see `run_fleet` for its arguments."""
    flags, services = (
        " " + shlex.join(words) if words else ""
        for words in (
            common_flags(args, is_service=False, is_found=is_found),
            common_flags(args, is_service=True, is_found=is_found),
        )
    )
    page = f"or open this file in a browser:\n  {(WEBUI / 'index.html').as_uri()}"
    return TRY_NEXT.format(
        python=terminal.python(),
        flags=flags,
        service_flags=services,
        page=f"(no page: {pageless})" if pageless else page,
        spare_port=5681 + args.shift_ports,
    )


# --- the list ---


def fleet_of(lines: Sequence[str], args: argparse.Namespace) -> list[Command]:
    """The lines as processes, and that of ``--controls``.

    Raises BadLine for the first that is none, and if there is none.
    """
    if not lines:
        raise BadLine("COMMANDS is empty, so there is nothing to start")
    named = [(f"line {number} of COMMANDS", line) for number, line in enumerate(lines, start=1)]
    if args.controls:
        named.append(("the line of --controls", CONTROLS_LINE))
    commands: list[Command] = []
    said: list[list[str]] = []
    for name, line in named:
        try:
            said.append(_words(line))
        except ValueError as fault:
            raise BadLine(f"{name}, {line!r}: {fault}") from None
    programs = [words[0] for words in said]
    ports: dict[int, str] = {}
    for number, ((name, line), words) in enumerate(zip(named, said, strict=True), start=1):
        try:
            alone = programs.count(words[0]) == 1
            nth = 0 if alone else programs[:number].count(words[0])
            command = _command(words, nth, args)
            first = ports.setdefault(command.port, name) if command.port else name
            if first != name:
                raise ValueError(f"{first} has this port already")
            if words[0] == CONTROLS and CONTROLS in programs[: number - 1]:
                raise ValueError("there is one controls for a launcher")
        except ValueError as fault:
            raise BadLine(f"{name}, {line!r}: {fault}") from None
        commands.append(command)
    return commands


def _words(line: str) -> list[str]:
    """The arguments in a line. Raises ValueError."""
    if type(line) is not str:
        raise ValueError("it is no text")
    words = []
    for word in shlex.split(line):
        name, equals, value = word.partition("=")
        words += [name, value] if name == "--port" and equals else [word]
    if not words:
        raise ValueError("there is no command in it")
    path = f"barker/{words[0].replace('.', '/')}.py"
    if not (files.ROOT / path).is_file():
        raise ValueError(f"there is no {path}")
    return words


def _command(words: Sequence[str], nth: int, args: argparse.Namespace) -> Command:
    """A line as a process: its port shifted, and with the flags that all need.

    `nth` numbers the processes of one program; 0 if there is only one. Raises ValueError.
    """
    program, *own = words
    label, port, listens = program, None, False
    if "--port" in own:
        at = own.index("--port") + 1
        if at == len(own):
            raise ValueError("--port needs a number")
        try:
            port = port_number(own[at])
        except argparse.ArgumentTypeError as fault:
            raise ValueError(str(fault)) from None
        if port:  # 0 is any free one
            port += args.shift_ports
        own[at] = str(port)
        listens = True
    label = f"{label}-{port}" if port else f"{label}-{nth}" if nth else label
    common = common_flags(args, is_service=listens)
    flags = [*(listening_flags(args) if listens else []), *common]
    argv = ["-m", f"barker.{program}", *own, *flags]
    short = shlex.join([program, *own])
    is_found = (args.host, args.shift_ports) == (DEFAULT_HOST, 0)
    is_usual = args.host == DEFAULT_HOST and not args.advertise
    needed = listening_flags(args) if listens and not is_usual else []
    needed += common_flags(args, is_service=listens, is_found=is_found)
    typed = " ".join([terminal.python(), "-m", f"barker.{short}", *map(shlex.quote, needed)])
    first = ["--no-settle"] if program == "directory" else []  # no service runs yet
    return Command(label, argv, args.host, port, short, typed, first)
