"""The views of operators, on real services under load: metrics, dashboards, alerts, exemplars, the status in words.

One run serves all tests: a flow with failures of every kind, whose collector loses its broker for a while, scraped by a
real Prometheus.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sandbox.broker.line import Line
from sandbox.broker.node import PrivateNode
from sandbox.ports import LOOPBACK, free_port
from tests.support.cli import Command, Ended
from tests.support.databases import empty_database
from tests.support.nodes import running_node
from tests.support.otlp import OtlpReceiver
from tests.support.outbox import ids, make_outbox, put_rows
from tests.support.prometheus import DEPLOY, Prometheus, Series, alert_rules, gather_by, program
from tests.support.running_time import running_s
from tests.support.services import API_KEY, Service, collector, console, processor, relay
from tests.support.target import Answer, Receipt, ScriptedTarget
from tests.support.wait import eventually

FLOW = "observed"
HANDLED = "handled"
EMITTED = "emitted"
"""Flow of the events in the outbox."""

RATE_PER_S = 40
ARRIVAL_PER_S = 80
LOAD_S = 8.0
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

STILL = {
    "Consumers",
    "Paused",
    "Processors that share the quota",
    "RabbitMQ alarms",
    "RabbitMQ, free disk",
    "Services that answer",
}
"""Panels whose figures move only when processes come and go, an operator acts, or the machine has a problem. RabbitMQ
measures the free disk too rarely for the time of this run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The observations of a run."""

    expositions: Mapping[str, str]
    panels: Mapping[str, Sequence[Series]]
    variables: Mapping[str, Sequence[str]]
    alerts: Mapping[str, Sequence[Series]]
    rules: Sequence[Mapping[str, Any]]
    status: Ended
    trace_ids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel of a dashboard and its expressions in PromQL."""

    name: str
    expressions: tuple[str, ...]


def panels() -> Iterator[Panel]:
    for file in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            expressions = tuple(
                target["expr"] for target in panel["targets"] if target["datasource"]["type"] == "prometheus"
            )
            if expressions:
                yield Panel(name=f"{file.stem}: {panel['title']}", expressions=expressions)


def dashboards() -> Iterator[dict[str, Any]]:
    for file in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        yield json.loads(file.read_text())


VARIABLES = {
    variable["name"]: variable["query"]
    for dashboard in dashboards()
    for variable in dashboard["templating"]["list"]
    if variable["type"] == "query"
}
ANNOTATIONS = [annotation["expr"] for dashboard in dashboards() for annotation in dashboard["annotations"]["list"]]
PANELS = {panel.name: panel for panel in panels()}
ALERTS = {rule["alert"]: rule["expr"] for rule in alert_rules()}


def as_grafana_asks(expression: str) -> str:
    return expression.replace("$__rate_interval", "5s").replace("$flow", ".*")


def whatever_it_compares(expression: str) -> str:
    """Make comparisons answer 0 or 1, so that an alert's expression has values while nothing is wrong.

    Those behind `unless` stay as they are: they remove values, and with 0 or 1 they would remove all. An alert on an
    instance that is gone removes each instance that is here, so it is asked without `unless`. The load is shorter than
    the step of a subquery.
    """
    compared, unless, removed = expression.replace(":1m]", ":1s]").partition("unless")
    if removed.startswith(" on (instance)"):
        unless = removed = ""
    return re.sub(r" (==|!=|>=|<=|>|<) ", r" \1 bool ", compared) + unless + removed


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, node_directory: Path, database_server_url: str) -> Seen:
    """Run the flow and look at it."""
    program("prometheus")
    directory = tmp_path_factory.mktemp("observed")
    metrics_port = free_port()
    often = {"collect_statistics_interval": "1000"}
    with running_node(node_directory, metrics_port=metrics_port, settings=often) as node:
        return asyncio.run(observed(node, f"{LOOPBACK}:{metrics_port}", database_server_url, directory))


