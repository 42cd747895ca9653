"""The section `[collector]`. Pure."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from eventflow.settings.addresses import COLLECTOR_ADMIN_PORT, DEFAULT_HOST
from eventflow.settings.fields import (
    MIB,
    AbsolutePath,
    AdminHost,
    AdminPort,
    ListeningHost,
    Networks,
    Port,
    Section,
    auto,
)


class CollectorSettings(Section):
    """The service that accepts events over HTTP."""

    host: ListeningHost = Field(
        DEFAULT_HOST, description="host name or address on which events are accepted; `::` includes IPv4"
    )
    port: Port = Field(8080, description="port on which events are accepted; 0 = a free port")
    admin_host: AdminHost = DEFAULT_HOST
    admin_port: AdminPort = COLLECTOR_ADMIN_PORT
    workers: int = Field(1, ge=1, le=64, description="number of worker processes, which share one bound socket")
    confirm_timeout_s: float = Field(
        2.0,
        gt=0,
        le=60,
        description="longest wait for a confirm of the broker; after it the event goes to the spool, or is answered "
        "503 if there is no spool",
    )
    body_timeout_s: float = Field(
        10.0, gt=0, le=300, description="longest time that a request may take to send its body; then it is answered 408"
    )
    max_in_flight_bytes: int = Field(
        64 * MIB,
        ge=1024,
        description="memory for all open requests and unresolved publishes, counted as 4 KiB for each event plus about "
        "twice its body; above it requests are answered 503",
    )
    trusted_proxies: Networks = Field(
        (),
        description="addresses and networks of the proxies in front, such as `10.0.0.0/8`, separated by commas; the "
        "header in which a proxy reports its own check counts only in requests from these",
    )
    spool_dir: AbsolutePath = Field(
        None,
        description="absolute path of the directory for the spool, a durable local buffer for events that the broker "
        "cannot confirm; created with mode 0700; unset = no spool, and such events are answered 503",
    )
    spool_max_bytes: int = Field(
        1024 * MIB,
        ge=64 * 1024,
        description="size limit of that directory, for all workers together; the journals come on top, with a few MiB "
        "for each worker; events that do not fit are answered 503, as they are if less than 5 % of the disk (at most "
        "64 MiB) is free",
    )
    shutdown_delay_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="time after SIGTERM in which the collector still accepts events, while /readyz is 503, so that "
        "load balancers choose another collector before it stops; in the second half, answers close their connections",
    )
    drain_timeout_s: float = Field(
        10.0, gt=0, le=300, description="longest wait for open requests after SIGTERM and `SHUTDOWN_DELAY_S`"
    )
    spool_drain_timeout_s: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="longest time in which a stopping collector, after its last request, sends the events in its "
        "spool; if the broker is away, the collector waits for the broker within this time; events that are left stay "
        "in the directory; 0 = the collector does not wait",
    )
    keep_alive_s: float = Field(
        75.0,
        gt=0,
        le=86_400,
        description="longest time that an idle connection stays open; set it above the idle timeout of a load balancer "
        "in front, which otherwise sends requests on connections that are just being closed",
    )
    max_connections: Annotated[int | None, Field(ge=1, le=1_000_000), BeforeValidator(auto)] = Field(
        None,
        description="most open connections of each worker, never more than the limit of open files allows; above it "
        "the longest idle connection is closed, or a new one is answered 503 if none is idle; auto = that limit, at "
        "most 10000",
    )

    @property
    def stop_within_s(self) -> float:
        """Longest time that an orderly stop takes. A service manager must wait longer before it kills the process."""
        return self.shutdown_delay_s + self.drain_timeout_s + self.spool_drain_timeout_s + self.confirm_timeout_s
