"""Assembles commands into groups, so that each list of commands shows their whole summaries."""

import inspect
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from eventflow.service.program import PLAIN

P = ParamSpec("P")
R = TypeVar("R")

_FIRST_SENTENCE = re.compile(r".*?\.(?=\s|$)", re.DOTALL)


def new_group(help_text: str, *, name: str | None = None, add_completion: bool = False) -> typer.Typer:
    """Return a group without commands, which shows its help if it is called without any."""
    return typer.Typer(name=name, help=help_text, no_args_is_help=True, add_completion=add_completion, **PLAIN)


def command(group: typer.Typer, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function that becomes a command of a group, by default with its own name."""

    def add(function: Callable[P, R]) -> Callable[P, R]:
        return group.command(name, short_help=summary_of(inspect.getdoc(function) or ""))(function)

    return add


def add_group(group: typer.Typer, inner: typer.Typer, name: str) -> None:
    """Add a group to another one."""
    group.add_typer(inner, name=name, short_help=summary_of(str(inner.info.help)))


def summary_of(help_text: str) -> str:
    """Return the first sentence of a help text. Given as a `short_help`, it is wrapped and never cut."""
    first = _FIRST_SENTENCE.match(help_text)
    return " ".join((first[0] if first else help_text).split())
