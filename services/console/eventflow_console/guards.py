"""Check, before the start, that the console's settings admit only the people for whom it is meant."""

from eventflow.errors import InvalidInputError, SettingsError
from eventflow.settings.root import Settings
from eventflow.users import read_users
from eventflow_console.security.hosts import is_loopback

_USERS_FILE = "EVENTFLOW_CONSOLE__USERS_FILE"


def require_safe_access(settings: Settings) -> None:
    """Check that the way of authentication fits the address, and has all that it needs.

    Raises:
        SettingsError: Without authentication the console would be reachable from other machines; or there are no
            users, or no trusted proxies.
    """
    console = settings.console
    match console.auth:
        case "none" if not is_loopback(console.host):
            raise SettingsError(
                f"EVENTFLOW_CONSOLE__AUTH = none is accepted on loopback only, and EVENTFLOW_CONSOLE__HOST is "
                f"{console.host}: set the first to basic or proxy, or the second to 127.0.0.1"
            )
        case "basic":
            _require_users(settings)
        case "proxy" if not console.trusted_proxies:
            raise SettingsError(
                "EVENTFLOW_CONSOLE__TRUSTED_PROXIES is not set: the addresses of the proxies are expected, because "
                f"every other program could set the header {console.user_header} too"
            )
        case _:
            pass


def _require_users(settings: Settings) -> None:
    path = settings.console.users_file
    if path is None:
        raise SettingsError(
            f"{_USERS_FILE} is not set: with basic authentication the absolute path of a file is expected, which "
            "`eventflow console add-user` writes"
        )
    try:
        users = read_users(path)
    except (OSError, InvalidInputError) as error:
        raise SettingsError(f"{_USERS_FILE} = {path}: {error}; `eventflow console add-user` writes it") from error
    if not users:
        raise SettingsError(f"{_USERS_FILE} = {path}: it has no users; `eventflow console add-user NAME` adds one")
