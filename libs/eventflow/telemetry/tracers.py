"""The choice of a tracer: the SDK or none, as the standard variables `OTEL_*` specify."""

import os
from collections.abc import Mapping

from typing_extensions import override

from eventflow.errors import SettingsError
from eventflow.network.host import check_http_url, shown_http_url
from eventflow.telemetry.tracing import UNRECORDED, Span, Tracer

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
DISABLED_VARIABLE = "OTEL_SDK_DISABLED"


class NoTracer(Tracer):
    """Records nothing. The `traceparent` of a sender is passed on unchanged."""

    @override
    def start(self, *_: object, **__: object) -> Span:
        return UNRECORDED

    @override
    def ignores(self, parent: str) -> bool:
        return True

    @override
    async def close(self) -> None:
        """Do nothing: there is nothing to export."""


def require_endpoints(environ: Mapping[str, str]) -> None:
    """Check the endpoints for traces. The SDK would connect only later, and log an error for each batch that it loses.

    Raises:
        SettingsError: The value of a variable is not a URL that can be connected to.
    """
    for variable in ENDPOINT_VARIABLES if _is_exporting(environ) else ():
        if endpoint := environ.get(variable):
            try:
                check_http_url(endpoint, takes_userinfo=True)
            except ValueError as error:
                shown = shown_http_url(endpoint)
                raise SettingsError(f"{variable}{f' = {shown!r}' if shown else ''}: {error}") from None


def tracer_for(service: str) -> Tracer:
    """Make the tracer of this process, as the standard variables `OTEL_*` specify. Call it once, at the start.

    Without an endpoint nothing is recorded, and the SDK is not even imported.

    Args:
        service: The resource attribute `service.name`.

    Raises:
        SettingsError: The SDK does not accept the value of one of the variables.
    """
    if not _is_exporting(os.environ):
        return NoTracer()
    try:
        from eventflow.telemetry.otlp import OtlpTracer  # noqa: PLC0415 - it costs 0.2 s and memory

        return OtlpTracer(service)
    except ValueError as error:  # the SDK reads some of the variables when it is imported
        raise SettingsError(f"OpenTelemetry does not accept the value of a variable OTEL_...: {error}") from error


def _is_exporting(environ: Mapping[str, str]) -> bool:
    return environ.get(DISABLED_VARIABLE, "").lower() != "true" and any(map(environ.get, ENDPOINT_VARIABLES))
