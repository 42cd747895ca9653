"""deploy/cluster: its Compose file, its secrets and its certificates agree with each other and with the services."""

import json
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eventflow.network.broker_tls import context_of
from eventflow.network.broker_url import parse_broker_url
from eventflow.settings.collector import CollectorSettings
from eventflow.settings.processor import ProcessorSettings
from eventflow_collector.server.supervisor import KILL_AFTER_S
from tests.support.certificates import Authority
from tests.support.means import cannot

DEPLOY = Path(__file__).parents[3] / "deploy"
CLUSTER = DEPLOY / "cluster"
NODES = ("rabbitmq-1", "rabbitmq-2", "rabbitmq-3")
IN_CONTAINERS = "/run/secrets/tls"
COLLECTORS = ("collector-1", "collector-2")
INSTANCES = (*COLLECTORS, "processor-1", "processor-2", "relay-1", "relay-2", "console")
HAPROXY = (CLUSTER / "haproxy/haproxy.cfg").read_text()


def make_secrets(directory: Path, *arguments: str) -> None:
    if shutil.which("openssl") is None:
        cannot("certificates need the program openssl")
    command = [sys.executable, str(DEPLOY / "make-secrets"), "--cluster", "--directory", str(directory), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the secrets."""
    directory = tmp_path_factory.mktemp("cluster") / "secrets"
    make_secrets(directory)
    return directory


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return all services as Compose itself reads them, with the parts that they extend."""
    if shutil.which("docker") is None:
        pytest.skip("Compose is not installed")
    copy = tmp_path_factory.mktemp("compose") / "deploy"
    shutil.copytree(DEPLOY, copy, ignore=shutil.ignore_patterns("secrets", ".env"))
    shutil.copy(DEPLOY / ".env.example", copy / "cluster" / ".env")
    command = ["docker", "compose", "--profile", "*", "config", "--format", "json"]
    ended = subprocess.run(command, cwd=copy / "cluster", check=False, capture_output=True, timeout=30, text=True)
    if "not a docker command" in ended.stderr:
        pytest.skip("Compose is not installed")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, dict[str, Any]] = json.loads(ended.stdout)["services"]
    return found