async def observed(node: PrivateNode, broker_metrics: str, database_server_url: str, directory: Path) -> Seen:
    async with AsyncExitStack() as stack:
        outbox = await stack.enter_async_context(empty_database(database_server_url))
        await make_outbox(outbox)
        line, target, receiver, http = [
            await stack.enter_async_context(part)
            for part in (Line(node.url), ScriptedTarget(), OtlpReceiver(), aiohttp.ClientSession())
        ]
        giving_settings = {
            "TARGET__RATE_PER_S": str(RATE_PER_S),
            "TARGET__MAX_ATTEMPTS": "2",
            "TARGET__RETRY_DELAYS_S": "0.5,3600",
            "BROKER__MANAGEMENT_URL": node.management_url,
            "HISTORY__URL": f"sqlite:///{directory / 'history.db'}",
            # A flow without events, for the metrics of handlers.
            f"FLOWS__{HANDLED.upper()}__HANDLER__CALL": "tests.support.handlers:without_database",
        }
        taking = collector(
            line.url,
            flow=FLOW,
            preloaded=False,  # Prometheus has to see how they come up
            COLLECTOR__SPOOL_DIR=str(directory / "spool"),
            COLLECTOR__CONFIRM_TIMEOUT_S="0.5",
            **receiver.environment,
        )
        giving = processor(
            node.url, flow=FLOW, target_url=target.url, preloaded=False, **giving_settings, **receiver.environment
        )
        showing = console(node.url, flow=FLOW)
        # Rarely enough for Prometheus to see rows that wait.
        relaying = relay(node.url, database_url=outbox, flows=[EMITTED], RELAY__POLL_S="1.5")
        prometheus = Prometheus.prepare(
            directory,
            {
                "eventflow-collector": taking.admin_url.removeprefix("http://"),
                "eventflow-processor": giving.admin_url.removeprefix("http://"),
                "eventflow-console": showing.admin_url.removeprefix("http://"),
                "eventflow-relay": relaying.admin_url.removeprefix("http://"),
                "rabbitmq": broker_metrics,
                "rabbitmq-queues": broker_metrics,
            },
        )
        services = (taking, giving, showing, relaying)
        for process in (*(service.process for service in services), prometheus.process):
            stack.enter_context(process)
        await asyncio.gather(*(service.ready(http) for service in services))
        await eventually(lambda: prometheus.ready(http), what="Prometheus")
        await eventually(lambda: prometheus.targets_up(http), what="all targets scraped")
        start_s = time.time()
        await asyncio.gather(loaded(http, taking, target, line), emitted(outbox))
        status = await Command(broker_url=node.url, flow=FLOW)(
            "status", **giving_settings, PROCESSOR__ADMIN_PORT=giving.admin_url.rsplit(":", 1)[1]
        )
        looked = Looked(prometheus=prometheus, http=http, start_s=start_s)
        await eventually(lambda: looked.has("max(rabbitmq_detailed_queue_messages) > 0"), what="RabbitMQ's own figures")
        for expression in ANNOTATIONS:
            await looked.has(expression)  # without values while no alert fires, but valid
        return Seen(
            expositions={service.admin_url: await exposition(http, service) for service in services},
            panels=await gather_by(
                list(PANELS), lambda name: looked.at(*map(as_grafana_asks, PANELS[name].expressions))
            ),
            variables=await gather_by(list(VARIABLES), lambda name: looked.offered(VARIABLES[name])),
            alerts=await gather_by(list(ALERTS), lambda name: looked.at(whatever_it_compares(ALERTS[name]))),
            rules=[r for g in (await prometheus.get(http, "rules"))["groups"] for r in g["rules"]],
            status=status,
            trace_ids=frozenset(span.trace_id for span in receiver.spans),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Questions about the time since the load began."""

    prometheus: Prometheus
    http: aiohttp.ClientSession
    start_s: float

    async def at(self, *expressions: str) -> list[Series]:
        series = []
        for expression in expressions:
            found = await self.prometheus.over(self.http, expression, start_s=self.start_s, end_s=time.time())
            assert found, f"no data: {expression}"
            series += found
        return series

    async def offered(self, query: str) -> list[str]:
        """Return the values that Grafana offers for a variable with a query such as `label_values(metric, label)`."""
        [(metric, label)] = re.findall(r"^label_values\((\w+), (\w+)\)$", query)
        return list(await self.prometheus.get(self.http, f"label/{label}/values", **{"match[]": metric}))

    async def has(self, expression: str) -> bool:
        return bool(await self.prometheus.over(self.http, expression, start_s=self.start_s, end_s=time.time()))


async def loaded(http: aiohttp.ClientSession, taking: Service, target: ScriptedTarget, line: Line) -> None:
    """Send more than the quota, some of it unauthenticated, with failures, an outage of each end, and a broker away."""
    target.answer = answer
    began_s = running_s()  # by the other clock the mend could come with the cut
    posts = {asyncio.create_task(post(http, taking, 0, body=slowly()))}
    cut = mended = False
    number = 1
    while (elapsed_s := running_s() - began_s) < LOAD_S:
        posts.add(asyncio.create_task(post(http, taking, number)))
        number += 1
        if not cut and elapsed_s > LOAD_S / 4:
            cut = True
            await line.cut()
        if not mended and elapsed_s > LOAD_S / 2:
            mended = True
            await line.mend()
        if elapsed_s > 0.7 * LOAD_S:
            target.answer = lambda _: 503
        await asyncio.sleep(1 / ARRIVAL_PER_S)
    statuses = await asyncio.gather(*posts)
    assert set(statuses) == {202, 401}


async def emitted(outbox: str) -> None:
    """Put events into the outbox, one of them into a flow that is not configured."""
    began_s = time.monotonic()
    await put_rows(outbox, ["lost"], flow="misspelt")
    number = 0
    while time.monotonic() - began_s < LOAD_S:
        await put_rows(outbox, ids(5, f"r{number}"), flow=EMITTED)
        number += 1
        await asyncio.sleep(0.2)


async def slowly() -> AsyncIterator[bytes]:
    """Send a body whose end takes a while."""
    yield b"{"
    await asyncio.sleep(LOAD_S / 4)
    yield b"}"


async def answer(receipt: Receipt) -> Answer:
    """Answer by the event's number: some fail once, some for good, one asks to wait; none at once."""
    await asyncio.sleep(0.2)
    number = int(receipt.id)
    if number % 10 == 3:
        return 422
    if receipt.attempt == 1 and number % 10 == 5:
        return 500
    if receipt.attempt == 1 and number % 50 == 7 and not number // 100:
        return web.Response(status=429, headers={"Retry-After": "0"})
    return 200


async def post(
    http: aiohttp.ClientSession, taking: Service, number: int, *, body: bytes | AsyncIterator[bytes] = b"{}"
) -> int:
    key = "wrong" if number % 20 == 1 else API_KEY
    headers = {"X-Api-Key": key, "Idempotency-Key": str(number)}
    async with http.post(taking.url, data=body, headers=headers) as response:
        return response.status


async def exposition(http: aiohttp.ClientSession, service: Service) -> str:
    async with http.get(f"{service.admin_url}/metrics", headers={"Accept": OPENMETRICS}) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        return await response.text()


def test_every_metric_that_the_guide_names_is_on_the_services_and_no_other(seen: Seen) -> None:
    guide = re.findall(
        r"^\| `(eventflow_\w+)` \|", (DEPLOY.parent / "docs" / "operations.md").read_text(), re.MULTILINE
    )
    families = [family for text in seen.expositions.values() for family in text_string_to_metric_families(text)]
    exposed = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in families
        if family.name.startswith("eventflow_")
    }
    assert exposed == set(guide)
    assert all(family.documentation for family in families)


