"""Policies on a node of ours, as its operators set them."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from eventflow.topology import SHIELDS
from sandbox.broker.node import PrivateNode


class Policies:
    """Sets policies through the management API, and takes all of them away again."""

    def __init__(self, node: PrivateNode, http: aiohttp.ClientSession) -> None:
        self._api = f"{node.management_url}api"
        self._http = http
        credentials = base64.b64encode(f"{node.login}:{node.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}
        self._set: set[str] = set()

    async def set(
        self,
        definition: Mapping[str, Any],
        *,
        name: str = "theirs",
        pattern: str = ".*",
        priority: int = 0,
        operator: bool = False,
    ) -> None:
        """Set a policy that is not ours, or an operator policy."""
        body = {"pattern": pattern, "definition": definition, "priority": priority, "apply-to": "queues"}
        await self._put(f"{'operator-policies' if operator else 'policies'}/%2F/{name}", body)

    async def shield(self) -> None:
        """Set our own."""
        for spec in SHIELDS:
            await self._put(f"policies/%2F/{spec.name}", spec.body)

    async def add_user(self, name: str, password: str, *, tags: str) -> None:
        """Make a user with every right in the virtual host `/`; policies take more."""
        await self._put(f"users/{name}", {"password": password, "tags": tags})
        await self._put(f"permissions/%2F/{name}", {"configure": ".*", "write": ".*", "read": ".*"})

    async def clear(self) -> None:
        """Take away what was set here."""
        for path in sorted(self._set):
            async with self._http.delete(f"{self._api}/{path}", headers=self._headers) as answer:
                assert answer.status in {204, 404}
        self._set.clear()

    async def clear_ours(self) -> None:
        """Take away our own too, in case a command has set them."""
        self._set |= {f"policies/%2F/{spec.name}" for spec in SHIELDS}
        await self.clear()

    async def _put(self, path: str, body: Mapping[str, Any]) -> None:
        self._set.add(path)
        async with self._http.put(f"{self._api}/{path}", json=body, headers=self._headers) as answer:
            assert answer.status in {201, 204}, await answer.text()


@asynccontextmanager
async def policies_on(node: PrivateNode, http: aiohttp.ClientSession) -> AsyncIterator[Policies]:
    """Yield the policies of a node; when the context ends, none is left."""
    policies = Policies(node, http)
    try:
        yield policies
    finally:
        await policies.clear_ours()
