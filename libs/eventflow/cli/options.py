"""Options that several commands share, and the values that they select."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from eventflow.cli.console import err
from eventflow.cli.run_file import RunFile, all_runs, is_here
from eventflow.errors import InvalidInputError, SettingsError
from eventflow.network.broker_tls import require_sound_urls
from eventflow.operations.moments import moment_of
from eventflow.settings.environment import SERVICE_LINK_ADVICE, capitalized, config_file, unlike_injected
from eventflow.settings.load import BROKER_PREFIX, load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.topology import DEFAULT_FLOW

ENVIRON = "eventflow.environ"
"""Key in the context of the command."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with settings; by default eventflow.toml if it exists. Environment variables override it.",
    ),
]


def _flows_like(context: typer.Context, incomplete: str) -> list[str]:
    """Return the flows whose names begin with a text, for the completion of a shell."""
    config = context.params.get("config") or context.find_root().params.get("config")
    try:
        settings = settings_of(context, config)
    except SettingsError:
        return []
    return [name for name in settings.all_flows if name.startswith(incomplete)]


FlowOption = Annotated[
    str | None,
    typer.Option("--flow", metavar="NAME", help="One flow only; by default all.", autocompletion=_flows_like),
]
OneFlowOption = Annotated[
    str | None,
    typer.Option(
        "--flow",
        metavar="NAME",
        help="The flow; without it the only one, or `default` if there are several.",
        autocompletion=_flows_like,
    ),
]
FlowArgument = Annotated[
    str | None, typer.Argument(metavar="FLOW", help="The same as --flow.", autocompletion=_flows_like)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the effect without changing anything.")]


def settings_of(context: typer.Context, config: Path | None) -> Settings:
    """Load the settings, from the file in `--config` if it is given.

    Raises:
        SettingsError: A setting is wrong.
    """
    settings = load(config_of(context, config), Role.OPERATOR, environ_of(context, config))
    require_sound_urls(settings.broker.urls)
    return settings


def environ_of(context: typer.Context, config: Path | None) -> Mapping[str, str]:
    """Return the environment, above the settings of the run of `make run-local` that the command belongs to.

    A command belongs to a run if neither a TOML file nor a variable names another broker.

    Raises:
        SettingsError: The name of a variable is written in two ways, or there is no such TOML file.
        typer.BadParameter: There are several runs, and no terminal on which to ask.
    """
    known = context.find_root().meta
    if ENVIRON not in known:
        environ = capitalized(os.environ)
        if not context.resilient_parsing:
            _warn_of_ignored(environ)
        runs = _runs_for(environ, config_file(config_of(context, config), environ))
        run = _chosen(runs, is_completion=context.resilient_parsing)
        known[ENVIRON] = environ if run is None else run.below(environ)
    environ_here: Mapping[str, str] = known[ENVIRON]
    return environ_here


def _warn_of_ignored(environ: Mapping[str, str]) -> None:
    for name in unlike_injected(environ):
        err.print(f"{name} is ignored: {SERVICE_LINK_ADVICE}.", soft_wrap=True)


def _runs_for(environ: Mapping[str, str], config: Path | None) -> list[RunFile]:
    named = {name: value for name, value in environ.items() if name.startswith(BROKER_PREFIX) and value}
    return [run for run in all_runs() if run.agrees_with(named, config)]


def _chosen(runs: Sequence[RunFile], *, is_completion: bool) -> RunFile | None:
    """Return the run of a command. A shell that completes a command line must see no text and no question."""
    if not runs or is_completion:
        return next(iter(runs), None)
    run = runs[0] if len(runs) == 1 or is_here(runs[0]) else _asked_for(runs)
    err.print(f"With the settings of `make run-local` in {run.directory}.", style="dim", soft_wrap=True)
    return run


def _asked_for(runs: Sequence[RunFile]) -> RunFile:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        directories = ", ".join(run.directory for run in runs)
        raise typer.BadParameter(f"make run-local runs in {directories}: start the command in one of these")
    for number, run in enumerate(runs, 1):
        err.print(f"{number}  {run.directory}  ({run.events_url})", soft_wrap=True)
    chosen: int = typer.prompt("make run-local runs several times. Which one?", type=int, default=1, err=True)
    if not 1 <= chosen <= len(runs):
        raise typer.BadParameter(f"{chosen} is not from 1 to {len(runs)}")
    return runs[chosen - 1]


def config_of(context: typer.Context, config: Path | None) -> Path | None:
    """Return the file in `--config`, which may stand before or after the command; None if it is not given."""
    named: Path | None = config or context.find_root().obj
    return named


def named_flow(argument: str | None, option: str | None) -> str | None:
    """Return the flow that a command names by its argument or by `--flow`; None if it names none.

    Raises:
        typer.BadParameter: They name two flows.
    """
    if argument is not None and option is not None and argument != option:
        raise typer.BadParameter(f"the argument names another flow: {argument!r}", param_hint="--flow")
    return argument if option is None else option


@contextmanager
def usage_of(param: str) -> Iterator[None]:
    """Report an input that cannot be used as a wrong usage of an option or argument.

    Raises:
        typer.BadParameter: The input cannot be used.
    """
    try:
        yield
    except InvalidInputError as error:
        raise typer.BadParameter(str(error), param_hint=param) from None


def require_terminal(*, or_give: str = "this option") -> None:
    """Check that a question can be asked.

    Args:
        or_give: The options that take its place.

    Raises:
        typer.BadParameter: There is no terminal.
    """
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"there is no terminal for the confirmation; give {or_give}", param_hint="--yes")


def moment_option(text: str | None, option: str) -> datetime | None:
    """Return the time in an option; None if it is not given.

    Raises:
        typer.BadParameter: It is not a time.
    """
    with usage_of(option):
        return None if text is None else moment_of(text)


def flows_of(settings: Settings, name: str | None) -> tuple[str, ...]:
    """Return the named flow, or all of them.

    Raises:
        typer.BadParameter: There is no such flow.
    """
    if name is None:
        return tuple(settings.all_flows)
    if name not in settings.all_flows:
        raise typer.BadParameter(f"{name!r} is none of: {', '.join(settings.all_flows)}", param_hint="--flow")
    return (name,)


def one_flow_of(settings: Settings, name: str | None) -> str:
    """Return the named flow; without a name the only one, or `default` if there are several.

    Raises:
        typer.BadParameter: There is no such flow, or there are several and none is `default`.
    """
    flows = flows_of(settings, name)
    if len(flows) == 1:
        return flows[0]
    if DEFAULT_FLOW in flows:
        return DEFAULT_FLOW
    raise typer.BadParameter(f"name one of: {', '.join(flows)}", param_hint="--flow")
