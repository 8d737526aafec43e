"""Hosts: the addresses behind a name, which of them we may listen at, and our own names.

``localhost`` means both loopback addresses, whatever a machine's own table says (RFC 6761, 6.3). A
service of that name listens at both, at one port; a client tries one after the other. So it does
not matter which of them the machine, or a browser on it, would have tried first.

Blocking, since a resolver is; a service calls it in a thread.
"""

import contextlib
import errno
import ipaddress
import os
import pathlib
import socket
from typing import NamedTuple

LOCALHOST = "localhost"
LOOPBACKS = ("127.0.0.1", "::1")
# Every machine has these names for itself: a connection that was made by one came from here.
OWN_NAMES = frozenset({LOCALHOST, *LOOPBACKS})
# How often a port that is free at one address of a name may turn out to be taken at another.
PORT_TRIES = 20

# The system's errors for an address that this machine lacks (IPv6 may be switched off).
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


class Address(NamedTuple):
    """One address as the socket calls want it."""

    family: socket.AddressFamily
    sockaddr: tuple[object, ...]

    @property
    def host(self) -> str:
        return str(self.sockaddr[0])


def spell(host: str, port: int) -> str:
    """``HOST:PORT`` as `arguments.place` reads it: IPv6 addresses stand in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def alternatives(host: str) -> tuple[str, ...]:
    """The addresses to try, one after the other, to reach `host`."""
    return LOOPBACKS if host.lower() == LOCALHOST else (host,)


def is_number(host: str) -> bool:
    """Is it an address, and no name that needs a resolver?"""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def addresses(host: str, port: int) -> list[Address]:
    """All addresses of `host`, to listen at. Raises OSError or UnicodeError if it has none.

    An empty host is every address of the machine.
    """
    found: dict[Address, None] = {}
    for name in alternatives(host):
        for family, _, _, _, sockaddr in socket.getaddrinfo(
            name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            if family in (socket.AF_INET, socket.AF_INET6):
                found[Address(family, sockaddr)] = None
    if not found:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return list(found)


def is_loopback(host: str) -> bool:
    """Can only this machine reach it?"""
    address = ipaddress.ip_address(host)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def are_loopback(at: list[Address]) -> bool:
    """Can only this machine reach any of them?"""
    return all(is_loopback(a.host) for a in at)


def why_closed(
    host: str, at: list[Address], secret_file: pathlib.Path | None, advertise: str | None
) -> str | None:
    """The reason not to listen there, or None.

    A service listens for other machines only with `--secret-file`: the secret in the state folder
    was made for this machine, and its owner may not know that there is one.
    """
    name = host or "every address"
    if secret_file is None and not are_loopback(at):
        return (
            f"{name} can be reached from other machines; that takes a secret of your own, "
            "which --secret-file names"
        )
    if advertise is None and any(ipaddress.ip_address(a.host).is_unspecified for a in at):
        return f"{name} is no address to be reached by; --advertise says by which others reach us"
    return None


def bind(at: list[Address]) -> list[socket.socket]:
    """A socket for each address, bound and not listening yet, all with the same port number.

    Raises OSError. An address that the machine has not got is left out if there is another.
    """
    for _ in range(PORT_TRIES - 1):
        try:
            return _bind_once(at)
        except OSError as fault:
            if fault.errno != errno.EADDRINUSE or at[0].sockaddr[1]:
                raise
    return _bind_once(at)


def _bind_once(at: list[Address]) -> list[socket.socket]:
    absent: OSError | None = None
    with contextlib.ExitStack() as undo:
        bound: list[socket.socket] = []
        for family, sockaddr in at:
            port = bound[0].getsockname()[1] if bound else sockaddr[1]
            try:
                # asyncio switches Nagle's algorithm off only for sockets that are made as TCP. With
                # it, a small message waits up to 40 ms for the ack of the one before.
                channel = undo.enter_context(
                    socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
                )
                if os.name == "posix":  # on Windows it would let two have one port
                    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:  # IPv4 has its own socket
                    channel.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                channel.bind((sockaddr[0], port, *sockaddr[2:]))
            except OSError as fault:
                if fault.errno not in _ABSENT:
                    raise
                absent = fault
                continue
            bound.append(channel)
        if not bound:
            assert absent
            raise absent
        undo.pop_all()
        return bound
