"""`eventflow console`: the people who may use the console, and their passwords."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from eventflow.cli.assembly import command, new_group
from eventflow.cli.console import out, print_json
from eventflow.cli.options import ConfigOption, JsonOption, settings_of, usage_of
from eventflow.errors import EventFlowError, SettingsError
from eventflow.users import (
    PASSWORD_MAX_CHARACTERS,
    PasswordHash,
    check_name,
    check_password,
    put_user,
    read_users,
    remove_user,
)

SETTING = "EVENTFLOW_CONSOLE__USERS_FILE"

app = new_group("Add, list and remove the people who may use the console.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the user.")]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help=f"File with the users; by default the one in {SETTING}."),
]


@command(app, "add-user")
def add(
    context: typer.Context,
    name: NameArgument,
    file: FileOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Add a user, or give a user a new password.

    The command asks for the password. Without a terminal it reads the first line of its input. The file holds a hash,
    from which the password cannot be read. A running console reads the file again within a second.
    """
    path = _file(context, file, config)
    with usage_of("NAME"):
        check_name(name)
    with usage_of("the password"):
        password = check_password(_password())
    with _named(path):
        is_new = put_user(path, name, PasswordHash.of(password))
    if as_json:
        print_json({"user": name, "new": is_new, "file": str(path)})
    else:
        out.print(f"{name} {'was added to' if is_new else 'has a new password in'} {path}", soft_wrap=True)


@command(app, "list-users")
def show(
    context: typer.Context, file: FileOption = None, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List the users."""
    path = _file(context, file, config)
    with _named(path):
        names = list(read_users(path))
    if as_json:
        print_json({"users": names, "file": str(path)})
        return
    for name in names:
        out.print(name, soft_wrap=True)


@command(app, "remove-user")
def remove(
    context: typer.Context,
    name: NameArgument,
    file: FileOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Remove a user. A running console refuses the password within a second."""
    path = _file(context, file, config)
    with _named(path):
        was_there = remove_user(path, name)
    if not was_there:
        raise EventFlowError(f"{path} has no user {name!r}")
    if as_json:
        print_json({"user": name, "file": str(path)})
    else:
        out.print(f"{name} was removed from {path}", soft_wrap=True)


def _file(context: typer.Context, file: Path | None, config: Path | None) -> Path:
    """Return the file with the users.

    Raises:
        SettingsError: None is named.
    """
    found = file or settings_of(context, config).console.users_file
    if found is None:
        raise SettingsError(f"{SETTING} is not set: set it, or name the file by --file")
    return found


def _password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return password
    return sys.stdin.readline(PASSWORD_MAX_CHARACTERS + 2).rstrip("\r\n")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in the errors of the system."""
    try:
        yield
    except OSError as error:
        raise EventFlowError(f"{path}: {error.strerror}") from error
