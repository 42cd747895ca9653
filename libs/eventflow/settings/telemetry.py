"""The section `[telemetry]`. Pure."""

from typing import Literal

from pydantic import Field

from eventflow.settings.fields import Section


class TelemetrySettings(Section):
    """Logs of the services."""

    log_format: Literal["json", "console"] = Field("json", description="`json` for machines, `console` for people")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")
