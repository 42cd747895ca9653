"""TLS contexts for connections to brokers, made from the parameters of a broker URL."""

import ssl
from collections.abc import Sequence
from pathlib import Path

import structlog

from eventflow.errors import SettingsError
from eventflow.network.broker_url import Tls, parse_broker_url
from eventflow.network.certificates import UnusableCertificateError, check_readable, load_own, named

PEM_BEGINS = b"-----BEGIN"
VERIFY_ADVICE = (
    "an attacker on the network path to the broker can read and change events; take no_verify_ssl or verify out of "
    "EVENTFLOW_BROKER__URL, and name the authority of the certificate with cacertfile"
)

log = structlog.stdlib.get_logger()


def context_of(tls: Tls) -> ssl.SSLContext:
    """Make a context. It reads the files each time, so that a renewed certificate is used at the next connect.

    Raises:
        UnusableCertificateError: A file is missing, cannot be read, or is not a certificate or key.
    """
    with named("cafile", tls.cafile):
        check_readable(tls.cafile)
    with named("capath", tls.capath):
        if tls.capath is not None:
            next(Path(tls.capath).iterdir(), None)  # OpenSSL ignores a missing directory
    given = [name for name in ("cafile", "capath", "cadata") if getattr(tls, name) is not None]
    with named(", ".join(given) or "the system's authorities", tls.cafile):
        context = ssl.create_default_context(cafile=tls.cafile, capath=tls.capath, cadata=_text_if_pem(tls.cadata))
    if tls.certfile is not None:
        load_own(context, tls.certfile, tls.keyfile, names=("certfile", "keyfile"))
    elif tls.keyfile is not None:
        raise UnusableCertificateError("keyfile is set, and certfile is not")
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def require_sound_urls(urls: Sequence[str]) -> None:
    """Check the files that URLs name, and warn of parameters that weaken TLS or have no effect. Once, at the start.

    Args:
        urls: Broker URLs that `parse_broker_url` has accepted.

    Raises:
        SettingsError: A certificate or key cannot be used; names the file and the reason.
    """
    for broker in map(parse_broker_url, urls):
        if broker.ignored:
            log.warning("broker.parameters_ignored", server=broker.place, parameters=broker.ignored)
        if broker.tls is None:
            continue
        try:
            context_of(broker.tls)
        except UnusableCertificateError as error:
            raise SettingsError(f"EVENTFLOW_BROKER__URL: for the broker {broker.place}: {error}") from error
        if not broker.tls.verify:
            log.warning("broker.certificate_unverified", server=broker.place, advice=VERIFY_ADVICE)


def _text_if_pem(cadata: bytes | None) -> str | bytes | None:
    """Return PEM as text and DER as bytes: `ssl` distinguishes them by type."""
    is_pem = cadata is not None and cadata.lstrip().startswith(PEM_BEGINS)
    return cadata.decode("ascii") if cadata is not None and is_pem else cadata
