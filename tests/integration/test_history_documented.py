"""The SQL in docs/history.md, on real stores: analysts may rely on it."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from eventflow.event import utc_now
from eventflow.history.opening import open_history
from eventflow.history.records import AttemptRecord, Batch, MinuteCount, MinuteKey
from tests.support.databases import fetch
from tests.support.documents import ROOT
from tests.support.history import attempt

DOCUMENT = (ROOT / "docs" / "history.md").read_text()
BLOCKS = re.findall(r"^```sql\n(.*?)^```$", DOCUMENT, flags=re.DOTALL | re.MULTILINE)
OF_POSTGRES = [block for block in BLOCKS if block.startswith("SELECT") and "eventflow." in block]
OF_SQLITE = [block for block in BLOCKS if block.startswith("SELECT") and "eventflow." not in block]
_ROWS = re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCUMENT.partition("## SQL for analysts")[2], flags=re.MULTILINE)
STABLE = {table: re.findall(r"`(\w+)`", columns) for table, columns in _ROWS}


async def filled(url: str) -> None:
    """Put a failure and a success of this moment into a store."""
    now = utc_now()
    failed = attempt(started_at=now, outcome="dead", reason="client_error", status=422, answer=b"{}")
    failed = failed._replace(answer_type="application/json", answer_bytes=2)
    minute = MinuteKey(int(now.timestamp()) // 60, "default", "dead", "client_error", 422, 3)
    counts = [MinuteCount(key=minute, attempts=2, duration_us=30_000)]
    store = open_history(url)
    try:
        await store.migrate()
        attempts = [failed, attempt(started_at=now)]
        await store.append(Batch(writer="test", number=1, attempts=attempts, minutes=counts))
    finally:
        await store.close()


@pytest.mark.parametrize("query", OF_POSTGRES, ids=range(len(OF_POSTGRES)))
async def test_an_example_finds_rows_in_postgresql(query: str, database: str) -> None:
    await filled(database)
    assert len(await fetch(database, query)) == 1


@pytest.mark.parametrize("query", OF_SQLITE, ids=range(len(OF_SQLITE)))
async def test_an_example_finds_rows_in_sqlite(query: str, tmp_path: Path) -> None:
    await filled(f"sqlite:///{tmp_path / 'history.db'}")
    with closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        assert len(connection.execute(query).fetchall()) == 1


def test_all_columns_of_an_attempt_are_stable() -> None:
    assert STABLE["attempts"] == list(AttemptRecord._fields)


@pytest.mark.parametrize(("table", "columns"), STABLE.items(), ids=STABLE)
async def test_each_stable_column_exists_in_both_stores(
    table: str, columns: list[str], database: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'history.db'}"
    await filled(url)
    await filled(database)
    names = ", ".join(columns)
    await fetch(database, f"SELECT {names} FROM eventflow.{table}")
    with closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        connection.execute(f"SELECT {names} FROM {table}")
