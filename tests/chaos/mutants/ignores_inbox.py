"""A processor that calls the function for an event that is in the inbox already."""

from eventflow.handling.inbox import Key
from eventflow.handling.transactions import pool
from eventflow_processor.__main__ import main


class Mutant(pool.PoolTransaction):
    """Transaction that takes each event for a new one."""

    async def claim(self, key: Key) -> bool:
        await super().claim(key)
        return True


if __name__ == "__main__":
    pool.PoolTransaction = Mutant  # type: ignore[misc]
    main()
