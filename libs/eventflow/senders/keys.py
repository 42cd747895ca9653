"""Keys in the secrets of a flow, by the form that a sender writes them in. Pure; no error shows a secret."""

import base64
import binascii
from collections.abc import Iterable
from typing import assert_never

from eventflow.senders.vocabulary import Basic, Certificate, Ed25519, Hmac, KeyForm, Proxied, Scheme, Token
from eventflow.signing import signing_key

KEY_MIN_BYTES = 16
"""Standard Webhooks asks for 24 to 64. A shorter one is a word that happens to be hex or base64, such as `v1`."""

ED25519_KEY_BYTES = 32

_PUBLIC_PREFIX = "whpk_"


def key_of(secret: str, form: KeyForm) -> bytes:
    """Return the bytes of a key.

    Raises:
        ValueError: The secret has another form, or is too short.
    """
    match form:
        case "text":
            return secret.encode()
        case "hex":
            return _long_enough(_from_hex(secret), "hex")
        case "base64":
            return _long_enough(_from_base64(secret), "base64")
        case "whsec":
            return _long_enough(signing_key(secret), "base64", ", usually after whsec_")
        case "whpk":
            if not secret.startswith(_PUBLIC_PREFIX):
                raise ValueError(f"base64 after {_PUBLIC_PREFIX} is expected")
            return _long_enough(_from_base64(secret.removeprefix(_PUBLIC_PREFIX)), "base64", f" after {_PUBLIC_PREFIX}")
        case _:
            assert_never(form)


def check_secret(secret: str, scheme: Scheme) -> None:
    """Check that a scheme can use a secret.

    Raises:
        ValueError: It cannot.
    """
    match scheme:
        case Hmac(key=form):
            key_of(secret, form)
        case Ed25519(key=form):
            if len(key_of(secret, form)) != ED25519_KEY_BYTES:
                raise ValueError(f"the sender's public key is expected, which has {ED25519_KEY_BYTES} bytes")
        case Basic():
            if ":" not in secret:
                raise ValueError("user:password is expected")
        case Certificate() | Token() | Proxied():
            pass
        case _:
            assert_never(scheme)


def secrets_for(scheme: Scheme, secrets: Iterable[str]) -> tuple[str, ...]:
    """Return the secrets that a scheme can use. If a sender has several schemes, the form of a secret selects one."""
    return tuple(secret for secret in secrets if _problem_of(secret, scheme) is None)


def check_secrets(secrets: Iterable[str], schemes: Iterable[Scheme]) -> None:
    """Check that each secret can be used by one of the schemes.

    Raises:
        ValueError: One cannot; the message has the accepted forms.
    """
    for secret in secrets:
        problems = [_problem_of(secret, scheme) for scheme in schemes]
        if all(problems):
            raise ValueError("; or ".join(dict.fromkeys(map(str, problems))))


def _problem_of(secret: str, scheme: Scheme) -> str | None:
    try:
        check_secret(secret, scheme)
    except ValueError as error:
        return str(error)
    return None


def _from_hex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError:
        return b""


def _from_base64(text: str) -> bytes:
    unpadded = text.rstrip("=")
    try:
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except ValueError:
        return b""


def _long_enough(key: bytes, form: str, place: str = "") -> bytes:
    if len(key) < KEY_MIN_BYTES:
        raise ValueError(f"{form} of at least {KEY_MIN_BYTES} bytes is expected{place}")
    return key
