"""Check, before the start, that the combination of the processor's settings is complete."""

from eventflow.errors import HandlerError, SettingsError
from eventflow.handling.loading import load_function
from eventflow.network.certificates import UnusableCertificateError
from eventflow.network.client_tls import context_of
from eventflow.settings.root import Settings, variable_name


def require_target_urls(settings: Settings) -> None:
    """Check that every flow of this processor has a target or a handler.

    Raises:
        SettingsError: A flow has none.
    """
    for name, flow in settings.served_flows.items():
        if flow.target.url is None and flow.handler.call is None:
            raise SettingsError(
                f"{variable_name(name, 'target', 'url')} is not set: http://host/path of the target is expected, or a "
                f"function in {variable_name(name, 'handler', 'call')}"
            )


def require_target_credentials(settings: Settings) -> None:
    """Check that this processor can use the certificates and the OAuth client of every flow.

    Raises:
        SettingsError: A file cannot be used, or there is no client secret.
    """
    for name, flow in settings.served_flows.items():
        if flow.target.oauth2_token_url is not None and flow.target.oauth2_client_secret is None:
            raise SettingsError(
                f"{variable_name(name, 'target', 'oauth2_client_secret')} is not set: the client secret is expected, "
                "because oauth2_token_url is set"
            )
        if not flow.target.tls_files.paths:
            continue  # to load the CAs of the system takes 40 ms, and a target without TLS does not need them
        try:
            context_of(flow.target.tls_files)
        except UnusableCertificateError as error:
            setting, _, rest = str(error).partition(" = ")
            raise SettingsError(f"{variable_name(name, 'target', setting)} = {rest}") from error


def require_handlers(settings: Settings) -> None:
    """Check that the function of every flow of this processor can be imported.

    Raises:
        SettingsError: One cannot.
    """
    for name, flow in settings.served_flows.items():
        if flow.handler.call is None:
            continue
        try:
            load_function(flow.handler.call)
        except HandlerError as error:
            raise SettingsError(f"{variable_name(name, 'handler', 'call')} = {flow.handler.call!r}: {error}") from error
