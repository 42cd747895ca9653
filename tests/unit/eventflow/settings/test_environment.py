"""Names of variables, and files that they name, as people and programs write them."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.errors import SettingsError
from eventflow.network.host import PORT_MAX
from eventflow.settings.environment import (
    FILE_MAX_BYTES,
    capitalized,
    from_environment,
    unlike_injected,
    variable,
)
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import SECTIONS, FlowSettings
from eventflow.topology import FLOW_NAME

URL = "http://target/"


@pytest.mark.parametrize(
    "name", ["eventflow_target__url", "EventFlow_Target__Url", "EVENTFLOW_target__url", "EVENTFLOW_TARGET__URL"]
)
def test_a_name_is_read_in_any_case(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """pydantic-settings#44. Reproduced on 0.1.0: `eventflow_target__rate_per_s=2` was ignored: 56 requests for 11."""
    monkeypatch.setenv(name, URL)
    assert load(role=Role.PROCESSOR).all_flows["default"].target.url == URL


def test_a_file_and_the_toml_file_are_found_by_a_name_in_any_case(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("some-key\n")
    (tmp_path / "any.toml").write_text(f'[target]\nurl = "{URL}"\n')
    monkeypatch.setenv("EventFlow_Config", str(tmp_path / "any.toml"))
    monkeypatch.setenv("eventflow_source__api_keys_file", str(tmp_path / "keys"))
    flow = load().all_flows["default"]
    assert flow.target.url == URL
    assert [key.get_secret_value() for key in flow.source.api_keys] == ["some-key"]


def test_a_setting_whose_name_is_there_in_two_cases_is_refused() -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_A__B and eventflow_a__b are both set"):
        capitalized({"EVENTFLOW_A__B": "1", "eventflow_a__b": "1", "path": "", "PATH": ""})


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("EVENTFLOW_TARGET_RATE_PER_S", "EVENTFLOW_TARGET__RATE_PER_S"),
        ("EVENTFLOW__TARGET__RATE_PER_S", "EVENTFLOW_TARGET__RATE_PER_S"),
        ("EVENTFLOW_TARGET___RATE_PER_S", "EVENTFLOW_TARGET__RATE_PER_S"),
        ("EVENTFLOW_TARGET__RATE__PER__S", "EVENTFLOW_TARGET__RATE_PER_S"),
        ("eventflow_source_api_keys_file", "EVENTFLOW_SOURCE__API_KEYS_FILE"),
        ("EVENTFLOW_COLLECTOR_HOST", "EVENTFLOW_COLLECTOR__HOST"),
        ("EVENTFLOW_COLLECTOR__PROT", "EVENTFLOW_COLLECTOR__PORT"),
        ("EVENTFLOW_FLOWS__A__TARGET__RATES_PER_S", "EVENTFLOW_FLOWS__A__TARGET__RATE_PER_S"),
        ("EVENTFLOW_FLOWS__A__TARGET_URL", "EVENTFLOW_FLOWS__A__TARGET__URL"),
        ("EVENTFLOW_QUITE_ANOTHER", None),
        ("EVENTFLOW_", None),
        ("EVENTFLOW_" + "__".join("a" * 5000), None),
    ],
)
def test_a_name_that_is_no_setting_is_refused_with_the_one_that_is_meant(
    monkeypatch: pytest.MonkeyPatch, role: Role, name: str, meant: str | None
) -> None:
    monkeypatch.setenv(name, "8080")
    with pytest.raises(SettingsError, match="is not a setting") as raised:
        load(role=role)
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 600
    assert f"is {meant} meant?" in text if meant else "docs/configuration.md" in text


@pytest.mark.parametrize("name", ["eventflow.target.url", "EVENTFLOW-TARGET-URL", "Eventflow.Target__Url"])
def test_a_name_that_is_joined_in_another_way_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Keys of a ConfigMap become variables as they are; 0.1.0 ignored these in silence."""
    monkeypatch.setenv(name, URL)
    with pytest.raises(SettingsError, match=f"'{name}' is not a setting"):
        load()


def test_what_kubernetes_injects_for_services_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reproduced on 0.1.0: a Service called `eventflow-collector` ended every pod of the namespace with status 78."""
    links = {
        "EVENTFLOW_COLLECTOR_SERVICE_HOST": "10.0.0.1",
        "EVENTFLOW_COLLECTOR_SERVICE_PORT": "8080",
        "EVENTFLOW_COLLECTOR_SERVICE_PORT_HTTP_ADMIN": "9464",
        "EVENTFLOW_COLLECTOR_PORT": "tcp://10.0.0.1:8080",
        "EVENTFLOW_COLLECTOR_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "EVENTFLOW_COLLECTOR_PORT_8080_TCP_PROTO": "tcp",
        "EVENTFLOW_COLLECTOR_PORT_8080_TCP_PORT": "8080",
        "EVENTFLOW_COLLECTOR_PORT_8080_TCP_ADDR": "10.0.0.1",
        "EVENTFLOW_PORT": "udp://[fd00::1]:53",
        "EVENTFLOW_SERVICE_HOST": "fd00::1",
        "EVENTFLOW_PORT_53_UDP_ADDR": "fd00::1",
    }
    for name, value in links.items():
        monkeypatch.setenv(name, value)
    assert load().collector.port == 8080
    assert from_environment(links) == {}
    assert unlike_injected(links) == []