def test_latencies_lead_to_traces_that_were_exported(seen: Seen) -> None:
    exemplars = {
        family.name: sample.exemplar.labels["trace_id"]
        for text in seen.expositions.values()
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert set(exemplars) == {
        "eventflow_confirm_seconds",
        "eventflow_attempt_seconds",
        "eventflow_event_age_seconds",
        "eventflow_reorder_seconds",
    }
    assert set(exemplars.values()) <= seen.trace_ids


@pytest.mark.parametrize("name", list(PANELS))
def test_every_panel_has_data_that_moves(seen: Seen, name: str) -> None:
    values = [[value for _, value in series["values"]] for series in seen.panels[name]]
    assert values
    if name.split(": ")[1] not in STILL:
        assert any(len(set(numbers)) > 1 for numbers in values), f"nothing moves: {values}"


@pytest.mark.parametrize("name", list(VARIABLES))
def test_every_variable_offers_values(seen: Seen, name: str) -> None:
    assert FLOW in seen.variables[name]


@pytest.mark.parametrize("name", list(ALERTS))
def test_every_alerts_expression_has_data(seen: Seen, name: str) -> None:
    assert seen.alerts[name]


def test_no_expression_makes_up_data() -> None:
    texts = [file.read_text() for file in DEPLOY.glob("**/*") if file.suffix in {".json", ".yaml"}]
    assert not any(re.search(r"\b(vector|absent)\(", text) for text in texts)


def test_prometheus_evaluates_every_alert(seen: Seen) -> None:
    assert sorted(rule["name"] for rule in seen.rules) == sorted(ALERTS)
    assert {rule["health"] for rule in seen.rules} == {"ok"}


def test_status_says_in_words_how_the_backlog_goes_on(seen: Seen) -> None:
    assert re.search(
        r"never at this rate: [\d.]+/s in, [\d.]+/s out|in \d+ (s|min)|nothing waits", seen.status.stdout
    ), seen.status
