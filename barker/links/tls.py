"""TLS: what `--tls-cert`, `--tls-key` and `--tls-ca` make of a connection.

A system has it everywhere or nowhere: a service with a certificate takes nothing else, and whoever
has a `--tls-ca` says nothing to a peer whose certificate that authority has not signed, or signed
for another name. The secret still decides who may come in; TLS sees to it that nobody on the way
reads or changes what is said after that. Left out: letting peers in by certificate alone.
"""

import argparse
import logging
import pathlib
import ssl
from typing import NamedTuple

from barker.disk.files import StateError, UsageError
from barker.links.sealed import Sealed

# What OpenSSL calls a certificate that is not valid yet, and one that is not valid any more.
_OUT_OF_DATE = {9, 10}

log = logging.getLogger("barker.links.tls")


class Contexts(NamedTuple):
    """For connections that others open, and for those that we open; None: without TLS."""

    accepting: ssl.SSLContext | None = None
    opening: ssl.SSLContext | None = None


def contexts(args: argparse.Namespace, *, is_service: bool) -> Contexts:
    """What a node's arguments ask for. Raises StateError if a file will not do."""
    cert, key, authority = args.tls_cert, args.tls_key, args.tls_ca
    if not (cert or key or authority):
        return Contexts()
    if bool(cert) != bool(key):
        raise UsageError("--tls-cert and --tls-key go together")
    if not authority:
        raise UsageError("--tls-cert needs --tls-ca, too: our peers' certificates, or who signed")
    if is_service and not cert:
        raise UsageError("a service with --tls-ca needs --tls-cert and --tls-key, too")
    accepting = None
    try:
        opening = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    except OSError as fault:
        raise _unusable(authority, fault) from None
    if cert:
        accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        for context in (accepting, opening):  # a client shows its own to whoever asks for one
            try:
                # Without a password, a key that needs one is an error and not a question.
                context.load_cert_chain(cert, key, password="")
            except OSError as fault:
                raise _unusable(key if cert.exists() else cert, fault) from None
        _check_dates(cert, accepting, authority)
    return Contexts(accepting, opening)


def _check_dates(cert: pathlib.Path, accepting: ssl.SSLContext, authority: pathlib.Path) -> None:
    """Raises StateError if our own certificate is not valid today: no peer would talk to us."""
    asking = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    asking.check_hostname = False  # it has names of its own, and the peers check those
    us, peer = Sealed(accepting), Sealed(asking, "us")
    try:
        for _ in range(4):  # which is more than a handshake takes
            peer.receive(us.take_output())
            us.receive(peer.take_output())
    except ssl.SSLCertVerificationError as fault:
        if fault.verify_code in _OUT_OF_DATE:
            raise StateError(f"{cert}: {fault.verify_message}; no peer would trust it") from None


def _unusable(path: pathlib.Path, fault: OSError) -> StateError:
    if not isinstance(fault, ssl.SSLError):
        return StateError(f"{path}: {fault.strerror or fault}")
    return StateError(f"{path}: not a certificate and its key that TLS can use ({fault.reason})")


# What OpenSSL calls it if the other end has hung up on our certificate.
_DISTRUST = {
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "TLSV1_ALERT_CERTIFICATE_UNKNOWN",
}


def log_refusal(fault: ssl.SSLError) -> None:
    """A handshake at our port has failed: because of authorities, or was it no handshake?"""
    if fault.reason in _DISTRUST:
        log.warning("a peer does not trust our certificate: its --tls-ca is not who signed it")
    else:
        log.info("a stranger was refused: it does not speak TLS as we do (%s)", fault.reason)


def explain(fault: ssl.SSLError) -> str:
    """What was wrong with a peer's certificate, in words."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {fault.verify_message}"
    return f"it does not speak TLS as we do ({fault.reason})"