NAMES = st.from_regex(r"[a-z]([a-z0-9]|-(?!-)){0,10}[a-z0-9]", fullmatch=True)
"""Parts of the name of a Service, and the names of its ports."""

ADDRESSES = st.ip_addresses().map(str)


@given(
    service=st.one_of(st.just("eventflow"), NAMES.map("eventflow-{}".format)),
    address=ADDRESSES,
    ports=st.dictionaries(NAMES, st.integers(1, PORT_MAX), min_size=1, max_size=3),
    protocol=st.sampled_from(["tcp", "udp", "sctp"]),
)
def test_no_service_of_any_name_stops_a_pod(service: str, address: str, ports: dict[str, int], protocol: str) -> None:
    links = injected_for(service, address, ports, protocol)
    assert from_environment(links) == {}
    assert unlike_injected(links) == []


def injected_for(service: str, address: str, ports: dict[str, int], protocol: str) -> dict[str, str]:
    """Return the variables that the kubelet makes of a Service (`pkg/kubelet/envvars/envvars.go`)."""
    prefix, host = service.upper().replace("-", "_"), f"[{address}]" if ":" in address else address
    first = next(iter(ports.values()))
    links = {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(first),
        f"{prefix}_PORT": f"{protocol}://{host}:{first}",
    }
    for name, port in ports.items():
        link = f"{prefix}_PORT_{port}_{protocol.upper()}"
        links |= {
            f"{prefix}_SERVICE_PORT_{name.upper().replace('-', '_')}": str(port),
            link: f"{protocol}://{host}:{port}",
            f"{link}_PROTO": protocol,
            f"{link}_PORT": str(port),
            f"{link}_ADDR": address,
        }
    return links


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVENTFLOW_COLLECTOR_PORT", "8080"),
        ("eventflow_collector_admin_port", "9464"),
        ("EVENTFLOW_COLLECTOR_SERVICE_HOST", "collector.internal"),
        ("EVENTFLOW_COLLECTOR_SERVICE_PORT", "http"),
        ("EVENTFLOW_COLLECTOR_PORT_8080_TCP_ADDR", ""),
        ("EVENTFLOW_CONSOLE_PORT_FILE", "/run/port"),
    ],
)
def test_a_variable_that_only_looks_like_one_of_a_service_is_ignored_and_named(name: str, value: str) -> None:
    assert from_environment({name: value}) == {}
    assert unlike_injected({name: value, "PATH": "/bin", "EVENTFLOW_CONFIG": "/a.toml"}) == [name.upper()]


@given(section=st.sampled_from(sorted({*SECTIONS, "senders"})), flow=st.from_regex(FLOW_NAME, fullmatch=True))
def test_no_setting_is_taken_for_a_variable_of_a_service(section: str, flow: str) -> None:
    fields = SECTIONS[section].model_fields if section in SECTIONS else {"any": None}
    paths = [(section, field) for field in fields]
    if section in FlowSettings.model_fields:
        paths += [("flows", flow, section, field) for field in fields]
    for path in paths:
        for name in (variable(path), f"{variable(path)}_FILE"):
            assert unlike_injected({name: "x"}) == []
            assert from_environment({name: "x"}), name


@pytest.mark.parametrize("path", ["keys", "./keys", "~/keys", "$HOME/keys", '"/keys"', "${KEYS}", ""])
def test_the_path_of_a_file_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str) -> None:
    (tmp_path / "keys").write_text("some-key\n")
    monkeypatch.setenv("EVENTFLOW_SOURCE__API_KEYS_FILE", path)
    with pytest.raises(SettingsError, match=r"^EVENTFLOW_SOURCE__API_KEYS_FILE: ") as raised:
        load()
    assert "\n" not in str(raised.value)
    monkeypatch.delenv("EVENTFLOW_SOURCE__API_KEYS_FILE")
    if path:
        monkeypatch.setenv("EVENTFLOW_CONFIG", path)
        with pytest.raises(SettingsError, match=r"^EVENTFLOW_CONFIG: "):
            load()


def test_a_secret_where_its_file_is_expected_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found in review: `API_KEYS_FILE=the-key-itself` put the key into the log."""
    monkeypatch.setenv("EVENTFLOW_SOURCE__API_KEYS_FILE", "a-key-of-ours")
    with pytest.raises(SettingsError, match="absolute path") as raised:
        load()
    assert "a-key" not in str(raised.value)


def test_a_file_that_the_command_line_names_may_be_relative(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_bytes(codecs.BOM_UTF8 + b"[target]\nrate_per_s = 7\n")
    assert load(Path("some.toml")).all_flows["default"].target.rate_per_s == 7


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[target]\nrate_per_s = "7"'.encode("utf-16"), "UTF-16"),
        (b"[target", "not valid TOML"),
        (b"a = " + b"[" * 20_000, "nested too deep"),
        (b"a = " + b"9" * 5000, "not valid TOML"),
        (b"#" * (FILE_MAX_BYTES + 1), "longer than"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_toml_file_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "some.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=reason) as raised:
        load(tmp_path / "some.toml")
    assert "some.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_device_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTFLOW_TARGET__URL_FILE", "/dev/zero")
    with pytest.raises(SettingsError, match="longer than"):
        load()
