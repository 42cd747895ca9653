"""CloudEvents from their sender to the target, in each mode and each format: all of their attributes arrive."""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from tests.e2e.conftest import Way
from tests.support.services import API_KEY
from tests.support.target import Receipt
from tests.support.wait import eventually

Start = Callable[..., Awaitable[Way]]

CONFORMANCE = Path(__file__).parent.parent / "data" / "cloudevents"
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
FORMATS = pytest.mark.parametrize("target_format", ["raw", "cloudevents"])

LONG = "/blobServices/default/containers/images/blobs/" + "n" * 254 + "9.41\u202fPM.png"
ATTRIBUTES = {
    "specversion": "1.0",
    "source": "/subscriptions/" + "s" * 1000,
    "type": "Microsoft.Storage.BlobCreated",
    "time": "2026-12-31T10:00:00Z",
    "subject": LONG,
    "dataschema": "https://example.com/schemas/blob?v=1",
}
EXTENSIONS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "partitionkey": "ü 1%"}
TYPED = {"sampled": True, "rank": -7}
DATA = {"url": "https://example.com/ü", "size": 1.10}


@FORMATS
async def test_all_attributes_arrive_from_each_mode_in_each_format(way: Start, target_format: str) -> None:
    running = await way(TARGET__FORMAT=target_format)
    leap = {"id": "binary", "time": "2026-12-31t23:59:60z"}
    binary = {f"ce-{name}": _in_header(value) for name, value in {**ATTRIBUTES, **EXTENSIONS, **leap}.items()}
    await _post(running, {**binary, "Content-Type": "application/json; charset=utf-8"}, json.dumps(DATA).encode())
    structured = {
        **ATTRIBUTES,
        **EXTENSIONS,
        **TYPED,
        "datacontenttype": "application/json; charset=utf-8",
        "data": DATA,
    }
    await _post(running, {"Content-Type": STRUCTURED}, json.dumps({**structured, "id": "structured"}).encode())
    batch = json.dumps([{**structured, "id": f"batch-{number}"} for number in range(2)])
    await _post(running, {"Content-Type": BATCH}, batch.encode())
    ids = {"binary", "structured", "batch-0", "batch-1"}
    await eventually(lambda: running.target.ids == ids, what="all events at the target")
    for receipt in running.target.receipts:
        event = _read(receipt)
        assert event.get_source() == ATTRIBUTES["source"]
        assert event.get_subject() == LONG
        assert event.get_dataschema() == ATTRIBUTES["dataschema"]
        assert event.get_datacontenttype() == "application/json; charset=utf-8"
        assert event.get_data() == DATA
        typed = {} if receipt.id == "binary" else TYPED
        extensions = {**EXTENSIONS, **typed}
        assert {name: event.get_extension(name) for name in extensions} == extensions
        if target_format == "raw":
            assert receipt.headers["ce-partitionkey"] == "%C3%BC%201%25"
            assert receipt.headers["ce-time"].startswith(
                "2026-12-31T23:59:59.999Z" if receipt.id == "binary" else "2026"
            )
            assert receipt.headers.get("ce-rank", "-7") == "-7"


@FORMATS
async def test_the_conformance_events_arrive_and_those_of_an_older_version_are_refused(
    way: Start, target_format: str
) -> None:
    running = await way(TARGET__FORMAT=target_format)
    wanted: dict[str, dict[str, Any]] = {}
    for number, (event, mode) in enumerate(_events("v1.yaml", "v1_minimum.yaml")):
        attributes = {**event["ContextAttributes"], "id": f"{event['ContextAttributes']['id']}-{number}"}
        wanted[attributes["id"]] = {**event, "ContextAttributes": attributes}
        await _post(running, *_request(wanted[attributes["id"]], mode))
    for event, mode in _events("v03.yaml", "v03_minimum.yaml"):
        await _post(running, *_request(event, mode), status=400)
    await eventually(lambda: running.target.ids == wanted.keys(), what="all events at the target")
    for receipt in running.target.receipts:
        _require_same(receipt, wanted[receipt.id]["ContextAttributes"], wanted[receipt.id]["Data"])


