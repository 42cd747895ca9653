"""The way of authentication that the settings select."""

from typing import assert_never

from eventflow.settings.console import ConsoleSettings
from eventflow_console.auth.anyone import Anyone
from eventflow_console.auth.basic import Basic
from eventflow_console.auth.proxy import Proxy
from eventflow_console.auth.user import Authenticator
from eventflow_console.auth.users import Users
from eventflow_console.metrics import ConsoleMetrics


def authenticator_of(console: ConsoleSettings, metrics: ConsoleMetrics) -> Authenticator:
    """Return the way in the settings.

    Raises:
        OSError: The file of the users cannot be read.
        InvalidInputError: It has a wrong line.
    """
    match console.auth:
        case "none":
            return Anyone()
        case "basic":
            assert console.users_file is not None  # noqa: S101 - for the type checker: a guard of the start checks it
            return Basic(Users(console.users_file), trusted=console.trusted_proxies, metrics=metrics)
        case "proxy":
            return Proxy(header=console.user_header, trusted=console.trusted_proxies, metrics=metrics)
        case _:
            assert_never(console.auth)
