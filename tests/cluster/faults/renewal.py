"""Certificates and secrets that are replaced while events arrive."""

import asyncio
import socket
import ssl
from pathlib import Path

from tests.availability.connection import Connection
from tests.availability.result import Goal
from tests.availability.scenario import Scenario, World
from tests.availability.terminal import show
from tests.cluster.stack import COLLECTORS, NODES, ComposeCluster
from tests.support.wait import eventually

WAIT_MAX_S = 1.0
NEW_KEY = "a-key-of-the-next-year-0123456789"


async def renew_certificates(world: World[ComposeCluster]) -> None:
    cluster = world.cluster
    await cluster.sh("../make-secrets --cluster --renew-certificates")
    for node in NODES:
        await cluster.sh(f"docker compose exec -T {node} rabbitmqctl eval 'ssl:clear_pem_cache().'")
    await cluster.sh("docker compose kill --signal USR2 haproxy")
    places = {node: (await cluster.ip(node), 5671) for node in NODES}
    places["haproxy"] = (cluster.address.host, cluster.address.port)
    for name, place in places.items():
        await eventually(
            lambda name=name, place=place: _shows_renewed(cluster, name, place),
            what=f"{name} to show its new certificate",
        )
    # A service reads its certificate at each connect.
    await cluster.sh(f"docker compose exec -T {NODES[0]} rabbitmqctl close_all_user_connections collector renewed")
    await world.delivers(100)


async def _shows_renewed(cluster: ComposeCluster, name: str, place: tuple[str, int]) -> bool:
    file = cluster.project.directory / "secrets" / "tls" / name / "own.pem"
    return await asyncio.to_thread(_shown, place) == _in_file(file)


def _shown(place: tuple[str, int]) -> bytes | None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(place, timeout=5) as connection, context.wrap_socket(connection) as secured:
        return secured.getpeercert(binary_form=True)


def _in_file(path: Path) -> bytes:
    certificate, end, _ = path.read_text().partition("-----END CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(certificate + end)


async def rotate_secrets(world: World[ComposeCluster]) -> None:
    """Give the senders a new key beside the old one, and the collectors a new password in RabbitMQ."""
    cluster, secrets = world.cluster, world.cluster.project.directory / "secrets"
    (secrets / "sources" / "default").write_text(f"{NEW_KEY}\n{cluster.api_key}\n")
    await cluster.sh("rm secrets/collector-broker-password && ../make-secrets --cluster")
    importing = "cat > /tmp/new.json && rabbitmqctl import_definitions /tmp/new.json; rm /tmp/new.json"
    await cluster.sh(f"docker compose exec -T {NODES[0]} sh -c '{importing}' < secrets/definitions.json")
    for collector in COLLECTORS:
        show(f"restarting {collector}")
        await cluster.stop_and_start(collector)
        await cluster.is_ready(collector)
        await world.pause(5)
    connection = await Connection.open(cluster.address, keeps=False, on_free=lambda _: None, on_lost=lambda _: None)
    problem = await connection.post(cluster.address.request("with-the-new-key", b"{}", api_key=NEW_KEY, keeps=False))
    if problem:
        world.problems.append(f"the new key was answered {problem}")
    connected = await cluster.sh(f"docker compose exec -T {NODES[0]} rabbitmqctl --quiet list_connections user")
    if "collector" not in connected.split():
        world.problems.append("no collector has connected with the new password")


SCENARIOS = (
    Scenario(
        name="certificates of brokers, HAProxy and services renewed",
        fault=renew_certificates,
        goal=Goal(wait_max_s=WAIT_MAX_S),
        calm_s=20,
    ),
    Scenario(
        name="a key of the senders and the collectors' password in RabbitMQ rotated",
        fault=rotate_secrets,
        goal=Goal(wait_max_s=WAIT_MAX_S),
    ),
)
