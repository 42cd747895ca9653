"""A processor that acks a delivery when its function has returned, before the COMMIT."""

from collections.abc import Callable
from typing import Any

from eventflow_processor.__main__ import main
from eventflow_processor.target.function import opening
from eventflow_processor.target.function.asynchronous import AsyncAttempt
from eventflow_processor.target.function.results import SUCCEEDED
from eventflow_processor.target.result import Result


class Early:
    """A transaction that reports its COMMIT before it."""

    def __init__(self, transaction: Any, on_commit: Callable[[], None]) -> None:
        self._transaction = transaction
        self._on_commit = on_commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    async def commit(self) -> None:
        self._on_commit()
        await self._transaction.commit()


class Mutant(AsyncAttempt):
    """Attempt that succeeds too early."""

    async def _work_in(self, transaction: Any) -> Result:
        return await super()._work_in(Early(transaction, lambda: self._end(SUCCEEDED)))


if __name__ == "__main__":
    opening.AsyncAttempt = Mutant  # type: ignore[attr-defined]
    main()
