"""Check the settings of this command as each service would at its start."""

from collections.abc import Mapping
from pathlib import Path

from eventflow.cli.check.finding import Finding, Verdict
from eventflow.errors import SettingsError
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings, variable_name


def check_settings(settings: Settings, config: Path | None, environ: Mapping[str, str]) -> list[Finding]:
    """Load the settings for each service, and report the errors as warnings.

    An operator does not have every secret of the services, so a value that is missing here may be set there.
    """
    advice = ""
    warnings = []
    for role in (Role.COLLECTOR, Role.PROCESSOR):
        try:
            of_role = load(config, role, environ)
        except SettingsError as error:
            warnings.append(
                Finding(
                    subject=f"settings of the {role}",
                    verdict=Verdict.WARNING,
                    found=str(error),
                    advice=f"correct them, unless the {role} has other settings",
                )
            )
        else:
            advice = advice or (_missing_keys(of_role) if role is Role.COLLECTOR else "")
    found = f"flows: {', '.join(settings.all_flows)}"
    return [Finding(subject="settings", verdict=Verdict.OK, found=found, advice=advice), *warnings]


def as_processor(settings: Settings, config: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings with the secrets of a processor, such as a proxy; without them if they are not all here."""
    try:
        return load(config, Role.PROCESSOR, environ)
    except SettingsError:  # `check_settings` reports it
        return settings


def _missing_keys(collector: Settings) -> str:
    for name, flow in collector.open_flows.items():
        if flow.source.lacks_authentication:
            keys, verify, allow = (
                variable_name(name, "source", field) for field in ("api_keys", "verify", "allow_unauthenticated")
            )
            return f"for the collector, set {keys} or {verify}, or {allow}=true: flow {name} has none of them here"
    return ""
