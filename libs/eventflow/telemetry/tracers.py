"""Which tracer a process has: the SDK's or none, as the standard variables `OTEL_*` say."""

import os
from collections.abc import Mapping

from eventflow.errors import SettingsError
from eventflow.network.host import check_http_url, shown_http_url
from eventflow.telemetry.tracing import UNRECORDED, Span, Tracer

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
DISABLED_VARIABLE = "OTEL_SDK_DISABLED"


class NoTracer:
    """Records nothing. What senders give as `traceparent` travels on untouched."""

    def start(self, *_: object, **__: object) -> Span:
        """Return a span that records nothing."""
        return UNRECORDED

    async def close(self) -> None:
        """Do nothing."""


def require_endpoints(environ: Mapping[str, str]) -> None:
    """Check where traces go: the SDK connects there only later, and logs each batch that it loses.

    Raises:
        SettingsError: A variable names no URL that could be connected to.
    """
    for variable in ENDPOINT_VARIABLES if _is_exporting(environ) else ():
        if endpoint := environ.get(variable):
            try:
                check_http_url(endpoint, takes_userinfo=True)
            except ValueError as error:
                shown = shown_http_url(endpoint)
                raise SettingsError(f"{variable}{f' = {shown!r}' if shown else ''}: {error}") from None


def tracer_for(service: str) -> Tracer:
    """Make the tracer of this process, as the standard variables `OTEL_*` say: once, at its start.

    Without an endpoint nothing is recorded, and the SDK is not even imported.

    Args:
        service: The resource attribute `service.name`.

    Raises:
        SettingsError: The SDK does not take the value of one of them.
    """
    if not _is_exporting(os.environ):
        return NoTracer()
    try:
        from eventflow.telemetry.otlp import OtlpTracer  # noqa: PLC0415 - a fifth of a second, and memory, when off

        return OtlpTracer(service)
    except ValueError as error:  # of the import, too
        raise SettingsError(f"OpenTelemetry does not take the value of a variable OTEL_...: {error}") from error


def _is_exporting(environ: Mapping[str, str]) -> bool:
    return environ.get(DISABLED_VARIABLE, "").lower() != "true" and any(map(environ.get, ENDPOINT_VARIABLES))
