"""Failures of our own code: an error is raised from the n-th call that is made inside a watched function.

Lists by hand of what might raise miss what nobody thought of. `sys.setprofile` sees every call of a Python function, so
running a test once for each number raises from each of them in turn.
"""

import inspect
import sys
from collections.abc import Callable, Collection
from types import CodeType, FrameType, TracebackType
from typing import Any, Self


class InjectedError(Exception):
    """Raised from a call by an `Injector`: nothing in the project expects it."""


class Injector:
    """Raises from call number `at` made by or to a module of `packages` while one of the `inside` functions runs.

    Calls count from 1, and only while the context is open, on the thread that opened it. A coroutine counts when it is
    called, not when it is resumed: an error there would pass by its own `finally`. After the first error nothing is
    raised any more, so that whatever handles the error is left alone.

    Attributes:
        calls: Calls seen so far.
        raised_from: The function that was made to fail, as `module.name`; None if there were fewer calls than `at`.
    """

    def __init__(self, *, inside: Collection[Callable[..., Any]], packages: Collection[str], at: int) -> None:
        self._inside = {_code_of(function) for function in inside}
        self._packages = tuple(packages)
        self._at = at
        self.calls = 0
        self.raised_from: str | None = None

    def __enter__(self) -> Self:
        sys.setprofile(self._see)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or self.raised_from is not None or not self._counts(frame):
            return
        self.calls += 1
        if self.calls == self._at:
            self.raised_from = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
            raise InjectedError(f"raised from {self.raised_from}")

    def _counts(self, frame: FrameType) -> bool:
        caller = frame.f_back
        if caller is None or not (self._is_ours(frame) or self._is_ours(caller)) or _is_resumed(frame):
            return False
        while caller is not None:
            if caller.f_code in self._inside:
                return True
            caller = caller.f_back
        return False

    def _is_ours(self, frame: FrameType) -> bool:
        return str(frame.f_globals.get("__name__")).partition(".")[0] in self._packages


def _code_of(function: Callable[..., Any]) -> CodeType:
    return inspect.unwrap(function).__code__


def _is_resumed(frame: FrameType) -> bool:
    """Whether a generator or coroutine goes on after a line of its body has run."""
    suspends = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    return bool(frame.f_code.co_flags & suspends) and frame.f_lineno != frame.f_code.co_firstlineno
