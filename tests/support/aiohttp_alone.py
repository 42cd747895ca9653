"""The collector with aiohttp's server alone, which serves all requests instead of only those that are not plain."""

from eventflow_collector import __main__ as collector
from eventflow_collector.server import worker
from eventflow_collector.server.connection import Shared
from eventflow_collector.server.protocol import ProblemProtocol


def aiohttp_alone(shared: Shared) -> ProblemProtocol:
    """Take the place of `Connection`: the way back of ADR 29."""
    return shared.to_aiohttp()


if __name__ == "__main__":
    worker.Connection = aiohttp_alone  # type: ignore[assignment,misc]
    collector.main()
