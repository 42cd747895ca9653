"""The authentication of a flow's requests by the schemes of its sender, compiled once. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, assert_never

from eventflow.senders.keys import secrets_for
from eventflow.senders.vocabulary import Basic, Certificate, Ed25519, Hmac, Proxied, Sender, Token
from eventflow_collector.senders.certificate_signature import CertificateSignature
from eventflow_collector.senders.certificates import Awaited
from eventflow_collector.senders.conditions import IsFulfilled, all_fulfilled
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.means import Means
from eventflow_collector.senders.request import Request
from eventflow_collector.senders.signature import KeyedSignature
from eventflow_collector.senders.token import CheckToken, basic_check, proxied_check, token_check

Check = Callable[[Request, datetime], Flaw | None]
"""Returns the reason why a request is not authentic; None if it is."""

Await = Callable[[Request, datetime], Awaited | None]
"""Returns the certificate that must be fetched before a request can be checked; None if there is none."""


class Authentication(NamedTuple):
    """The compiled authentication of a flow. A tuple of functions, which are called for every event.

    Attributes:
        check: The check of a request.
        await_certificate: To be called before it; None if no scheme needs certificates.
    """

    check: Check
    await_certificate: Await | None


def compile_authentication(sender: Sender, means: Means) -> Authentication:
    """Compile the schemes of a sender with the secrets of a flow. A request is authentic if one scheme accepts it.

    A scheme that none of the secrets fits is left out.

    Raises:
        ValueError: A template is wrong; see `problems_in`.
    """
    checks: list[tuple[IsFulfilled | None, Check]] = []
    awaits: list[tuple[IsFulfilled | None, Await]] = []
    for scheme in sender.authentication:
        own = replace(means, secrets=secrets_for(scheme, means.secrets))
        if not own.secrets:
            continue
        applies = all_fulfilled(scheme.when) if scheme.when else None
        if isinstance(scheme, Certificate):
            signature = CertificateSignature(scheme, own)
            checks.append((applies, signature.flaw_of))
            awaits.append((applies, signature.awaited))
        else:
            checks.append((applies, _check_of(scheme, own)))
    return Authentication(_one_of(checks), _first_of(awaits) if awaits else None)


def _one_of(checks: Sequence[tuple[IsFulfilled | None, Check]]) -> Check:
    match checks:
        case [(None, check)]:
            return check

    def check_all(request: Request, now: datetime) -> Flaw | None:
        found: Flaw | None = None
        for applies, check in checks:
            if applies is None or applies(request):
                flaw = check(request, now)
                if flaw is None:
                    return None
                found = _more_telling(found, flaw)
        return found or Flaw.MISSING

    return check_all


def _first_of(awaits: Sequence[tuple[IsFulfilled | None, Await]]) -> Await:
    def await_first(request: Request, now: datetime) -> Awaited | None:
        for applies, await_one in awaits:
            if (applies is None or applies(request)) and (awaited := await_one(request, now)) is not None:
                return awaited
        return None

    return await_first


def _check_of(scheme: Hmac | Ed25519 | Token | Basic | Proxied, means: Means) -> Check:
    match scheme:
        case Hmac() | Ed25519():
            return KeyedSignature(scheme, means).flaw_of
        case Token():
            return _timeless(token_check(scheme, means))
        case Basic():
            return _timeless(basic_check(means))
        case Proxied():
            return _timeless(proxied_check(scheme, means))
        case _:
            assert_never(scheme)


def _timeless(check: CheckToken) -> Check:
    return lambda request, _now: check(request)


def _more_telling(first: Flaw | None, second: Flaw) -> Flaw:
    """Return the flaw that explains more. A scheme that a request does not use explains nothing."""
    return first if first is not None and first not in {Flaw.MISSING, Flaw.NO_TOKEN} else second
