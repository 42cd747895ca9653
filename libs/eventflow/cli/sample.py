"""`eventflow source test`: a sample request as the sender of a flow would send it, and its result."""

import asyncio
import json
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

import aiohttp
import typer

from eventflow.cli.assembly import command, new_group
from eventflow.cli.console import out, print_json, printable
from eventflow.cli.options import ConfigOption, FlowArgument, JsonOption, config_of, environ_of, one_flow_of
from eventflow.cli.why import lines_of, state_of
from eventflow.errors import EventFlowError
from eventflow.event import new_event_id, utc_now
from eventflow.network.failure import detail_of, explained
from eventflow.network.host import host_and_port
from eventflow.network.listener import reachable_hosts
from eventflow.operations.events import document_of
from eventflow.senders.sample import Sample, sample_of
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.topology import DEFAULT_FLOW

ANSWER_TIMEOUT_S = 10.0
ANSWER_SHOWN_MAX = 2000

app = new_group("Test the sender of a flow.")


@command(app, "test")
def send_sample(
    context: typer.Context,
    flow: FlowArgument = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Address of the flow; by default the collector on this machine."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Send a sample request as the sender of a flow would, and show its result.

    The request is signed with the flow's secret, so the command needs the settings of the collector. The sample is an
    event of the type `sample`: it goes to the target. The exit status is 1 if the collector refuses it.
    """
    settings = load(config_of(context, config), Role.COLLECTOR, environ_of(context, config))
    name = one_flow_of(settings, flow)
    sample = _sample(settings, name, f"sample-{new_event_id()}")
    address = url or _address(settings, name)
    status, text = asyncio.run(_send(address, sample))
    is_accepted = status < HTTPStatus.MULTIPLE_CHOICES
    event_id = (_id_in(text) or sample.event_id) if is_accepted else None
    state = None if event_id is None else state_of(settings, name, event_id)
    if as_json:
        event = None if state is None else document_of(state)
        print_json({"url": address, "status": status, "answer": text, "id": event_id, "event": event})
    else:
        known = [] if state is None else lines_of(state, settings.history)
        lines = [f"POST {address}: {status} {text}".rstrip(), *known]
        for line in lines if is_accepted else [*lines, _ADVICE]:
            out.print(printable(line), soft_wrap=True)
    sys.exit(0 if is_accepted else 1)


_ADVICE = "The log event event.rejected of the collector, and eventflow_events_rejected_total, have the reason."


def _sample(settings: Settings, flow: str, event_id: str) -> Sample:
    """Make the request.

    Raises:
        EventFlowError: It cannot be made here.
    """
    source = settings.all_flows[flow].source
    sender = settings.sender_of(source)
    url = source.public_url or f"http://127.0.0.1{_path_of(flow)}"
    if sender is None:
        sample = Sample(url=url, event_id=event_id, document={"id": event_id, "type": "sample"})
        sample.headers |= {"Content-Type": "application/json", "ce-id": event_id, "ce-type": "sample"}
    else:
        secrets = [secret.get_secret_value() for secret in source.secrets]
        sample = sample_of(sender, secrets=secrets, url=url, event_id=event_id, now=utc_now())
    if source.api_keys:
        sample.headers["X-Api-Key"] = source.api_keys[0].get_secret_value()
    return sample


def _path_of(flow: str) -> str:
    return "/events" if flow == DEFAULT_FLOW else f"/events/{flow}"


def _address(settings: Settings, flow: str) -> str:
    collector = settings.collector
    place = host_and_port(reachable_hosts(collector.host)[0], collector.port)
    return f"http://{place}{_path_of(flow)}"


async def _send(address: str, sample: Sample) -> tuple[int, str]:
    """Send the request; return the status and the text of its answer.

    Raises:
        EventFlowError: There is no answer.
    """
    target = f"{address}{sample.sub_path}"
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as client,
            client.post(target, params=sample.query, headers=sample.headers, data=sample.body) as answer,
        ):
            return answer.status, (await answer.content.read(ANSWER_SHOWN_MAX)).decode(errors="replace")
    except TimeoutError as error:  # aiohttp's is one too
        raise _no_answer(address, f"none within {ANSWER_TIMEOUT_S:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _no_answer(address, explained(detail_of(error))) from error


def _no_answer(address: str, cause: str) -> EventFlowError:
    return EventFlowError(f"no answer from {address} ({cause}): start the collector, or give its address by --url")


def _id_in(answer: str) -> str | None:
    try:
        document = json.loads(answer)
    except ValueError:
        return None
    found = document.get("id") if isinstance(document, Mapping) else None
    return found if isinstance(found, str) else None
