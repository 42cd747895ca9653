"""Readiness of the console. It serves pages while other parts are away, and each page names these parts."""

from eventflow.service.admin import Readiness
from eventflow_console.desk import Desk


def readiness_of(desk: Desk) -> Readiness:
    """Return the answer of /readyz. Neither RabbitMQ nor the history is needed; their states are details."""
    obstacles = ["it is stopping"] if desk.stopping.is_set() else []
    broker = {None: "unknown", True: "up", False: "down"}[desk.state.present.broker.is_up]
    return Readiness(
        ready=not obstacles, details={"obstacles": obstacles, "broker": broker, "history": desk.history.condition}
    )
