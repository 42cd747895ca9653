"""deploy/compose.yaml in a Docker engine: senders, a stopped broker, dead letters, the history, the logs in one place.

Skipped without an engine, and without the images of these services.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import aiohttp
import pytest

from sandbox.ports import LOOPBACK
from tests.support.compose import USER_OF_THE_HISTORY, Stack
from tests.support.wait import eventually

pytestmark = [pytest.mark.timeout(1200), pytest.mark.timed]

SERVICES = ("rabbitmq", "collector", "processor", "console", "postgres", "target", "victorialogs", "otel-collector")
SHOPIFY_SECRET = "shpss_0123456789abcdef0123456789abcdef"
MORE_SETTINGS = """
EVENTFLOW_TELEMETRY__LOG_LEVEL=debug
EVENTFLOW_HISTORY__URL_FILE=/run/secrets/history-url
EVENTFLOW_FLOWS__SHOPIFY__SOURCE__VERIFY=shopify
EVENTFLOW_FLOWS__SHOPIFY__SOURCE__SECRETS_FILE=/run/secrets/sources/shopify
EVENTFLOW_FLOWS__SHOPIFY__TARGET__URL=http://target:8090/
EVENTFLOW_FLOWS__SHOPIFY__TARGET__RATE_PER_S=10
EVENTFLOW_FLOWS__SHOPIFY__TARGET__HEADERS_FILE=/run/secrets/targets/shopify
EVENTFLOW_FLOWS__REFUSING__SOURCE__ALLOW_UNAUTHENTICATED=true
EVENTFLOW_FLOWS__REFUSING__TARGET__URL=http://collector:9464/no-such-path
EVENTFLOW_FLOWS__REFUSING__TARGET__MAX_ATTEMPTS=1
"""
IDS_AT_TARGET = 'from urllib.request import urlopen; print(urlopen("http://127.0.0.1:8090/_audit/ids").read().decode())'
VISIBLE_WITHIN_S = 5.0
AWAY_S = 60.0
LOAD_PER_S = 10


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    copy = Stack.copy_to(tmp_path_factory.mktemp("compose"), SERVICES)
    (copy.directory / "secrets/sources/shopify").write_text(SHOPIFY_SECRET)
    (copy.directory / "secrets/targets/shopify").write_text('{"Authorization": "Bearer token-of-shopify"}')
    copy.sh("./make-secrets")
    with (copy.directory / ".env").open("a") as environment:
        environment.write(MORE_SETTINGS)
    with copy:
        yield copy


@pytest.fixture
def api_key(stack: Stack) -> str:
    return (stack.directory / "secrets/sources/default").read_text().strip()


async def post(http: aiohttp.ClientSession, stack: Stack, path: str, body: bytes, **headers: str) -> str:
    """Post an event that must be accepted, and return its id."""
    url = f"http://{LOOPBACK}:{stack.collector_port}{path}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(url, data=body, headers=named) as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["id"])


async def lines_of(http: aiohttp.ClientSession, stack: Stack, query: str) -> list[dict[str, str]]:
    """Search the log store; return nothing while it is away."""
    asked = urlencode({"query": query, "limit": "1000000"})
    try:
        async with http.get(f"http://{LOOPBACK}:{stack.logs_port}/select/logsql/query?{asked}") as answer:
            return [json.loads(line) for line in (await answer.text()).splitlines()]
    except aiohttp.ClientError:
        return []


async def test_a_known_sender_needs_one_secret_file_and_some_lines_in_env(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    body = b'{"id": 1}'
    signature = base64.b64encode(hmac.digest(SHOPIFY_SECRET.encode(), body, hashlib.sha256)).decode()
    event_id = await post(
        http,
        stack,
        "/events/shopify",
        body,
        X_Shopify_Hmac_Sha256=signature,
        X_Shopify_Webhook_Id="b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    )

    async def delivered() -> bool:
        return event_id in stack.sh(f"docker compose exec -T target python -c '{IDS_AT_TARGET}'")

    await eventually(delivered, what="the delivery of Shopify's event")


def test_a_secret_of_a_flow_is_visible_only_where_it_is_needed(stack: Stack) -> None:
    def secrets_in(service: str) -> set[str]:
        return set(stack.sh(f"docker compose exec -T {service} find /run/secrets -type f").split())

    assert secrets_in("collector") == {
        "/run/secrets/collector-broker-url",
        "/run/secrets/sources/default",
        "/run/secrets/sources/shopify",
    }
    assert secrets_in("processor") == {
        "/run/secrets/processor-broker-url",
        "/run/secrets/history-url",
        "/run/secrets/targets/default",
        "/run/secrets/targets/shopify",
    }
    assert secrets_in("console") == {
        "/run/secrets/console-broker-url",
        "/run/secrets/console-users",
        "/run/secrets/history-url",
    }
    command = stack.sh("docker compose run --rm -T --entrypoint find eventflow /run/secrets -type f")
    assert set(command.split()) == {"/run/secrets/operator-broker-url", "/run/secrets/history-url"}


async def test_the_console_asks_for_the_password_that_make_secrets_made(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    url = f"http://{LOOPBACK}:{stack.console_port}/"
    password = (stack.directory / "secrets/console-password").read_text().strip()
    async with http.get(url) as answer:
        assert answer.status == 401
    async with http.get(url, headers={"Authorization": aiohttp.encode_basic_auth("admin", password)}) as answer:
        assert answer.status == 200


async def test_the_attempt_of_an_event_is_on_record_in_the_history(
    stack: Stack, http: aiohttp.ClientSession, api_key: str
) -> None:
    stack.sh(USER_OF_THE_HISTORY)
    event_id = await post(http, stack, "/events", b"{}", X_Api_Key=api_key)

    async def on_record() -> bool:
        shown = stack.attempt(f"docker compose run --rm -T eventflow history show {event_id} --json")
        return shown.returncode == 0 and "delivered" in shown.stdout

    await eventually(on_record, within_s=60, what="the attempt in the history")


async def test_status_leaves_a_stopped_broker_stopped_and_shows_the_spool(
    stack: Stack, http: aiohttp.ClientSession, api_key: str
) -> None:
    stack.sh("docker compose stop rabbitmq")
    await post(http, stack, "/events", b"{}", X_Api_Key=api_key)
    shown = stack.attempt("docker compose run --rm -T eventflow status")
    assert "In the spool: 1 events" in shown.stdout
    assert shown.returncode == 1
    assert "rabbitmq" not in stack.sh("docker compose ps --services --status running").split()
    stack.sh("docker compose start rabbitmq")

    async def empty() -> bool:
        return "The spool is empty" in stack.attempt("docker compose run --rm -T eventflow status").stdout

    await eventually(empty, within_s=90, what="the spooled event to be published")


async def test_dead_letters_are_exported_to_standard_output(stack: Stack, http: aiohttp.ClientSession) -> None:
    event_id = await post(http, stack, "/events/refusing", b'{"n": 1}')
    exporting = "docker compose run --rm -T eventflow dead export --flow refusing > dead.ndjson; cat dead.ndjson"

    async def exported() -> bool:
        return [json.loads(line)["id"] for line in stack.sh(exporting).splitlines()] == [event_id]

    await eventually(exported, within_s=60, what="the dead letter as one line of JSON")


async def test_an_events_id_finds_its_lines_of_both_services_within_seconds(
    stack: Stack, http: aiohttp.ClientSession, api_key: str
) -> None:
    event_id = await post(
        http, stack, "/events", b"{}", X_Api_Key=api_key, Idempotency_Key="0198f3c2-4d5e-7abc-8def-01"
    )

    async def found() -> bool:
        lines = await lines_of(http, stack, f'event_id:="{event_id}"')
        return {(line["service.name"], line["event"]) for line in lines} == {
            ("eventflow-collector", "event.accepted"),
            ("eventflow-processor", "delivery.attempted"),
        }

    await eventually(found, within_s=VISIBLE_WITHIN_S, what="one line of each service")
    # The id alone finds them too, as an operator pastes it into the page.
    assert len(await lines_of(http, stack, event_id)) == 2


async def test_every_query_of_the_guide_and_of_the_dashboard_finds_lines(
    stack: Stack, http: aiohttp.ClientSession, api_key: str
) -> None:
    event_id = await post(http, stack, "/events", b"{}", X_Api_Key=api_key)
    await post(http, stack, "/events/refusing", b"{}")
    guide = (stack.directory / "README.md").read_text()
    dashboard = json.loads((stack.directory / "grafana/logs/victorialogs.json").read_text())
    in_guide = re.findall(r"^\| `([^`]+:[^`]+)` \|", guide, re.MULTILINE)
    in_dashboard = [panel["targets"][0]["expr"] for panel in dashboard["panels"]]
    queries = [
        *(query.replace("\\|", "|").replace("ID", event_id) for query in in_guide),
        *(query.replace("$event_id", event_id) for query in in_dashboard),
    ]
    assert len(queries) == 6
    for query in queries:

        async def found(query: str = query) -> bool:
            return bool(await lines_of(http, stack, query))

        await eventually(found, what=query)


async def test_no_line_is_lost_while_the_log_store_is_away_for_a_minute(
    stack: Stack, http: aiohttp.ClientSession, api_key: str
) -> None:
    sent = []
    began_s = time.monotonic()
    stack.sh("docker compose kill victorialogs")
    while time.monotonic() - began_s < AWAY_S:
        sent.append(await post(http, stack, "/events", b"{}", X_Api_Key=api_key, Idempotency_Key=f"away-{len(sent)}"))
        if len(sent) == LOAD_PER_S * AWAY_S / 2:
            # The reader of the log files is killed as well: it keeps on its disk the lines that it has not delivered.
            await asyncio.to_thread(
                stack.sh, "docker compose kill otel-collector && docker compose start otel-collector"
            )
        await asyncio.sleep(1 / LOAD_PER_S)
    stack.sh("docker compose start victorialogs")
    found: list[dict[str, str]] = []

    async def all_there() -> bool:
        found[:] = await lines_of(http, stack, 'event_id:"away-"* | fields event_id, event')
        return {(line["event_id"], line["event"]) for line in found} >= {
            (event_id, event) for event_id in sent for event in ("event.accepted", "delivery.attempted")
        }

    await eventually(all_there, within_s=120, what=lambda: f"{2 * len(sent)} lines, found {len(found)}")
    print(f"{len(sent)} events, {len(found)} lines")  # noqa: T201 - the figure of this trial
