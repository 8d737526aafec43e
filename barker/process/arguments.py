"""Arguments: the flags that all commands share, the types of their values, the usual places.

A command's help is one paragraph, its options, and examples: for readers who type commands. The
docstring of its file is for readers of the code.

It stands apart so that a launcher can read its own command line without loading the programs that
it will start.
"""

import argparse
import difflib
import itertools
import pathlib
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from barker.disk import files
from barker.disk.claims import place_of
from barker.process import terminal
from barker.wire import fields, protocol

DEFAULT_HOST = "127.0.0.1"
DIRECTORY_PORT = 5672
# The launcher's name for its claim of the state folder. The claim has its directory's address.
LAUNCHER = "launcher"
HELP_COLUMNS = 80
# There is no release yet. Two processes can talk if they have the same protocol number.
VERSION = f"Barker (in development), protocol {protocol.VERSION}, Python {sys.version.split()[0]}"
# Environment: a launcher sets it when it holds the other end of standard input, the *leash*.
# Its end means "stop".
LEASH = "BARKER_LEASH"
# Its value for a child whose requests the launcher performs. For all others it is "1".
CONTROLLED = "controls"


def place(text: str) -> tuple[str, int]:
    """``HOST:PORT`` -> (host, port), for argparse. IPv6 addresses stand in brackets."""
    host, colon, port = text.rpartition(":")
    inner = host.removeprefix("[").removesuffix("]")
    if (":" in inner) != (host == f"[{inner}]"):
        raise argparse.ArgumentTypeError(f"{text!r}: an IPv6 address, and no other, is in brackets")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return inner, int(port)


def directory_place(args: argparse.Namespace) -> tuple[str, int]:
    """The directory's address: by the flag, else by the claim of a launcher that runs."""
    if args.directory:
        return args.directory  # type: ignore[no-any-return]
    try:
        return place(place_of(args.state, LAUNCHER))
    except argparse.ArgumentTypeError:
        return DEFAULT_HOST, DIRECTORY_PORT


def port_number(text: str) -> int:
    """For argparse: 0 (any free port) to 65535."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def service_name(text: str) -> str:
    """For argparse: an address without a key. It becomes part of a name and of a folder's name."""
    if "/" in text or not fields.is_address(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a service")
    return text


def positive(text: str) -> float:
    """For argparse: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def at_least_0(text: str) -> int:
    """For argparse: a whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every node."""
    group = parser.add_argument_group("every node")
    group.add_argument(
        "--directory",
        type=place,
        metavar="HOST:PORT",
        help="where the directory is (default: that of the launch.py that runs, else "
        f"{DEFAULT_HOST}:{DIRECTORY_PORT})",
    )
    group.add_argument(
        "--state",
        type=pathlib.Path,
        default=files.DEFAULT_STATE,
        metavar="DIR",
        help="folder of the keys, the users and the journals (default: var/ of the project)",
    )
    group.add_argument(
        "--secret-file",
        type=pathlib.Path,
        metavar="FILE",
        help="our key, if it is not the state folder's: a service's is the secret, a client's "
        "the clients' key",
    )
    tls_arguments(group)
    group.add_argument(
        "--heartbeat",
        type=positive,
        default=1.0,
        metavar="SECONDS",
        help="silence after which a peer is sent a ping; after three times as long it is dead "
        "(default: %(default)s)",
    )
    group.add_argument("-v", "--verbose", action="store_true", help="log more, to stderr")


def tls_arguments(group: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """The flags that put a whole system under TLS; services need all three, clients the last."""
    group.add_argument(
        "--tls-cert", type=pathlib.Path, metavar="FILE", help="our certificate (PEM), for TLS"
    )
    group.add_argument(
        "--tls-key", type=pathlib.Path, metavar="FILE", help="the private key that goes with it"
    )
    group.add_argument(
        "--tls-ca",
        type=pathlib.Path,
        metavar="FILE",
        help="the authority of our peers' certificates; with it, every connection is TLS",
    )


class _Help(argparse.HelpFormatter):
    """Help of at most 80 columns, in which no word is broken. Indented lines stay as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(HELP_COLUMNS, shutil.get_terminal_size().columns) - 2)

    def _split_lines(self, text: str, width: int) -> list[str]:
        text = " ".join(text.split())
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n  " in text:
            return text
        return "\n".join(indent + line for line in self._split_lines(text, width))


class Parser(argparse.ArgumentParser):
    """The command line of one of our commands, without its `python`: ``-m barker.bark``.

    `about` is a paragraph, `examples` are more such commands. Options may stand before, between or
    behind other arguments; none can be abbreviated.
    """

    def __init__(self, command: str, about: str, examples: Sequence[str] = ()) -> None:
        python = terminal.python()
        shown = "\n".join(f"  {python} {example}" for example in examples)
        super().__init__(
            prog=f"{python} {command}",
            description=about,
            epilog=f"examples:\n{shown}" if shown else None,
            formatter_class=_Help,
            allow_abbrev=False,
        )
        self.color = False  # from Python 3.14 on; `_print_message` makes text of all such signs
        self._shown = shown
        self._program = command.removeprefix("-m ").removeprefix("barker.")
        self.add_argument(
            "--version",
            action="version",
            version=VERSION,
            help="print which Barker and which Python this is, and stop",
        )

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        args = sys.argv[1:] if args is None else args
        # Before argparse: it would miss a word that was to be the value of an option.
        for word in itertools.takewhile(lambda word: word != "--", args):
            name = word.partition("=")[0]
            if word.startswith("--") and " " not in word and name not in self._names:
                self._refuse_option(name)
        parsed, unknown = self.parse_known_intermixed_args(args, namespace)
        for word in unknown:
            if word.startswith("-"):
                self._refuse_option(word)
            self.error(f"one word too many: {word}")
        assert isinstance(parsed, argparse.Namespace)
        return parsed

    @property
    def _names(self) -> list[str]:
        """All options, as a user types them."""
        return [name for action in self._actions for name in action.option_strings]

    def _refuse_option(self, name: str) -> NoReturn:
        hint = ""
        if like := difflib.get_close_matches(name, self._names, n=1, cutoff=0.75):
            hint = f"; {like[0]} is one"
        elif " -- " in self._shown:
            hint = "; a word that begins with a dash and is no option goes behind --"
        self.error(f"there is no option {name}{hint}")

    def error(self, message: str) -> NoReturn:
        """Called for a wrong command line: prints the mistake and the usage."""
        shown = f"such as:\n{self._shown}\n" if self._shown else ""
        self.exit(2, f"{self._program}: {message}\n{shown}all options: {self.prog} --help\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Called by argparse for all that it prints: help and version, or a mistake."""
        if file is sys.stderr:
            # It quotes typed words, and these may have been pasted.
            shown = "\n".join(map(terminal.printable, message.split("\n")))
            super()._print_message(shown, file)
        elif message and not terminal.say(self._program, *message.removesuffix("\n").split("\n")):
            self.exit(1)


def quick_parser(program: str, about: str, examples: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of `barker/PROGRAM.py`; its examples are the words behind the program's name."""
    command = f"-m barker.{program}"
    return Parser(command, about, [f"{command} {example}".rstrip() for example in examples])


def journal_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every service that keeps a journal."""
    parser.add_argument(
        "--no-journal",
        action="store_true",
        help="keep nothing on disk: acked entries are lost with the process",
    )
    parser.add_argument(
        "--fsync",
        action="store_true",
        help="have each batch on the disk itself before it is acked, for power cuts",
    )
