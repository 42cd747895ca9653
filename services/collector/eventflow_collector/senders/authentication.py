"""The authentication of a flow's requests by the schemes of its sender, compiled once. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from eventflow.senders.keys import secrets_for
from eventflow.senders.vocabulary import Basic, Certificate, Ed25519, Hmac, Proxied, Scheme, Sender, Token
from eventflow_collector.senders.conditions import all_fulfilled
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.request import Request
from eventflow_collector.senders.signature import KeyedSignature
from eventflow_collector.senders.token import CheckToken, Network, basic_check, proxied_check, token_check

Check = Callable[[Request, datetime], Flaw | None]
"""Returns the reason why a request is not authentic by one scheme; None if it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """The settings of a flow that authentication needs.

    Attributes:
        secrets: Each of them is valid, so that they can be changed without a gap.
        tolerance_s: The most that a signed time may differ from now, in either direction.
        public_url: The address of the flow as its sender has it; empty if no scheme signs it.
        trusted_proxies: The networks of the proxies in front.
    """

    secrets: Sequence[str]
    tolerance_s: float
    public_url: str = ""
    trusted_proxies: Sequence[Network] = ()


def compile_authentication(sender: Sender, means: Means) -> Check:
    """Compile the schemes of a sender with the secrets of a flow. A request is authentic if one scheme accepts it.

    A scheme that none of the secrets fits is left out.

    Raises:
        ValueError: A template is wrong; see `problems_in`.
    """
    schemes = [
        (all_fulfilled(scheme.when) if scheme.when else None, _check_of(scheme, secrets, means))
        for scheme in sender.authentication
        if (secrets := secrets_for(scheme, means.secrets))
    ]
    match schemes:
        case [(None, check)]:
            return check

    def check_all(request: Request, now: datetime) -> Flaw | None:
        found: Flaw | None = None
        for applies, check in schemes:
            if applies is None or applies(request):
                flaw = check(request, now)
                if flaw is None:
                    return None
                found = _more_telling(found, flaw)
        return found or Flaw.MISSING

    return check_all


def _check_of(scheme: Scheme, secrets: Sequence[str], means: Means) -> Check:
    encoded = [secret.encode() for secret in secrets]
    match scheme:
        case Hmac() | Ed25519():
            return KeyedSignature(
                scheme, secrets=secrets, tolerance_s=means.tolerance_s, public_url=means.public_url
            ).flaw_of
        case Certificate():
            raise NotImplementedError
        case Token():
            return _timeless(token_check(scheme, encoded))
        case Basic():
            return _timeless(basic_check(encoded))
        case Proxied():
            return _timeless(proxied_check(scheme, encoded, means.trusted_proxies))
        case _:
            assert_never(scheme)


def _timeless(check: CheckToken) -> Check:
    return lambda request, _now: check(request)


def _more_telling(first: Flaw | None, second: Flaw) -> Flaw:
    """Return the flaw that explains more. A scheme that a request does not use explains nothing."""
    return first if first is not None and first not in {Flaw.MISSING, Flaw.NO_TOKEN} else second
