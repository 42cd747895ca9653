"""Check, before the start, that the combination of the processor's settings is complete."""

from eventflow.errors import SettingsError
from eventflow.settings.root import Settings, variable_name


def require_target_urls(settings: Settings) -> None:
    """Check that every flow of this processor has a target.

    Raises:
        SettingsError: A flow has none.
    """
    for name, flow in settings.served_flows.items():
        if flow.target.url is None:
            raise SettingsError(
                f"{variable_name(name, 'target', 'url')} is not set: http://host/path of the target is expected"
            )
