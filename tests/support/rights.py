"""Users, rights and virtual hosts of a node, set as in the management UI: `rabbitmqctl` takes a second for each."""

import asyncio
from typing import Any
from urllib.parse import quote

from sandbox.broker import probes
from sandbox.broker.node import PrivateNode
from tests.support.wait import eventually

PASSWORD = "secret"
Rights = tuple[str, str, str]


async def add_user(node: PrivateNode, user: str, *, password: str = PASSWORD) -> str:
    """Make a user without rights, or change its password; return its URL."""
    await _put(node, f"users/{user}", {"password": password, "tags": ""})
    return node.url.replace("guest:guest", f"{user}:{password}")


async def set_rights(node: PrivateNode, user: str, rights: Rights, *, vhost: str = "/") -> None:
    """Set the patterns of what a user may configure, write and read."""
    patterns = dict(zip(("configure", "write", "read"), rights, strict=True))
    await _put(node, f"permissions/{_name(vhost)}/{user}", patterns)


async def add_vhost(node: PrivateNode, vhost: str) -> None:
    """Make a virtual host."""
    await _put(node, f"vhosts/{_name(vhost)}", {})


async def forbid_connections(node: PrivateNode, *, user: str | None = None, vhost: str | None = None) -> None:
    """Let a user, or all users of a virtual host, open no connection."""
    owner = f"user-limits/{user}" if vhost is None else f"vhost-limits/{_name(vhost)}"
    await _put(node, f"{owner}/max-connections", {"value": 0})


async def queues_of(node: PrivateNode, vhost: str) -> set[str]:
    """Return the names of the queues of a virtual host."""
    found: list[Any] = []

    async def is_answered() -> bool:
        answer = await asyncio.to_thread(node.management_get, "queues?columns=name,vhost")
        found.extend(answer or [])
        return answer is not None

    await eventually(is_answered, what="the names of the queues")
    return {queue["name"] for queue in found if queue["vhost"] == vhost}


def _name(vhost: str) -> str:
    return quote(vhost, safe="")


async def _put(node: PrivateNode, path: str, content: Any) -> None:
    is_done = await asyncio.to_thread(
        probes.management_put, node.management_url, path, content, login=node.login, password=node.password
    )
    assert is_done, path
