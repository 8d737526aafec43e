"""Arguments: the flags that all commands share, the types of their values, the usual places.

Apart from the rest so that a launcher can read its own command line without loading what it is
going to start.
"""

import argparse
import pathlib

from barker.disk import files
from barker.wire import fields

DEFAULT_HOST = "127.0.0.1"
DIRECTORY_PORT = 5672
# Environment: set by a launcher, it says that standard input is a leash which the launcher holds.
# Its end means "stop".
LEASH = "BARKER_LEASH"


def place(text: str) -> tuple[str, int]:
    """``HOST:PORT`` -> (host, port), for argparse. IPv6 addresses stand in brackets."""
    host, colon, port = text.rpartition(":")
    inner = host.removeprefix("[").removesuffix("]")
    if (":" in inner) != (host == f"[{inner}]"):
        raise argparse.ArgumentTypeError(f"{text!r}: an IPv6 address, and no other, is in brackets")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return inner, int(port)


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
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every node."""
    group = parser.add_argument_group("every node")
    group.add_argument(
        "--directory",
        type=place,
        default=(DEFAULT_HOST, DIRECTORY_PORT),
        metavar="HOST:PORT",
        help=f"where the directory is (default: {DEFAULT_HOST}:{DIRECTORY_PORT})",
    )
    group.add_argument(
        "--state",
        type=pathlib.Path,
        default=files.DEFAULT_STATE,
        metavar="DIR",
        help="folder of the secret, the users and the journals (default: var/ of the project)",
    )
    group.add_argument(
        "--secret-file",
        type=pathlib.Path,
        metavar="FILE",
        help="the secret, if it is not the state folder's",
    )
    tls_arguments(group)
    group.add_argument(
        "--heartbeat",
        type=positive,
        default=1.0,
        metavar="SECONDS",
        help="silence after which a peer is asked for a sign of life; three make it dead "
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
        help="who signs our peers' certificates; with it, every connection is TLS",
    )


def quick_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows a module's docstring as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m barker.{program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def journal_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every service that keeps a journal."""
    parser.add_argument(
        "--no-journal",
        action="store_true",
        help="keep nothing on disk: what is acked is lost with the process",
    )
    parser.add_argument(
        "--fsync",
        action="store_true",
        help="have each batch on the disk itself before it is acked, for power cuts",
    )
