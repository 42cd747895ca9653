from tests.kubernetes.catalogue import CASES
from tests.kubernetes.network import deafness, isolation, muteness
from tests.kubernetes.surroundings import Node, Surroundings
from tests.support.kubernetes import with_values

NODES = tuple(Node(name=f"n{number}", address=f"10.0.0.{number}") for number in (1, 2, 3))
BARE = Surroundings(
    version="1.34",
    nodes=NODES,
    own_address="10.0.0.100",
    image="event-flow:test",
    previous_images=(),
    balancer_image="haproxy:3.0",
    rabbitmq_image="rabbitmq:4-management",
    rabbitmq_user=999,
    rabbitmq_command="",
    prometheus_image="prom/prometheus:latest",
    peak_per_s=2000.0,
    has_metrics=False,
    has_keda=False,
    node_shell="",
)


def test_each_scenario_has_a_name_of_its_own_that_fits_a_cell_of_the_table() -> None:
    names = [case.scenario.name for case in CASES]
    assert len(set(names)) == len(names)
    assert not any("|" in name for name in names)


def test_a_scenario_without_its_means_names_what_it_needs() -> None:
    missing = {case.scenario.name: case.missing(BARE) for case in CASES}
    assert missing["node drained"] == ""
    assert "NODE_SHELL" in missing["node killed"]
    assert "0.1.0" in missing["rolling upgrade from 0.1.0, and back"]


def test_changes_of_values_leave_their_neighbours() -> None:
    values = {"collector": {"spool": {"size": "1Gi"}, "replicas": 2}}
    changed = with_values(values, {"collector": {"spool": {"drainTimeoutSeconds": None}}})
    assert changed == {"collector": {"spool": {"size": "1Gi", "drainTimeoutSeconds": None}, "replicas": 2}}


def test_a_cut_drops_the_traffic_of_nodes_and_of_their_pods() -> None:
    assert ("FORWARD", "-s", "10.1.2.7") in list(deafness(["10.0.0.3", "10.1.2.7"]))
    assert ("OUTPUT", "-d", "10.0.0.3") in list(muteness(["10.0.0.3", "10.1.2.7"]))
    assert ("FORWARD",) in list(isolation())
