"""Default addresses of the services. The health check of the image needs them without the settings models.

That check runs every 10 s in each container. Importing pydantic would cost more than the rest of the check.
"""

DEFAULT_HOST = "127.0.0.1"
COLLECTOR_ADMIN_PORT = 9464
PROCESSOR_ADMIN_PORT = 9465
CONSOLE_ADMIN_PORT = 9466
RELAY_ADMIN_PORT = 9467
ADMIN_PORTS_TRIED = 100


def admin_ports_from(usual: int) -> list[int]:
    """Return the ports that a service tries in turn if its admin port is not set.

    A second collector leaves out the usual ports of the other services, which may start later.
    """
    others = {COLLECTOR_ADMIN_PORT, PROCESSOR_ADMIN_PORT, CONSOLE_ADMIN_PORT, RELAY_ADMIN_PORT} - {usual}
    return [port for port in range(usual, usual + ADMIN_PORTS_TRIED) if port not in others]
