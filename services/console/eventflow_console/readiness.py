"""Readiness of the console: it serves pages whatever is away, and each page says what is."""

from eventflow.service.admin import Readiness
from eventflow_console.desk import Desk


def readiness_of(desk: Desk) -> Readiness:
    """Return the answer of /readyz. Neither the broker nor the store is needed, since pages show their absence."""
    obstacles = ["it is stopping"] if desk.stopping.is_set() else []
    return Readiness(ready=not obstacles, details={"obstacles": obstacles})
