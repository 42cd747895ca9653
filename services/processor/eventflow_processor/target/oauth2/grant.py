"""Client credentials grant: the request for a token, and the token in the answer. Pure; no text contains a secret."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import quote_plus, urlencode

from eventflow.settings.target import TargetSettings

FETCH_MAX_S = 10.0
"""Deadline of one request for a token."""

UNSTATED_LIFETIME_S = 300.0
"""Lifetime of a token whose answer does not state one. A token that ends earlier is replaced after a 401."""

LIFETIME_MAX_S = 30 * 86_400.0

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_ERROR_CODE = re.compile(r"[a-z_]{1,64}")
_DIGITS = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token.

    Attributes:
        value: Visible ASCII, so a header can carry it.
        lifetime_s: Time for which it is valid, from the request for it on.
    """

    value: str = field(repr=False)
    lifetime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoToken:
    """The cause for which there is no token, for people."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A client that fetches tokens.

    Attributes:
        url: URL of the token endpoint.
        secret: The client secret.
        auth: Place of id and secret in the request.
    """

    url: str
    client_id: str
    secret: str = field(repr=False)
    auth: Literal["basic", "body"] = "basic"
    scope: str | None = None
    audience: str | None = None

    @classmethod
    def of(cls, target: TargetSettings) -> Self | None:
        """Return the client in the settings of a flow; None if its target needs no token."""
        if target.oauth2_token_url is None or target.oauth2_client_id is None or target.oauth2_client_secret is None:
            return None
        return cls(
            url=target.oauth2_token_url,
            client_id=target.oauth2_client_id,
            secret=target.oauth2_client_secret.get_secret_value(),
            auth=target.oauth2_client_auth,
            scope=target.oauth2_scope,
            audience=target.oauth2_audience,
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request."""
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if self.auth == "basic":  # both are encoded first (RFC 6749, section 2.3.1)
            credentials = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
            headers["Authorization"] = f"Basic {b64encode(credentials.encode()).decode()}"
        return headers

    @property
    def body(self) -> bytes:
        """The body of a request."""
        fields = {"grant_type": "client_credentials", "scope": self.scope, "audience": self.audience}
        if self.auth == "body":
            fields |= {"client_id": self.client_id, "client_secret": self.secret}
        return urlencode({name: value for name, value in fields.items() if value is not None}).encode()


def token_in(status: int, body: bytes) -> Token | NoToken:
    """Read an answer of a token endpoint. Of one without a token, only status and error code are kept."""
    document = _document_in(body)
    if status != 200:
        code = document.get("error")
        known = isinstance(code, str) and _ERROR_CODE.fullmatch(code)
        return NoToken(text=f"HTTP {status}, {code}" if known else f"HTTP {status}")
    value, kind = document.get("access_token"), document.get("token_type", "Bearer")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        return NoToken(text="its answer has no access token that a header can carry")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return NoToken(text="its token is not a Bearer token")
    return Token(value=value, lifetime_s=_lifetime_s(document.get("expires_in")))


def _document_in(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _lifetime_s(stated: object) -> float:
    """Return a lifetime. Some servers write the number as a text."""
    seconds = int(stated) if isinstance(stated, str) and _DIGITS.fullmatch(stated) else stated
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:  # NaN is not above 0
        return UNSTATED_LIFETIME_S
    return min(seconds, LIFETIME_MAX_S)
