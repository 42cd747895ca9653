"""Errors of connections to a database with inbox and outbox."""

import pytest

from eventflow.database.connections import connections_to
from eventflow.database.upkeep import LOOKING
from eventflow.errors import DatabaseUnavailableError


@pytest.mark.parametrize("url", ["postgresql://u:word@db:54x/shop", "postgresql://u:word@db:5432/shop?sslmode=maybe"])
async def test_a_url_that_the_driver_does_not_understand_is_named_as_the_cause(url: str) -> None:
    connections = connections_to(url, application="test")
    with pytest.raises(DatabaseUnavailableError, match=r"^the database db:54.*: check its port and options$") as caught:
        async with connections.transaction(LOOKING):
            pass
    assert "word" not in str(caught.value)
