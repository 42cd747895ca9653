"""The files of the deployment agree with each other."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from eventflow.network.broker_url import parse_broker_url
from eventflow.operations.databases import outbox_url_of
from eventflow.settings.collector import CollectorSettings
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.users import read_users
from eventflow_collector.guards import require_safe_exposure
from eventflow_collector.server.supervisor import KILL_AFTER_S
from eventflow_console.guards import require_safe_access
from eventflow_processor.guards import require_target_urls
from eventflow_relay.guards import database_url_of

DEPLOY = Path(__file__).parents[3] / "deploy"


class ComposeLoader(yaml.SafeLoader):
    """Reads `!reset`, by which one Compose file removes what another has, as an empty value."""


ComposeLoader.add_constructor("!reset", lambda *_: {})


def compose_file(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load((DEPLOY / name).read_text(), ComposeLoader)
    return content


COMPOSE = compose_file("compose.yaml")
WITH_LOKI = compose_file("compose.loki.yaml")
WITH_HANDLERS = compose_file("compose.handlers.yaml")
EXAMPLE = (DEPLOY / ".env.example").read_text()
STORES = ("victorialogs", "loki")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the folder after `make-secrets`."""
    copy = tmp_path_factory.mktemp("deploy")
    shutil.copy(DEPLOY / "make-secrets", copy)
    shutil.copytree(DEPLOY / "rabbitmq", copy / "rabbitmq")
    make_secrets(copy)
    return copy