def pair_of(made: Path, *, client: str, node: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Return both ends of TLS between a service, as its broker URL says, and a node."""
    url = (made / f"{client}-broker-url").read_text().splitlines()[0]
    user = parse_broker_url(url).username
    tls = parse_broker_url(url.replace(IN_CONTAINERS, str(made / "tls" / user))).tls
    assert tls is not None
    ours = context_of(tls)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(made / "tls" / node / "ca.pem"))
    theirs.load_cert_chain(made / "tls" / node / "own.pem")
    theirs.verify_mode = ssl.CERT_REQUIRED  # as fail_if_no_peer_cert in cluster.conf
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    return (
        ours.wrap_bio(down, up, server_hostname=node),
        theirs.wrap_bio(up, down, server_side=True),
    )


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("client", ["collector-1", "processor-2", "relay-1", "console", "operator"])
def test_a_service_and_a_node_accept_each_other(made: Path, client: str, node: str) -> None:
    ends = pair_of(made, client=client, node=node)
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert all(end.cipher() for end in ends)


def test_each_client_knows_all_nodes_and_prefers_its_own(made: Path) -> None:
    def hosts(client: str) -> list[str]:
        return [parse_broker_url(url).host for url in (made / f"{client}-broker-url").read_text().splitlines()]

    assert hosts("collector-1") == hosts("processor-1") == ["rabbitmq-1", "rabbitmq-2", "rabbitmq-3"]
    assert hosts("collector-2") == hosts("processor-2") == ["rabbitmq-2", "rabbitmq-3", "rabbitmq-1"]
    assert {*hosts("console"), *hosts("operator")} == {*NODES}


def test_a_second_run_keeps_everything_but_the_definitions(made: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in made.rglob("*") if path.is_file() and path.suffix != ".json"}

    before = contents()
    make_secrets(made)
    assert contents() == before


def test_certificates_that_expire_soon_are_renewed_and_those_of_others_are_kept(made: Path, tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    shutil.copytree(made, directory)
    of_others = Authority(tmp_path).issue("DNS:events.example.com", days=2).read_text()
    of_haproxy = directory / "tls/haproxy/own.pem"
    of_haproxy.write_text(of_others)
    of_haproxy.chmod(0o600)
    expiring = directory / "tls/collector/own.pem"
    by = ["-CA", directory / "authority/ca.pem", "-CAkey", directory / "authority/ca.key", "-set_serial", "7"]
    request = ["openssl", "x509", "-x509toreq", "-in", expiring, "-signkey", expiring, "-out", tmp_path / "request"]
    subprocess.run(request, check=True, capture_output=True)
    signing = ["openssl", "x509", "-req", "-in", tmp_path / "request", *by, "-days", "59", "-out", expiring]
    subprocess.run(signing, check=True, capture_output=True)
    before = {path: path.read_bytes() for path in directory.glob("tls/*/own.pem")}
    make_secrets(directory)
    renewed = {path.parent.name for path, content in before.items() if path.read_bytes() != content}
    assert renewed == {"collector"}
    assert of_haproxy.stat().st_mode & 0o777 == 0o644
    make_secrets(directory, "--renew-certificates")
    renewed = {path.parent.name for path, content in before.items() if path.read_bytes() != content}
    assert renewed == {path.parent.name for path in before} - {"haproxy"}


def test_only_the_owner_can_read_the_key_of_the_authority(made: Path) -> None:
    assert (made / "authority/ca.key").stat().st_mode & 0o777 == 0o600
    assert made.stat().st_mode & 0o777 == 0o700


def test_every_mounted_file_and_folder_is_there(services: dict[str, dict[str, Any]], made: Path) -> None:
    for name, service in services.items():
        for mount in service.get("volumes", []):
            if mount["type"] == "bind":
                [_, place] = mount["source"].split("/deploy/")
                inside = made.parent / place.removeprefix("cluster/")
                assert (DEPLOY / place).exists() or inside.exists(), (name, place)


def test_no_key_of_another_is_mounted(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        kind = {"eventflow": "operator"}.get(name, name if name in NODES else name.rstrip("-12"))
        folders = [mount["source"] for mount in service.get("volumes", []) if mount["target"] == IN_CONTAINERS]
        assert all(folder.endswith(f"/secrets/tls/{kind}") for folder in folders), (name, folders)
        assert not any("authority" in mount.get("source", "") for mount in service.get("volumes", []))


def test_every_container_is_as_hard_as_on_one_machine(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["mem_limit"], name
        assert service.get("read_only") or name == "postgres", name


def test_only_the_front_and_two_pages_are_published_and_only_on_loopback(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert published.keys() == {"haproxy", "console", "rabbitmq-1"}
    assert all(port["host_ip"] == "127.0.0.1" for ports in published.values() for port in ports)


def test_a_service_may_drain_before_docker_kills_it(services: dict[str, dict[str, Any]]) -> None:
    delay_s = float(services["collector-1"]["environment"]["EVENTFLOW_COLLECTOR__SHUTDOWN_DELAY_S"])
    collector_s = CollectorSettings(shutdown_delay_s=delay_s).stop_within_s + KILL_AFTER_S
    for name in INSTANCES:
        needed_s = collector_s if name in COLLECTORS else 2 * ProcessorSettings().drain_timeout_s
        assert seconds(services[name]["stop_grace_period"]) >= needed_s, name
    hard_stop = re.search(r"hard-stop-after (\d+)s", HAPROXY)
    assert hard_stop
    assert int(hard_stop[1]) < seconds(services["haproxy"]["stop_grace_period"])


def test_haproxy_leaves_a_stopping_collector_in_half_of_its_delay(services: dict[str, dict[str, Any]]) -> None:
    checks = re.search(r"inter (\d+)s fastinter (\d+)ms fall 2", HAPROXY)
    timeout = re.search(r"timeout connect (\d+)s", HAPROXY)
    assert checks
    assert timeout
    found_s = int(checks[1]) + int(checks[2]) / 1000 + int(timeout[1])
    for name in COLLECTORS:
        delay_s = float(services[name]["environment"]["EVENTFLOW_COLLECTOR__SHUTDOWN_DELAY_S"])
        assert delay_s >= 2 * found_s


def seconds(text: str) -> float:
    """Read a duration as Compose writes it, such as 1m30s."""
    return sum(float(number) * {"m": 60, "s": 1}[unit] for number, unit in re.findall(r"([\d.]+)([ms])", text))


def test_every_spool_is_of_one_collector(services: dict[str, dict[str, Any]]) -> None:
    spools = [
        mount["source"]
        for service in services.values()
        for mount in service.get("volumes", [])
        if mount["target"] == "/var/lib/eventflow/spool"
    ]
    assert len(spools) == len(set(spools)) == 2


def test_the_nodes_that_find_each_other_are_those_of_compose(services: dict[str, dict[str, Any]]) -> None:
    found = re.findall(r"classic_config\.nodes\.\d = rabbit@(\S+)", (CLUSTER / "rabbitmq/cluster.conf").read_text())
    assert tuple(found) == NODES
    assert all(services[node]["hostname"] == node for node in NODES)


@pytest.mark.parametrize("example", ["rabbitmq-operator.yaml", "rabbitmq-statefulset.yaml"])
def test_the_examples_for_kubernetes_replicate_queues_as_this_cluster_does(example: str) -> None:
    expected = replication_of(CLUSTER / "rabbitmq/cluster.conf")
    assert len(expected) == 5
    assert replication_of(DEPLOY / "helm/examples" / example) == expected


def replication_of(file: Path) -> set[str]:
    """Return the settings of RabbitMQ for the replicas of queues, and for the loss of a node."""
    lines = map(str.strip, file.read_text().splitlines())
    return {line for line in lines if line.startswith(("queue_leader_locator", "quorum_queue.", "net_ticktime"))}


def test_haproxy_accepts_its_configuration(made: Path, tmp_path: Path) -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("HAProxy is not installed")
    text = HAPROXY.replace(IN_CONTAINERS, str(made / "tls/haproxy"))
    (tmp_path / "haproxy.cfg").write_text(text)
    subprocess.run(["haproxy", "-c", "-f", tmp_path / "haproxy.cfg"], check=True, capture_output=True, timeout=30)
