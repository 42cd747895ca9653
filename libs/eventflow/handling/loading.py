"""Loads the objects of a user's code that settings name, such as `shop.handlers:handle`."""

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from eventflow.errors import HandlerError

SIGNATURE = "`def NAME(event, context)` is expected, `async` or not"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A handler.

    Attributes:
        call: Takes an event and a `Context`; returns a `DerivedEvent`, a list of them, or None.
        is_async: Whether it runs on the event loop, and not on a thread.
        file: The file that defines it; empty if there is none.
    """

    call: Callable[..., Any]
    is_async: bool
    file: str


def load_function(reference: str) -> Function:
    """Import a handler. The working directory is searched first, and then the installed packages.

    Raises:
        HandlerError: There is no such function, or it cannot be a handler.
    """
    call = load_object(reference)
    if not callable(call):
        raise HandlerError(f"{reference} is no function, but {_kind_of(call)}: {SIGNATURE}")
    if inspect.isclass(call):
        raise HandlerError(f"{reference} is a class: {SIGNATURE}")
    body = call if inspect.isroutine(call) else getattr(call, "__call__", call)  # noqa: B004 - of an object or a partial
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise HandlerError(f"{reference} has a `yield`: return the events instead, as a list")
    _require_two_arguments(call, reference)
    is_async = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(body)
    code = getattr(inspect.unwrap(body), "__code__", None)
    return Function(call=call, is_async=is_async, file="" if code is None else code.co_filename)


def load_object(reference: str) -> Any:
    """Import the object that `module:name` names.

    Raises:
        HandlerError: There is none; the message names the missing part.
    """
    module_name, _, name = reference.partition(":")
    directory = str(Path.cwd())
    if directory not in sys.path:  # the program of a console script lacks it, unlike `python -m`
        sys.path.insert(0, directory)
    module = _imported(module_name, directory)
    try:
        return reduce(getattr, name.split("."), module)
    except AttributeError:
        raise HandlerError(f"{module_name} has no {name}; it is the module in {module.__file__}") from None


def _imported(name: str, directory: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise HandlerError(
                f"there is no module {error.name}, neither in the working directory {directory} nor installed"
            ) from None
        raise HandlerError(f"{name} imports {error.name}, which is not installed") from error
    except (Exception, SystemExit) as error:  # code of the user, which can raise anything
        raise HandlerError(f"the import of {name} has raised {type(error).__name__}: {error}") from error


def _require_two_arguments(call: Callable[..., Any], reference: str) -> None:
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # a function in C may have none
        return
    try:
        signature.bind(None, None)
    except TypeError:
        raise HandlerError(f"{reference}{signature} does not take two arguments: {SIGNATURE}") from None


def _kind_of(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"
