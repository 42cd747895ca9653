"""Settings of the flows of the shop on this machine."""

from pathlib import Path
from typing import Final

from eventflow.settings.environment import CONFIG_VARIABLE
from sandbox.ports import LOOPBACK
from sandbox.up.environment import API_KEY

EXAMPLE: Final = Path(__file__).parents[2] / "deploy" / "examples" / "shop"
FLOW: Final = "orders"
NOTIFICATIONS_PER_S: Final = 20
"""As in its eventflow.toml."""

DATABASE_VARIABLE: Final = "EVENTFLOW_FLOWS__ORDERS__HANDLER__DATABASE_URL"


def flows_of_shop(*, database_url: str, target_port: int) -> dict[str, str]:
    """Return the variables that complete eventflow.toml of the shop: addresses and secrets of this machine."""
    return {
        CONFIG_VARIABLE: str(EXAMPLE / "eventflow.toml"),
        "EVENTFLOW_FLOWS__ORDERS__SOURCE__API_KEYS": API_KEY,
        DATABASE_VARIABLE: database_url,
        "EVENTFLOW_RELAY__DATABASE_URL": database_url,
        "EVENTFLOW_FLOWS__NOTIFY__TARGET__URL": f"http://{LOOPBACK}:{target_port}/notify",
    }