async def test_the_requests_of_the_conformance_features_have_the_stated_attributes(way: Start) -> None:
    running = await way(TARGET__FORMAT="cloudevents")
    scenarios = list(_scenarios((CONFORMANCE / "http-protocol-binding.feature").read_text()))
    assert len(scenarios) == 4
    for headers, body, attributes, data in scenarios:
        await _post(running, headers, body)
        await eventually(lambda: bool(running.target.receipts), what="the event")
        _require_same(running.target.receipts.pop(), attributes, data)


def _read(receipt: Receipt) -> Any:
    """Read an event. By the HTTP binding the content type decides the mode first; the SDK looks for `ce-` headers."""
    content_type = receipt.headers["Content-Type"]
    headers = {"Content-Type": content_type} if content_type.startswith(STRUCTURED) else dict(receipt.headers)
    return from_http_event(HTTPMessage(headers=headers, body=receipt.body))


def _in_header(value: str) -> str:
    """Percent-encode as section 3.1.3.2 of the HTTP binding requires."""
    return re.sub(r"[^!#$&-~]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), value)


async def _post(running: Way, headers: Mapping[str, str], body: bytes, *, status: int = 202) -> None:
    given = {"X-Api-Key": API_KEY, **headers}
    async with running.http.post(running.collector.url, data=body, headers=given) as answer:
        assert answer.status == status, await answer.text()


def _require_same(receipt: Receipt, attributes: Mapping[str, Any], data: str) -> None:
    """Compare an event with its description. Times are compared as moments, JSON as values."""
    event = _read(receipt)
    for name, value in attributes.items():
        match name:
            case "Extensions":
                assert {each: event.get_extension(each) for each in value} == _stripped(value)
            case "time":
                assert event.get_time().isoformat() == str(value).replace("Z", "+00:00")
            case "id":
                assert event.get_id().startswith(value)
            case _:
                assert event.get_attributes()[name] == str(value)
    got = event.get_data()
    if isinstance(got, bytes):
        got = got.decode()
    assert got == (json.loads(data) if not isinstance(got, str) or data.lstrip().startswith('"') else data)


def _events(*names: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each event of the files with its mode; those without a mode in both."""
    for name in names:
        for event in yaml.load_all((CONFORMANCE / name).read_text(), Loader=yaml.BaseLoader):
            for mode in [event["Mode"]] if "Mode" in event else ["binary", "structured"]:
                yield event, mode


def _request(event: Mapping[str, Any], mode: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of an event, as the command of the conformance tests makes them."""
    attributes = {name: value for name, value in event["ContextAttributes"].items() if name != "Extensions"}
    attributes = _stripped({**attributes, **event["ContextAttributes"].get("Extensions", {})})
    content_type = attributes.get("datacontenttype", "application/json")
    headers = dict(event.get("TransportExtensions", {}))
    if mode == "structured":
        data = json.loads(event["Data"]) if "json" in content_type else event["Data"]
        return {**headers, "Content-Type": f"{STRUCTURED}; charset=UTF-8"}, json.dumps(
            {**attributes, "data": data}
        ).encode()
    attributes.pop("datacontenttype", None)
    binary = {f"ce-{name}": value for name, value in attributes.items()}
    return {**headers, **binary, "Content-Type": content_type}, event["Data"].encode()


def _stripped(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value.strip() for name, value in values.items()}


def _scenarios(feature: str) -> Iterator[tuple[dict[str, str], bytes, dict[str, str], str]]:
    """Yield headers and body of each request, the attributes that it must have, and its data."""
    for scenario in feature.split("Scenario Outline:")[1:]:
        request, data = (_dedented(text) for text in scenario.split('"""')[1::2])
        attributes = dict(re.findall(r"\| +([a-z]+) \| +(.+?) +\|", scenario))
        for content_type in re.findall(r"^    \| (\S.*?) +\|$", scenario.partition("Examples:")[2], re.MULTILINE)[1:]:
            head, _, body = request.replace("<contentType>", content_type).partition("\n\n")
            headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
            del headers["Host"], headers["Content-Length"]
            filled = {name: value.replace("<contentType>", content_type) for name, value in attributes.items()}
            yield headers, body.encode(), filled, data


def _dedented(text: str) -> str:
    lines: Iterable[str] = text.strip("\n").splitlines()
    return "\n".join(line[8:] for line in lines).strip()
