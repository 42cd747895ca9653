"""`eventflow init`: writes a commented file of settings, and never over another file."""

import os
from pathlib import Path
from typing import Annotated

import typer

from eventflow.cli.console import out, print_json
from eventflow.cli.init.entries import tables_for
from eventflow.cli.init.formats import as_toml, as_variables
from eventflow.cli.options import JsonOption
from eventflow.errors import EventFlowError
from eventflow.senders.table import SENDERS
from eventflow.settings.environment import DEFAULT_CONFIG

ENVIRONMENT_FILE = Path(".env")
BLANKS = "Replace each text in <brackets>."


def _senders_like(incomplete: str) -> list[str]:
    return [name for name in SENDERS if name.startswith(incomplete)]


def init(
    provider: Annotated[
        str | None,
        typer.Argument(
            metavar="PROVIDER",
            help="The sender of the webhooks, one that `eventflow sources` lists. Without it, senders use an API key.",
            autocompletion=_senders_like,
        ),
    ] = None,
    as_env: Annotated[
        bool,
        typer.Option("--env", help="Write variables to .env, for Compose, containers and systemd, in place of TOML."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write to this file.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a first file of settings, with a comment for each.

    Without options the file is eventflow.toml in this directory, in which the services and this command look for it. A
    file that exists is never changed.
    """
    if provider is not None and provider not in SENDERS:
        raise typer.BadParameter(f"{provider!r} is none of: {', '.join(SENDERS)}", param_hint="PROVIDER")
    sender = None if provider is None else SENDERS[provider]
    tables = tables_for(sender, Path.cwd())
    title = "senders with an API key" if sender is None else f"requests of {sender.title}"
    path = output or (ENVIRONMENT_FILE if as_env else DEFAULT_CONFIG)
    _write_new(path, as_variables(title, tables) if as_env else as_toml(title, tables))
    config = "" if path == DEFAULT_CONFIG else f" --config {path}"
    steps = (
        [f"Give the variables to the services, such as with `docker run --env-file {path}`."]
        if as_env
        else [f"eventflow check{config}", f"eventflow-collector{config}", f"eventflow-processor{config}"]
    )
    steps = [BLANKS, *steps]
    if as_json:
        print_json({"file": str(path), "steps": steps})
        return
    out.print(f"Wrote {path}. Only you can read it.", soft_wrap=True)
    for number, step in enumerate(steps, 1):
        out.print(f"{number}. {step}", soft_wrap=True)


def _write_new(path: Path, text: str) -> None:
    """Write a file that only its owner can read.

    Raises:
        EventFlowError: It exists, or cannot be created.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise EventFlowError(f"{path} exists, and was not changed; name another file with --output") from error
    except OSError as error:
        raise EventFlowError(f"{path} cannot be created: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