def make_secrets(copy: Path, *arguments: str) -> None:
    command = [sys.executable, "make-secrets", *arguments]
    subprocess.run(command, cwd=copy, check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("compose", [COMPOSE, WITH_LOKI], ids=["compose", "loki"])
def test_every_mounted_file_is_there_and_every_volume_and_secret_is_declared(
    compose: dict[str, Any], made: Path
) -> None:
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists() or (made / source).exists(), (name, mount)
            elif not source.startswith("/"):
                assert source in compose["volumes"], (name, mount)
        for secret in service.get("secrets", []):
            assert (secret if isinstance(secret, str) else secret["source"]) in compose["secrets"]


def test_a_service_may_drain_before_docker_kills_it() -> None:
    period_s = float(COMPOSE["x-event-flow"]["stop_grace_period"].removesuffix("s"))
    assert period_s > CollectorSettings().stop_within_s + KILL_AFTER_S
    assert f"a collector needs {CollectorSettings().stop_within_s:g} s" in (DEPLOY / "compose.yaml").read_text()


def test_a_service_that_holds_secrets_of_flows_holds_no_others() -> None:
    def mounted(service: str) -> set[str]:
        given = COMPOSE["services"][service]
        folders = {mount.split(":")[0] for mount in given.get("volumes", []) if mount.startswith("./secrets")}
        return folders | {*given.get("secrets", [])}

    assert mounted("collector") == {"./secrets/sources", "collector-broker-url"}
    assert mounted("processor") == {"./secrets/targets", "processor-broker-url", "history-url"}
    assert mounted("relay") == {"relay-broker-url", "database-url"}
    assert mounted("console") == {"console-broker-url", "console-users", "history-url"}
    assert mounted("eventflow") == {"operator-broker-url", "history-url"}
    assert mounted("postgres") == {"postgres-password"}
    assert mounted("target") == set()


SHOPIFY = {
    "EVENTFLOW_FLOWS__SHOPIFY__SOURCE__VERIFY": "shopify",
    "EVENTFLOW_FLOWS__SHOPIFY__SOURCE__SECRETS_FILE": "/run/secrets/sources/shopify",
    "EVENTFLOW_FLOWS__SHOPIFY__TARGET__URL": "https://api.example.com/shopify",
    "EVENTFLOW_FLOWS__SHOPIFY__TARGET__RATE_PER_S": "10",
    "EVENTFLOW_FLOWS__SHOPIFY__TARGET__HEADERS_FILE": "/run/secrets/targets/shopify",
}


HISTORY = {"EVENTFLOW_HISTORY__URL_FILE": "/run/secrets/history-url"}


HANDLERS = dict(re.findall(r"^# (EVENTFLOW_FLOWS__(?:ORDERS|NOTIFY)\w+)=(.*)$", EXAMPLE, re.MULTILINE))
"""The lines for a handler in `.env.example`."""


def of_default_flow() -> dict[str, str]:
    return dict(re.findall(r"^(EVENTFLOW_(?:SOURCE|TARGET)__\w+)=(.*)$", EXAMPLE, re.MULTILINE))


def in_container(service: str, given: dict[str, str], made: Path, secrets: Path) -> dict[str, str]:
    """Return the environment of a service, with `secrets` in place of /run/secrets: only its own secrets are there."""
    compose = COMPOSE["services"][service]
    for mount in compose.get("volumes", []):
        source, place, *_ = mount.split(":")
        if place.startswith("/run/secrets/"):
            shutil.copytree(made / source, secrets / Path(place).name)
    added = WITH_HANDLERS["services"].get(service, {}) if HANDLERS.items() <= given.items() else {}
    for name in (*compose["secrets"], *added.get("secrets", ())):
        shutil.copy(made / "secrets" / name, secrets)
    # Of the defaults in compose.yaml, `${NAME:-default}`, none is set in .env.example.
    variables = compose["environment"] | added.get("environment", {})
    own = {name: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", value) for name, value in variables.items()}
    environment = {**given, **own}
    return {name: value.replace("/run/secrets", str(secrets)) for name, value in environment.items()}


@pytest.mark.parametrize(
    ("given", "flows"),
    [
        (of_default_flow(), {"default"}),
        ({**of_default_flow(), **SHOPIFY}, {"default", "shopify"}),
        (SHOPIFY, {"shopify"}),
        ({**of_default_flow(), **HISTORY}, {"default"}),
        (HANDLERS, {"orders", "notify"}),
    ],
    ids=["default", "both", "shopify", "history", "handlers"],
)
@pytest.mark.parametrize(
    ("service", "role", "guards"),
    [
        ("collector", Role.COLLECTOR, [require_safe_exposure]),
        ("processor", Role.PROCESSOR, [require_target_urls]),
        ("relay", Role.RELAY, [database_url_of]),
        ("console", Role.CONSOLE, [require_safe_access]),
        ("eventflow", Role.OPERATOR, []),
    ],
)
def test_each_service_starts_with_its_own_secrets_only(
    service: str,
    role: Role,
    guards: list[Callable[[Settings], object]],
    given: dict[str, str],
    flows: set[str],
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = shutil.copytree(made, tmp_path / "deploy")
    (own / "secrets/sources/shopify").write_text("shpss_0123456789abcdef")
    (own / "secrets/targets/shopify").write_text('{"Authorization": "Bearer 1"}')
    visible = tmp_path / "visible"
    visible.mkdir()
    for name, value in in_container(service, given, own, visible).items():
        monkeypatch.setenv(name, value)
    settings = load(None, role)
    for guard in guards:
        guard(settings)
    assert set(settings.all_flows) == flows


@pytest.mark.parametrize(("service", "role"), [("processor", Role.PROCESSOR), ("console", Role.CONSOLE)])
def test_the_history_is_in_the_database_of_the_profile(
    service: str, role: Role, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HISTORY.items() <= dict(re.findall(r"^# (EVENTFLOW_\w+)=(.*)$", EXAMPLE, re.MULTILINE)).items()
    for name, value in in_container(service, {**of_default_flow(), **HISTORY}, made, tmp_path).items():
        monkeypatch.setenv(name, value)
    url = load(None, role).history.url
    assert url is not None
    parts = urlsplit(url.get_secret_value())
    database = COMPOSE["services"][parts.hostname]
    assert "history" in database["profiles"]
    assert database["environment"]["POSTGRES_USER"] == parts.username == parts.path.removeprefix("/")
    assert parts.password == (made / "secrets/postgres-password").read_text().strip()


def test_handlers_and_relay_use_the_database_of_the_profile(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in in_container("relay", HANDLERS, made, tmp_path).items():
        monkeypatch.setenv(name, value)
    parts = urlsplit(database_url_of(load(None, Role.RELAY)))
    database = COMPOSE["services"][parts.hostname]
    assert "handlers" in database["profiles"]
    assert parts.password == (made / "secrets/postgres-password").read_text().strip()


def test_the_operators_command_finds_the_outbox_and_the_relay(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in in_container("eventflow", HANDLERS, made, tmp_path).items():
        monkeypatch.setenv(name, value)
    settings = load(None, Role.OPERATOR)
    assert outbox_url_of(settings) == (made / "secrets/database-url").read_text().strip()
    assert settings.relay.admin_host in COMPOSE["services"]
    of_cluster = compose_file("cluster/compose.handlers.yaml")["services"]["eventflow"]
    assert of_cluster["environment"] == WITH_HANDLERS["services"]["eventflow"]["environment"]


@pytest.mark.parametrize("file", ["compose.handlers.yaml", "cluster/compose.handlers.yaml"])
def test_the_handler_of_the_example_is_the_one_in_its_folder(file: str) -> None:
    assert "HANDLERS_DIRECTORY" not in EXAMPLE  # one value cannot replace both defaults
    context = compose_file(file)["services"]["eventflow"]["build"]["context"]
    folder = (DEPLOY / file).parent / re.fullmatch(r"\$\{HANDLERS_DIRECTORY:-(\S+)\}", context)[1]  # type: ignore[index]
    toml = tomllib.loads((folder / "eventflow.toml").read_text())
    assert HANDLERS["EVENTFLOW_FLOWS__ORDERS__HANDLER__CALL"] == toml["flows"]["orders"]["handler"]["call"]
    assert (folder / "Dockerfile").read_text().count("FROM") == 1


def test_the_operators_command_starts_no_other_service() -> None:
    assert "depends_on" not in COMPOSE["services"]["eventflow"]


def test_only_the_image_of_the_demo_target_contains_the_sandbox() -> None:
    stages = re.split(r"^FROM ", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    with_sandbox = [stage for stage in stages if re.search(r"^COPY.* sandbox", stage, flags=re.MULTILINE)]
    assert [stage.split("\n")[0].split(" AS ")[-1] for stage in with_sandbox] == ["demo-target"]
    assert "demo-target" not in stages[-1]
    assert COMPOSE["services"]["target"]["build"]["target"] == "demo-target"
    assert COMPOSE["services"]["target"]["image"] != COMPOSE["services"]["collector"]["image"]


def test_the_image_has_a_driver_for_the_database_of_the_history() -> None:
    locked = (DEPLOY.parent / "requirements.lock").read_text()
    assert re.search(r"^asyncpg==", locked, re.MULTILINE)


def test_make_secrets_makes_every_secret(made: Path) -> None:
    of_flows = re.findall(r"^EVENTFLOW_\w+_FILE=/run/secrets/(\S+)", EXAMPLE, re.MULTILINE)
    files = {path.relative_to(made / "secrets") for path in (made / "secrets").rglob("*") if path.is_file()}
    assert files == {
        *(Path(secret["file"]).relative_to("secrets") for secret in COMPOSE["secrets"].values()),
        *map(Path, of_flows),
        Path("console-password"),  # for a person, and for no service
    }


def test_make_secrets_makes_an_added_secret_readable_and_keeps_all_others(made: Path) -> None:
    def contents() -> dict[Path, bytes]:
        files = (made / "secrets").rglob("*")
        return {path: path.read_bytes() for path in files if path.is_file() and path.name != "definitions.json"}

    added = made / "secrets" / "sources" / "shopify"
    added.write_text("shpss_1")
    added.chmod(0o600)
    before = contents()
    make_secrets(made)
    assert contents() == before
    assert added.stat().st_mode & 0o777 == 0o644
    assert (made / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_console_knows_the_user_and_the_password_that_make_secrets_made(made: Path) -> None:
    users = read_users(made / "secrets/console-users")
    assert users["admin"].matches((made / "secrets/console-password").read_text().strip())


def test_make_secrets_gives_files_of_version_0_1_their_new_names(made: Path, tmp_path: Path) -> None:
    (tmp_path / "api-keys").write_text("key-of-0.1\n")
    make_secrets(made, "--directory", str(tmp_path))
    assert (tmp_path / "sources" / "default").read_text() == "key-of-0.1\n"
    assert not (tmp_path / "api-keys").exists()


def test_make_secrets_can_name_another_broker_and_another_database(made: Path, tmp_path: Path) -> None:
    make_secrets(made, "--directory", str(tmp_path), "--broker", "127.0.0.1:5673", "--database", "127.0.0.1:5433")
    assert (tmp_path / "collector-broker-url").read_text().endswith("@127.0.0.1:5673/eventflow\n")
    assert (tmp_path / "history-url").read_text().endswith("@127.0.0.1:5433/eventflow\n")


def test_make_secrets_keeps_passwords_and_writes_the_urls_of_all_nodes_that_it_is_given(
    made: Path, tmp_path: Path
) -> None:
    def urls(user: str) -> list[str]:
        return (tmp_path / f"{user}-broker-url").read_text().splitlines()

    make_secrets(made, "--directory", str(tmp_path))
    (plain,) = urls("processor")
    nodes = [f"rabbitmq-{number}:5671" for number in range(3)]
    make_secrets(made, "--directory", str(tmp_path), "--broker", *nodes, "--broker-ca", "/etc/ca.crt")
    with_tls = plain.replace("amqp:", "amqps:") + "?cacertfile=/etc/ca.crt"
    assert urls("processor") == [with_tls.replace("rabbitmq:5672", nodes[number]) for number in (1, 2, 0)]
    assert [url.partition("@")[2].partition("/")[0] for url in urls("collector")] == nodes
    before = urls("collector")
    make_secrets(made, "--directory", str(tmp_path))
    assert urls("collector") == before
    users = json.loads((tmp_path / "definitions.json").read_text())["users"]
    for user in users:
        salt_and_hash = base64.b64decode(user["password_hash"])
        password = parse_broker_url(urls(user["name"])[0]).password
        assert hashlib.sha256(salt_and_hash[:4] + password.encode()).digest() == salt_and_hash[4:]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--broker-ca", "ca.crt"), "--broker"),
        (("--cluster", "--broker", "rabbitmq:5671"), "--broker"),
        (("--renew-certificates",), "--cluster"),
    ],
)
def test_make_secrets_refuses_options_that_would_have_no_effect(
    made: Path, tmp_path: Path, arguments: Sequence[str], named: str
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as ended:
        make_secrets(made, "--directory", str(tmp_path / "secrets"), *arguments)
    assert named in ended.value.stderr.decode().splitlines()[-1]
    assert not (tmp_path / "secrets").exists()


def data_sources(store: str) -> list[dict[str, Any]]:
    """Return the data sources of Grafana with a log store."""
    files = (DEPLOY / "grafana/provisioning/datasources" / f"{name}.yaml" for name in ("prometheus", store))
    return [source for file in files for source in yaml.safe_load(file.read_text())["datasources"]]


def dashboards(store: str) -> list[Path]:
    """Return the dashboards with a log store."""
    return [*sorted((DEPLOY / "grafana/dashboards").glob("*.json")), DEPLOY / "grafana/logs" / f"{store}.json"]


@pytest.mark.parametrize("store", STORES)
def test_dashboards_use_data_sources_that_are_provisioned_and_do_not_overlap(store: str) -> None:
    provisioned = data_sources(store)
    known = {source["uid"]: source["type"] for source in provisioned}
    for file in dashboards(store):
        dashboard = json.loads(file.read_text())
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            assert known[panel["datasource"]["uid"]] == panel["datasource"]["type"]
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, (file.name, panel["title"])
            assert place["x"] + place["w"] <= 24
            taken |= cells
    assert set(re.findall(r"datasourceUid: (\w+)", yaml.safe_dump(provisioned))) <= set(known)


def test_one_line_replaces_the_log_store_everywhere() -> None:
    assert WITH_LOKI["services"]["victorialogs"] == {}
    for service, parts in WITH_LOKI["services"].items():
        if service in COMPOSE["services"] and parts:
            known = {mount.split(":")[1] for mount in COMPOSE["services"][service]["volumes"]}
            assert {mount.split(":")[1] for mount in parts.get("volumes", [])} <= known
            assert parts["environment"].keys() <= COMPOSE["services"][service]["environment"].keys()
    assert "COMPOSE_FILE=compose.yaml:compose.loki.yaml" in EXAMPLE


def is_installed(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.loki.yaml"]], ids=STORES)
def test_compose_itself_accepts_the_files(files: list[str], made: Path) -> None:
    if not is_installed("docker", "compose", "version"):
        pytest.skip("Compose is not installed")
    for name in files:
        shutil.copy(DEPLOY / name, made)
    shutil.copy(DEPLOY / ".env.example", made / ".env")
    options = [option for name in files for option in ("--file", name)]
    command = ["docker", "compose", *options, "--profile", "*", "config", "--format", "json"]
    shown = subprocess.run(command, cwd=made, check=True, capture_output=True, timeout=30, text=True).stdout
    services = json.loads(shown)["services"]
    assert services.keys() & set(STORES) == {"loki" if len(files) > 1 else "victorialogs"}
    places = [mount["target"] for mount in services["grafana"]["volumes"]]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("store", STORES)
def test_every_host_that_the_profile_names_is_a_service_in_it(store: str) -> None:
    services = COMPOSE["services"] if store == "victorialogs" else {**COMPOSE["services"], **WITH_LOKI["services"]}
    endpoint = services["otel-collector"]["environment"]["LOGS_ENDPOINT"]
    files = [*(DEPLOY / "prometheus").glob("*.y*ml"), DEPLOY / "otel-collector/config.yaml"]
    texts = [endpoint, yaml.safe_dump(data_sources(store)), *(path.read_text() for path in files)]
    hosts = {host for text in texts for host in re.findall(r"(?:https?://|\"|\[)([a-z-]+):\d{4,5}", text)}
    assert hosts == {"prometheus", store, "jaeger", "alertmanager", "rabbitmq", "console"}
    assert hosts <= set(services)


def test_traces_go_where_the_profile_receives_them() -> None:
    endpoint = re.search(r"OTEL_EXPORTER_OTLP_ENDPOINT=http://([\w-]+):(\d+)", EXAMPLE)
    receiver: dict[str, Any] = yaml.safe_load((DEPLOY / "otel-collector" / "config.yaml").read_text())["receivers"][
        "otlp"
    ]
    assert endpoint
    assert endpoint[1] in COMPOSE["services"]
    assert receiver["protocols"]["http"]["endpoint"].endswith(f":{endpoint[2]}")
