"""Connections that were never open."""

import asyncio
import gc
import warnings

from eventflow.amqp.connection import Connection
from eventflow.network.broker_url import parse_broker_url
from eventflow.network.route import Route


async def test_a_connection_that_another_thread_collects_causes_no_warning() -> None:
    connections = [Connection(parse_broker_url("amqp://a.test/"), Route("a.test", 5672), None, name="test")]

    def collect() -> None:
        connections.clear()
        gc.collect()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await asyncio.to_thread(collect)
    assert [str(warning.message) for warning in caught] == []
