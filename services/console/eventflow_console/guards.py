"""Check, before the start, that the console's settings admit only the people whom the operator means."""

from ipaddress import ip_address

from eventflow.errors import SettingsError
from eventflow.settings.root import Settings

LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})


def require_safe_access(settings: Settings) -> None:
    """Check that the way of authentication fits the address, and has all that it needs.

    Raises:
        SettingsError: Without authentication the console would be reachable from other machines, or there are no
            users or no trusted proxies.
    """
    console = settings.console
    match console.auth:
        case "none" if not is_loopback(console.host):
            raise SettingsError(
                f"EVENTFLOW_CONSOLE__AUTH = none is accepted on loopback only, and EVENTFLOW_CONSOLE__HOST is "
                f"{console.host}: set the first to basic or proxy, or the second to 127.0.0.1"
            )
        case "basic" if console.users_file is None:
            raise SettingsError(
                "EVENTFLOW_CONSOLE__USERS_FILE is not set: with basic authentication the absolute path of a file is "
                "expected, which `eventflow console add-user` writes"
            )
        case "proxy" if not console.trusted_proxies:
            raise SettingsError(
                "EVENTFLOW_CONSOLE__TRUSTED_PROXIES is not set: the addresses of the proxies are expected, because "
                f"any other program could set the header {console.user_header} too"
            )
        case _:
            pass


def is_loopback(host: str) -> bool:
    """Whether a listener on a host is reachable from this machine only."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") in LOOPBACK_NAMES
