"""The section `[processor]`. Pure."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from eventflow.settings.addresses import DEFAULT_HOST, PROCESSOR_ADMIN_PORT
from eventflow.settings.fields import AdminHost, AdminPort, Section, auto, split


class ProcessorSettings(Section):
    """The service that delivers events to the targets."""

    admin_host: AdminHost = DEFAULT_HOST
    admin_port: AdminPort = PROCESSOR_ADMIN_PORT
    prefetch: Annotated[int | None, Field(ge=1, le=2000), BeforeValidator(auto)] = Field(
        None,
        description="most unsettled live deliveries of a processor; auto = rate x timeout, at least 2, at most "
        "min(2000, 64 MiB / MAX_BODY_BYTES)",
    )
    flows: Annotated[tuple[str, ...] | None, Field(min_length=1), BeforeValidator(split)] = Field(
        None, description="flows that this processor serves, separated by commas; unset = all"
    )
    drain_timeout_s: float = Field(10.0, gt=0, le=300, description="longest wait for attempts in flight after SIGTERM")
