"""No authentication, for a console on loopback: each person on this machine is the same operator."""

from aiohttp import web
from typing_extensions import override

from eventflow.operations.operator import operator
from eventflow_console.auth.user import Authenticator


class Anyone(Authenticator):
    """Attributes each request to the person who started the console."""

    def __init__(self) -> None:
        self._name = operator()

    @override
    async def user(self, request: web.Request) -> str:
        return self._name
