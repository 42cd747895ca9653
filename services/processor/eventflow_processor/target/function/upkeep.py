"""The upkeep of the inbox: its old entries are deleted, by one processor at a time."""

import asyncio
import random
from typing import NoReturn

import structlog

from eventflow.errors import DatabaseError
from eventflow.handling.transactions.port import Database
from eventflow.handling.transactions.statements import CLEAN_ROWS, clean_of

CLEAN_EVERY_S = 600.0
PAUSE_S = 0.05
"""Pause between two statements, so that the calls of the function get their turn."""

log = structlog.stdlib.get_logger()


async def keep_clean(database: Database, *, flow: str, days: int) -> NoReturn:
    """Delete the entries of a flow that are older than some days, regularly and until cancelled."""
    while True:
        await asyncio.sleep(CLEAN_EVERY_S * random.uniform(0.5, 1.0))  # noqa: S311 - so that processors take turns
        try:
            await clean(database, flow=flow, days=days)
        except DatabaseError as error:
            log.warning("inbox.not_cleaned", flow=flow, error=str(error))


async def clean(database: Database, *, flow: str, days: int) -> int:
    """Delete all such entries; return their number.

    Raises:
        DatabaseError: The database cannot be used, or has refused.
    """
    statement, deleted = clean_of(flow, days=days), 0
    while rows := await database.scalar(statement):
        deleted += rows
        if rows < CLEAN_ROWS:
            break
        await asyncio.sleep(PAUSE_S)
    if deleted:
        log.info("inbox.cleaned", flow=flow, rows=deleted)
    return deleted
