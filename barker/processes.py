"""Processes: start a local fleet, label what each of them says, stop them all together.

No asyncio here: a launcher waits for a signal and copies lines, and threads do that on every
platform. Each child's standard input is a pipe that only the launcher holds. However the launcher
ends, also by kill -9, that pipe ends with it, and the children take it as the order to stop
(`arguments.LEASH`).
"""

import argparse
import contextlib
import errno
import os
import pathlib
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from barker import hosts, tls
from barker.arguments import DEFAULT_HOST, DIRECTORY_PORT, LEASH, at_least_0, tls_arguments
from barker.state import (
    DEFAULT_STATE,
    ROOT,
    complain,
    is_nohup,
    remove_mark,
    say,
    tolerate_any_text,
)

# Between asking a child to stop and ending it the hard way. Most are gone within milliseconds; an
# inbox that hands over to others gives itself five seconds, and every node two for its links.
PATIENCE_S = 8.0
# Ports that other protocols have, to which no browser connects: the "bad ports" of the Fetch
# standard, of those above ours.
NO_BROWSER = frozenset({6000, 6566, *range(6665, 6670), 6679, 6697, 10080})

# Colours of labels that can be read on black and on white.
_COLOURS = (36, 33, 35, 32, 34, 31)


class Command(NamedTuple):
    """What to run: arguments for this Python, a label for its lines, the port it will want."""

    label: str
    argv: list[str]
    host: str = ""
    port: int | None = None

    def __str__(self) -> str:
        return shlex.join(["python", *self.argv])


def busy_ports(commands: Sequence[Command]) -> list[Command]:
    """Those of the commands whose port somebody else has.

    Raises OSError or UnicodeError if it is the host that can't be listened at.
    """
    return [c for c in commands if c.port and not _is_free(c.host, c.port)]


def _is_free(host: str, port: int) -> bool:
    try:
        sockets = hosts.bind(hosts.addresses(host, port))
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        return False
    for probe in sockets:
        probe.close()
    return True


class Fleet:
    """Children that were started together; their lines go to our standard output."""

    def __init__(self) -> None:
        self._children: dict[subprocess.Popen[bytes], Command] = {}
        self._events: queue.SimpleQueue[subprocess.Popen[bytes] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._print_lock = threading.Lock()
        self._width = 0
        self._stopping = False
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def stop_on_signals(self) -> None:
        """Ctrl-C and its relatives make `run` stop everything, from now on."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number and not is_nohup(number):
                signal.signal(number, lambda *_: self._events.put(None))

    def start(self, commands: Sequence[Command]) -> None:
        """Start all of them at once, each with a line that says so."""
        self._width = max(len(c.label) for c in commands)
        for i, command in enumerate(commands):
            child = subprocess.Popen(
                [sys.executable, *command.argv],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, LEASH: "1"},
                # A group of its own: Ctrl-C is for us, and we pass the order on.
                **({"process_group": 0} if os.name == "posix" else {}),  # type: ignore[call-overload]
            )
            self._children[child] = command
            self.say(f"[{child.pid}] {command}")
            label = f"{command.label:<{self._width}} | "
            if self._colour:
                label = f"\033[{_COLOURS[i % len(_COLOURS)]}m{label}\033[0m"
            thread = threading.Thread(target=self._copy, args=(child, label), daemon=True)
            thread.start()
            self._threads.append(thread)

    def say(self, text: str) -> None:
        """One piece of text to standard output, never mixed with others'."""
        with self._print_lock:
            if not say(text):  # nobody reads us any more (launch.py | head)
                self._events.put(None)

    def run(self) -> int:
        """Report children that end by themselves, until a signal or the last of them.

        The exit status: 1 if all of them have ended by themselves and not all of them well, else 0.
        """
        failed = False
        while self._children:
            try:
                child = self._events.get(timeout=0.5)
            except queue.Empty:  # on Windows a wait without an end can't be interrupted
                continue
            if child is None:
                failed = False
                break
            command = self._children.pop(child)
            failed = failed or child.returncode != 0
            self.say(f"[{child.pid}] {command.label} ended: {_status(child.returncode)}")
        self.stop()
        return int(failed)

    def stop(self) -> None:
        """Ask all to stop, then insist."""
        self._stopping = True
        for child in self._children:
            if child.stdin:
                with contextlib.suppress(OSError):
                    child.stdin.close()
            if os.name == "posix":  # on Windows this is `kill`; there the leash alone asks
                child.terminate()
        deadline = time.monotonic() + PATIENCE_S
        for child in self._children:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for thread in self._threads:
            thread.join(0.2)

    def _copy(self, child: subprocess.Popen[bytes], label: str) -> None:
        assert child.stdout
        for line in child.stdout:
            self.say(label + line.decode(errors="replace").rstrip("\r\n"))
        child.wait()
        if not self._stopping:
            self._events.put(child)


def _status(code: int) -> str:
    if code >= 0:
        return f"status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def launcher_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """The flags of every launcher."""
    result = argparse.ArgumentParser(
        prog=f"python {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    flag: str,
    announce: Callable[[], str],
) -> int:
    """What a launcher does after its arguments; `announce` makes the text printed after the start.

    If a port is taken, or none for a page, nothing is started: the exit status is 1, and the
    message says which port, who wanted it, and that `flag` moves it. Neither is anything if all
    would refuse to; raises StateError then.
    """
    tolerate_any_text()
    tls.contexts(args, is_service=True)
    fleet = Fleet()
    fleet.stop_on_signals()
    if any(command.port and command.port > 65535 for command in commands):
        complain(program, "ports end at 65535, and some of these would be beyond")
        return 1
    for command in commands:
        if command.port in NO_BROWSER:
            complain(
                program,
                f"no browser connects to port {command.port}, which would be {command.label}'s."
                f" {flag}",
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
            f"port {command.port} is taken by another program; {command.label} wanted it. {flag}",
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
