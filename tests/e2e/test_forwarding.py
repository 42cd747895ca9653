"""Headers and queries of senders on the whole way: retries, dead letters, exports and replays keep them."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from multidict import CIMultiDict
from yarl import URL

from tests.e2e.conftest import Way
from tests.support.cli import Command
from tests.support.services import API_KEY
from tests.support.target import Receipt
from tests.support.wait import eventually

Start = Callable[..., Awaitable[Way]]

SOURCE = {"FORWARD_HEADERS": "X-Shopify-*,x-signature,X-Operator", "FORWARD_QUERY": "true"}
SENT = {
    "X-Shopify-Topic": "orders/create",
    "X-Shopify-Hmac-Sha256": "a secret of another pattern",
    "X-Signature": "s3cret-signature",
    "X-Operator": "forged",
    "X-Other": "not in the list",
    "Cookie": "a=b",
}
OPERATOR = {"X-Operator": "ours", "Authorization": "Bearer ours"}


async def _post(running: Way, event_id: str, *, query: str = "?a=%2F&b=1", body: bytes = b"{}", **more: str) -> None:
    headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id, **SENT, **more}
    url = URL(f"{running.collector.url}{query}", encoded=True)
    async with running.http.post(url, data=body, headers=headers) as answer:
        assert answer.status == 202, await answer.text()


def _require_forwarded(receipt: Receipt, *, path: str = "/hook?a=%2F&b=1") -> None:
    headers = CIMultiDict(receipt.headers)
    shown: Mapping[str, str] = {name: headers.get(name, "") for name in (*SENT, *OPERATOR)}
    assert shown == {
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Hmac-Sha256": "",
        "X-Signature": "s3cret-signature",
        "X-Other": "",
        "Cookie": "",
        **OPERATOR,
    }
    assert receipt.path == path


@pytest.mark.parametrize("client", ["lean", "aiohttp"])
async def test_forwarded_parts_survive_retries_dead_letters_exports_and_replays(
    way: Start, broker_url: str, flow: str, tmp_path: Path, client: str
) -> None:
    running = await way(SOURCE, TARGET__MAX_ATTEMPTS="2", TARGET__CLIENT=client, TARGET__HEADERS=json.dumps(OPERATOR))
    running.target.answer = lambda _: 422
    for event_id in ("one", "two"):
        await _post(running, event_id)
    eventflow = Command(broker_url=broker_url, flow=flow)

    async def are_dead() -> bool:
        return "2 shown of 2" in (await eventflow("dead", "list")).stdout

    await eventually(are_dead, what="the dead letters")
    assert len(running.target.receipts) == 4
    for receipt in running.target.receipts:
        _require_forwarded(receipt)

    for option in ((), ("--json",)):
        hidden = (await eventflow("dead", "show", "one", *option)).stdout
        assert "x-shopify-topic" in hidden
        assert "s3cret" not in hidden
        assert "a=%2F" not in hidden
        shown = (await eventflow("dead", "show", "one", "--forwarded", *option)).stdout
        assert "s3cret-signature" in shown
        assert "a=%2F&b=1" in shown

    running.target.answer = lambda _: 200
    file = tmp_path / "dead.ndjson"
    assert (await eventflow("dead", "export", str(file))).status == 0
    lines = [line for line in file.read_text().splitlines() if '"one"' in line]
    file.write_text("\n".join(lines))
    assert "replayed 1 of 1 lines" in (await eventflow("dead", "replay", "--from", str(file))).stdout
    assert "replayed 1 of 1" in (await eventflow("dead", "replay", "--all")).stdout
    await eventually(lambda: len(running.target.taken) == 2, what="both again")
    for receipt in running.target.taken:
        _require_forwarded(receipt)


async def test_each_event_of_a_batch_has_the_parts_of_its_request(way: Start) -> None:
    running = await way(SOURCE, TARGET__FORMAT="cloudevents", TARGET__HEADERS=json.dumps(OPERATOR))
    json_type = {"Content-Type": "application/json"}
    await _post(running, "b", query="?batch=1&tenant=7", body=b"[1,2]", **json_type)
    await eventually(lambda: running.target.ids == {"b-0", "b-1"}, what="both events")
    for receipt in running.target.receipts:
        _require_forwarded(receipt, path="/hook?tenant=7")


async def test_parts_that_are_too_large_are_left_out_logged_and_counted_and_the_event_arrives(way: Start) -> None:
    running = await way(SOURCE)
    large = {f"X-Shopify-{number}": "x" * 7000 for number in range(3)}
    await _post(running, "large", **large)
    await _post(running, "small")
    await eventually(lambda: running.target.ids == {"large", "small"}, what="both events")
    [receipt] = running.target.of("large")
    headers = CIMultiDict(receipt.headers)
    assert [name for name in large if name in headers] == ["X-Shopify-0", "X-Shopify-1"]
    assert headers["X-Shopify-Topic"] == "orders/create"
    await running.collector.counts(running.http, "eventflow_forwarding_cut_total", 1)
    [line] = await running.collector.logs("event.forwarding_cut")
    assert (line["event_id"], line["events"]) == ("large", 1)


async def test_a_flow_forwards_nothing_unless_it_is_told_to(way: Start) -> None:
    running = await way()
    await _post(running, "plain")
    await eventually(lambda: running.target.ids == {"plain"}, what="the event")
    [receipt] = running.target.receipts
    assert receipt.path == "/hook"
    assert not SENT.keys() & CIMultiDict(receipt.headers).keys()
