"""Authentication by a proxy in front, which checks the password and sends the name of the operator."""

import structlog
from aiohttp import web
from typing_extensions import override

from eventflow.users import is_name
from eventflow_console.auth.peers import Networks, is_within
from eventflow_console.auth.user import Authenticator
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.refusals import RequestRefusedError

log = structlog.stdlib.get_logger()


class Proxy(Authenticator):
    """Takes the name from a header, in requests from trusted proxies only."""

    def __init__(self, *, header: str, trusted: Networks, metrics: ConsoleMetrics) -> None:
        self._header = header
        self._trusted = trusted
        self._metrics = metrics

    @override
    async def user(self, request: web.Request) -> str:
        if not is_within(request.remote, self._trusted):
            raise self._refused(request, "not_a_proxy", "This console takes requests from its proxy only.")
        # Two headers mean that a visitor sent one, and that the proxy added its own to it.
        match request.headers.getall(self._header, []):
            case [name] if is_name(name):
                return name
        raise self._refused(request, "no_user", f"The proxy has sent no user name in the header {self._header}.")

    def _refused(self, request: web.Request, reason: str, sentence: str) -> RequestRefusedError:
        self._metrics.logins_refused.labels(reason=reason).inc()
        log.warning("login.refused", reason=reason, address=request.remote)
        return RequestRefusedError(403, sentence)
