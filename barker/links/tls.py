"""TLS: connections under `--tls-cert`, `--tls-key` and `--tls-ca`.

A system has it everywhere or nowhere. A service with a certificate refuses connections without TLS.
A program with a `--tls-ca` talks only to a peer whose certificate that authority has signed, for
the name that it dialled. The secret still decides which peers may come in; TLS prevents that a
program on the way reads or changes messages. Left out: letting peers in by certificate alone.
"""

import argparse
import logging
import pathlib
import ssl
from typing import NamedTuple

from barker.disk.files import StateError, UsageError
from barker.links.sealed import Sealed

# OpenSSL's codes for a certificate that is not valid yet, and one that has expired.
_OUT_OF_DATE = {9, 10}

log = logging.getLogger("barker.links.tls")


class Contexts(NamedTuple):
    """For connections that we accept, and for those that we open; None: without TLS."""

    accepting: ssl.SSLContext | None = None
    opening: ssl.SSLContext | None = None


def contexts(args: argparse.Namespace, *, is_service: bool) -> Contexts:
    """The contexts for a node's arguments. Raises StateError if a file will not do."""
    cert, key, authority = args.tls_cert, args.tls_key, args.tls_ca
    if not (cert or key or authority):
        return Contexts()
    if bool(cert) != bool(key):
        raise UsageError("--tls-cert and --tls-key go together")
    if not authority:
        raise UsageError("--tls-cert needs --tls-ca, too: the authority of our peers")
    if is_service and not cert:
        raise UsageError("a service with --tls-ca needs --tls-cert and --tls-key, too")
    accepting = None
    try:
        opening = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    except OSError as fault:
        raise _unusable(authority, fault) from None
    if cert:
        accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        for context in (accepting, opening):  # a client shows its own if it is asked for one
            try:
                # Without a password, a key that needs one is an error and not a question.
                context.load_cert_chain(cert, key, password="")
            except OSError as fault:
                raise _unusable(key if cert.exists() else cert, fault) from None
        _check_dates(cert, accepting, authority)
    return Contexts(accepting, opening)


def _check_dates(cert: pathlib.Path, accepting: ssl.SSLContext, authority: pathlib.Path) -> None:
    """Raises StateError if our own certificate is not valid today: no peer would accept it."""
    asking = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    asking.check_hostname = False  # it has our names, and the peers check those
    us, peer = Sealed(accepting), Sealed(asking, "us")
    try:
        for _ in range(4):  # more than a handshake takes
            peer.receive(us.take_output())
            us.receive(peer.take_output())
    except ssl.SSLCertVerificationError as fault:
        if fault.verify_code in _OUT_OF_DATE:
            raise StateError(f"{cert}: {fault.verify_message}; no peer would trust it") from None


def _unusable(path: pathlib.Path, fault: OSError) -> StateError:
    if not isinstance(fault, ssl.SSLError):
        return StateError(f"{path}: {fault.strerror or fault}")
    return StateError(f"{path}: not a certificate and its key that TLS can use ({fault.reason})")


# OpenSSL's reasons if the other end has refused our certificate.
_DISTRUST = {
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "TLSV1_ALERT_CERTIFICATE_UNKNOWN",
}


def log_refusal(fault: ssl.SSLError) -> None:
    """Log a failed handshake at our port: about authorities, or no handshake at all?"""
    if fault.reason in _DISTRUST:
        log.warning("a peer does not trust our certificate: its --tls-ca has not signed it")
    else:
        log.info("a stranger was refused: it does not speak TLS as we do (%s)", fault.reason)


def explain(fault: ssl.SSLError) -> str:
    """The fault of a peer's certificate, in words."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {fault.verify_message}"
    return f"it does not speak TLS as we do ({fault.reason})"
