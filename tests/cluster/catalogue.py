"""All scenarios, in the order of the table, and the brokers that they begin with."""

from tests.availability.scenario import Scenario
from tests.cluster.faults import backup, brokers, migration, network, renewal, rolling
from tests.cluster.stack import ComposeCluster

RABBITMQ = "rabbitmq:4.3-management"

SCENARIOS: dict[str, tuple[Scenario[ComposeCluster], ...]] = {
    RABBITMQ: (
        *rolling.SCENARIOS,
        *brokers.SCENARIOS,
        *network.SCENARIOS,
        *renewal.SCENARIOS,
        *backup.SCENARIOS,
    ),
    migration.OLD_RABBITMQ: migration.SCENARIOS,
}
"""Scenarios by the image of the brokers. Those with the same brokers run one after the other on the same cluster."""
