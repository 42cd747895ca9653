"""Which tracer a process has: the SDK's or none, as the standard variables `OTEL_*` say."""

import os

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


def tracer_for(service: str) -> Tracer:
    """Make the tracer of this process, as the standard variables `OTEL_*` say: once, at its start.

    Without an endpoint nothing is recorded, and the SDK is not even imported.

    Args:
        service: The resource attribute `service.name`.
    """
    if os.environ.get(DISABLED_VARIABLE, "").lower() == "true" or not any(map(os.environ.get, ENDPOINT_VARIABLES)):
        return NoTracer()
    from eventflow.telemetry.otlp import OtlpTracer  # noqa: PLC0415 - a fifth of a second, and memory, when off

    return OtlpTracer(service)
