"""Failures of our own code: an error is raised from the n-th call that is made inside a watched function.

Lists by hand of what might raise miss what nobody thought of. `sys.setprofile` sees every call of a Python function, so
running a test once for each number raises from each of them in turn.
"""

import asyncio
import inspect
import sys
from collections.abc import Callable, Collection
from types import CodeType, FrameType, TracebackType
from typing import Any, NoReturn, Self

SOUND = ("asyncio", "contextlib")
"""Calls of these are left alone, as finalizers are: a lock that fails to be released is no failure of ours."""


class InjectedError(Exception):
    """Raised from a call by an `Injector`: nothing in the project expects it."""


class Injector:
    """Raises from call number `at` made by or to a module of `packages` while one of the `inside` functions runs.

    Calls count from 1, and only while the context is open, on the thread that opened it. A coroutine counts when it is
    called, not when it is resumed: an error there would pass by its own `finally`. After an error nothing is raised any
    more, so that whatever handles it is left alone.

    With `turn`, a function of which one call runs after the other, the count begins anew at each of its calls, and from
    the first turn the first call fails, from the second the second, and so on.

    Attributes:
        calls: Calls seen so far, in this turn.
        failed: The functions that were made to fail, as `module.name`.
        is_complete: A turn had fewer calls than its number, so each call of a turn has failed once.
    """

    def __init__(
        self,
        *,
        inside: Collection[Callable[..., Any]],
        packages: Collection[str],
        at: int = 0,
        turn: Callable[..., Any] | None = None,
    ) -> None:
        self._inside = {_code_of(function) for function in inside}
        self._packages = tuple(packages)
        self._at = at
        self._turn = None if turn is None else _code_of(turn)
        self._is_armed = True
        self.calls = 0
        self.failed: list[str] = []
        self.is_complete = False

    @property
    def raised_from(self) -> str | None:
        """The function that was made to fail last; None if there were fewer calls than `at`."""
        return self.failed[-1] if self.failed else None

    def __enter__(self) -> Self:
        sys.setprofile(self._see)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_armed, self._turn = False, None
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        if frame.f_code is self._turn and not _is_resumed(frame):
            self.is_complete |= self._at > 0 and self.calls < self._at and self._is_armed
            self._at, self.calls, self._is_armed = self._at + 1, 0, True
        if self._is_armed and self._counts(frame):
            self.calls += 1
            if self.calls == self._at:
                self._raise_from(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")

    def _raise_from(self, name: str) -> NoReturn:
        self._is_armed = False
        self.failed.append(name)
        if self._turn is not None:  # Python forgets a profile function that raises
            asyncio.get_running_loop().call_soon(self._go_on)
        raise InjectedError(f"raised from {name}")

    def _go_on(self) -> None:
        if self._turn is not None:
            sys.setprofile(self._see)

    def _counts(self, frame: FrameType) -> bool:
        caller = frame.f_back
        if caller is None or not (self._is_ours(frame) or self._is_ours(caller)):
            return False
        if _package_of(frame) in SOUND or frame.f_code.co_name == "__del__" or _is_resumed(frame):
            return False
        while caller is not None:
            if caller.f_code in self._inside:
                return True
            caller = caller.f_back
        return False

    def _is_ours(self, frame: FrameType) -> bool:
        return _package_of(frame) in self._packages


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _code_of(function: Callable[..., Any]) -> CodeType:
    return inspect.unwrap(function).__code__


def _is_resumed(frame: FrameType) -> bool:
    """Whether a generator or coroutine goes on after a line of its body has run."""
    suspends = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    return bool(frame.f_code.co_flags & suspends) and frame.f_lineno != frame.f_code.co_firstlineno
