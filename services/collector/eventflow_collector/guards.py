"""Check, before the start, that the combination of the collector's settings is safe."""

from eventflow.errors import SettingsError
from eventflow.settings.root import Settings, variable_name


def require_safe_exposure(settings: Settings) -> None:
    """Check that every flow authenticates its senders, or is explicitly open to everyone.

    A loopback address is no protection: a proxy on this machine may pass on requests from outside.

    Raises:
        SettingsError: A flow would accept events without authentication, and no setting allows that.
    """
    for name, flow in settings.open_flows.items():
        if flow.source.lacks_authentication:
            raise SettingsError(
                f"{variable_name(name, 'source', 'api_keys')} is not set: flow {name!r} would accept events from "
                f"everyone who reaches {settings.collector.host}; set it or {variable_name(name, 'source', 'verify')}, "
                f"or {variable_name(name, 'source', 'allow_unauthenticated')}=true"
            )
