"""The image's health check: exit status 0 when the service in this container says that it is alive.

One image holds both services, so it asks the collector's admin port, then the processor's. Standard library only.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

PORTS = (
    os.environ.get("EVENTFLOW_COLLECTOR__ADMIN_PORT", "9464"),
    os.environ.get("EVENTFLOW_PROCESSOR__ADMIN_PORT", "9465"),
)


def is_alive(port: int) -> bool:
    """Ask one port."""
    # Not urllib: it would ask the proxy that HTTP_PROXY names.
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


sys.exit(not any(is_alive(int(port)) for port in PORTS))
