"""The operations of the API: the address, the handler and the description of each, in one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp.typedefs import Handler

from eventflow_console.api import attempts, dead, description, events, flows, orders

PREFIX: Final = "/api/v1"

_CUT_SHORT: Final = "An answer that an error cuts short has no last chunk, so that a client can detect it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. An id is a parameter and never a part of the path, because it can have a slash.

    Attributes:
        name: Its `operationId`.
        path: Its path behind `PREFIX`.
        description: More than the summary; may be empty.
        parameters: Names in `schemas.PARAMETERS`.
        answer: Name of the schema of the answer, or of a line of it.
        is_long: Whether the answer is NDJSON.
        body: Name of the schema of the body; None without a body.
        refused: Statuses of problems, beside those that each operation can have.
    """

    name: str
    handler: Handler
    method: str
    path: str
    tag: str
    summary: str
    answer: str
    description: str = ""
    status: int = 200
    is_long: bool = False
    parameters: Sequence[str] = ()
    body: str | None = None
    refused: Sequence[int] = ()


OPERATIONS: Final = (
    Operation(
        name="getFlows",
        handler=flows.get_flows,
        method="get",
        path="/flows",
        tag="flows",
        summary="Get the present state of all flows.",
        answer="Flows",
    ),
    Operation(
        name="getMinutes",
        handler=flows.get_minutes,
        method="get",
        path="/minutes",
        tag="flows",
        summary="Get the past of a flow, in equal steps of time.",
        parameters=("flow", "range"),
        answer="Minutes",
    ),
    Operation(
        name="getEvent",
        handler=events.get_event,
        method="get",
        path="/event",
        tag="events",
        summary="Get everything that is known of an event.",
        description="The history, the memory of each processor and the first dead letters are searched, and no waiting "
        "queue.",
        parameters=("id", "flow"),
        answer="Event",
    ),
    Operation(
        name="listAttempts",
        handler=attempts.get_attempts,
        method="get",
        path="/attempts",
        tag="events",
        summary="List attempts of a flow, the newest first.",
        parameters=(*attempts.SELECTION, "after", "limit"),
        answer="AttemptsPage",
    ),
    Operation(
        name="streamAttempts",
        handler=attempts.stream_attempts,
        method="get",
        path="/attempts.ndjson",
        tag="events",
        summary="Get all attempts of a selection, one in each line.",
        description=f'If more follow than `limit` allows, the last line is `{{"next": ADDRESS}}`. {_CUT_SHORT}',
        parameters=(*attempts.SELECTION, "after", "rows"),
        answer="Attempt",
        is_long=True,
    ),
    Operation(
        name="listDeadLetters",
        handler=dead.list_letters,
        method="get",
        path="/dead",
        tag="dead letters",
        summary="List the first dead letters of a selection, the oldest first, without their bodies.",
        parameters=("flow", *dead.CONDITIONS, "limit"),
        answer="DeadLettersPage",
        refused=(409,),
    ),
    Operation(
        name="countDeadLetters",
        handler=dead.count_letters,
        method="get",
        path="/dead/count",
        tag="dead letters",
        summary="Count the dead letters of a selection, as before a replay.",
        parameters=("flow", *dead.CONDITIONS),
        answer="DeadCount",
        refused=(409,),
    ),
    Operation(
        name="exportDeadLetters",
        handler=dead.export_letters,
        method="post",
        path="/export",
        tag="dead letters",
        summary="Get all dead letters of a selection, one in each line.",
        description=f"They stay in the queue. `eventflow dead replay --from FILE` sends them again. {_CUT_SHORT}",
        body="ExportOrder",
        answer="DeadLetter",
        is_long=True,
        refused=(409,),
    ),
    Operation(
        name="replayDeadLetters",
        handler=dead.replay_letters,
        method="post",
        path="/replay",
        tag="dead letters",
        summary="Start to send the dead letters of a selection again.",
        description="It continues in the background. `getReplay` has its progress.",
        body="ReplayOrder",
        answer="Job",
        status=202,
        refused=(409,),
    ),
    Operation(
        name="getReplay",
        handler=dead.get_job,
        method="get",
        path="/replay",
        tag="dead letters",
        summary="Get the progress of a replay.",
        parameters=("job",),
        answer="Job",
    ),
    Operation(
        name="cancelReplay",
        handler=dead.cancel_job,
        method="post",
        path="/replay/cancel",
        tag="dead letters",
        summary="End a replay. Events that were sent stay sent, and the other dead letters stay in the queue.",
        body="CancelOrder",
        answer="Job",
    ),
    Operation(
        name="listReplays",
        handler=dead.list_jobs,
        method="get",
        path="/replays",
        tag="dead letters",
        summary="List the latest replays, the newest first.",
        parameters=("flow",),
        answer="JobsPage",
    ),
    Operation(
        name="pauseFlow",
        handler=orders.pause,
        method="post",
        path="/pause",
        tag="orders",
        summary="Pause a flow: nothing is sent to its target.",
        body="FlowOrder",
        answer="Overrides",
    ),
    Operation(
        name="resumeFlow",
        handler=orders.resume,
        method="post",
        path="/resume",
        tag="orders",
        summary="Resume a flow.",
        body="FlowOrder",
        answer="Overrides",
    ),
    Operation(
        name="setRate",
        handler=orders.set_rate,
        method="post",
        path="/rate",
        tag="orders",
        summary="Set the rate of a flow in place of the one in the settings.",
        body="RateOrder",
        answer="Overrides",
    ),
    Operation(
        name="listActions",
        handler=attempts.get_actions,
        method="get",
        path="/actions",
        tag="orders",
        summary="List the latest actions of operators, the newest first.",
        parameters=("flow", "limit"),
        answer="ActionsPage",
    ),
    Operation(
        name="describe",
        handler=description.get_description,
        method="get",
        path="/openapi.json",
        tag="about",
        summary="Get this description.",
        answer="Description",
    ),
)
