"""Policies that a broker applies to our queues. They are watched, because they can delete accepted events.

The arguments of a queue do not protect it: for a time to live, a length or a delivery limit the smaller value of
argument and policy counts, and the `overflow` of a policy wins. Policies of our own (`topology.SHIELDS`) keep other
policies away. Operator policies are merged into the policy that applies, so they can only be detected (ADR 18).
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog

from eventflow.errors import ManagementError
from eventflow.management.api import Management
from eventflow.topology import NO_DELIVERY_LIMIT, SHIELDS, flow_of

LOOK_EVERY_S = 60.0
FIRST_PAUSE_S = 5.0
"""RabbitMQ updates the management API every 5 s. Until then a new queue is missing there, or has no policy yet."""

NOT_SET = "EVENTFLOW_BROKER__MANAGEMENT_URL is not set"
COLUMNS = ("name", "policy", "operator_policy", "effective_policy_definition")
SHOWN_MAX = 20
VALUE_MAX_CHARACTERS = 60

_DELETING = frozenset(
    {"message-ttl", "expires", "max-length", "max-length-bytes", "max-age", "overflow", "delivery-limit"}
)
SHIELD_NAMES = frozenset(spec.name for spec in SHIELDS)

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Danger:
    """One setting that takes effect on a queue and can delete its messages.

    Attributes:
        flow: The flow of the queue.
        queue: The queue.
        key: The setting, such as `message-ttl`.
        value: Its value, for people.
        policy: The policy that sets it, for people: `policy 'x'`. Both are named if it can be either of two.
    """

    flow: str
    queue: str
    key: str
    value: str
    policy: str

    def __str__(self) -> str:
        return f"{self.policy} sets {self.key} = {self.value} on {self.queue}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The result of one check of the policies of some flows' queues.

    Attributes:
        queues: Number of queues that were checked.
        dangers: Settings that can delete messages.
        unshielded: Queues to which no policy of ours applies.
        unknown: Queues without an entry for policies in the management API yet.
    """

    queues: int = 0
    dangers: tuple[Danger, ...] = ()
    unshielded: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def judge(queues: Iterable[Mapping[str, Any]], flows: Collection[str]) -> Look:
    """Judge a list of queues from the management API, which may contain anything. Pure."""
    dangers: list[Danger] = []
    unshielded, unknown = [], []
    count = 0
    for queue in queues:
        name = queue.get("name")
        flow = flow_of(name) if isinstance(name, str) else None
        if not isinstance(name, str) or flow is None or flow not in flows:
            continue
        count += 1
        if "effective_policy_definition" not in queue:
            unknown.append(name)
            continue
        if not _is_ours(queue.get("policy")):
            unshielded.append(name)
        dangers += _dangers_of(flow, name, queue)
    return Look(queues=count, dangers=tuple(dangers), unshielded=tuple(unshielded), unknown=tuple(unknown))


async def look(management: Management, flows: Collection[str]) -> Look:
    """Read and judge the policies that take effect on the queues of these flows.

    Raises:
        ManagementError: They cannot be read now, or no queue of these flows is listed.
    """
    seen = judge(await management.queues(columns=COLUMNS), flows)
    if not seen.queues:
        raise ManagementError(f"no queue of ours is listed in the virtual host {management.vhost!r}")
    return seen


class PolicyWatch:
    """Checks the policies at the start and every minute. Nothing depends on it; its failures are only reported."""

    def __init__(
        self, management: Management | None, *, flows: Collection[str], on_look: Callable[[Look | None], None]
    ) -> None:
        """Prepare; nothing connects before `run`.

        Args:
            management: The management API; None if it is not configured.
            flows: The queues of these flows are watched.
            on_look: Called with the result of each check; None if it failed.
        """
        self._management = management
        self._flows = flows
        self._on_look = on_look
        self._dangers: tuple[Danger, ...] = ()
        self._unseen: str | None = NOT_SET if management is None else "not yet"

    @property
    def details(self) -> dict[str, Any]:
        """Details for /readyz. `unseen` is the reason for which the policies are unknown, null if they are known."""
        return {"unseen": self._unseen, "dangerous": [str(danger) for danger in self._dangers[:SHOWN_MAX]]}

    async def run(self) -> NoReturn:
        """Check until cancelled: more often at first, then every minute."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._on_look(await self._look())
            await asyncio.sleep(pause_s)
            pause_s = min(LOOK_EVERY_S, 2 * pause_s)

    async def _look(self) -> Look | None:
        if self._management is None:
            self._note_unseen(NOT_SET)
            return None
        try:
            seen = await look(self._management, self._flows)
        except ManagementError as error:
            self._note_unseen(str(error))
            return None
        self._note(seen)
        return seen

    def _note_unseen(self, reason: str) -> None:
        if reason != self._unseen:
            log.warning("policies.unseen", reason=reason)
        self._unseen = reason

    def _note(self, seen: Look) -> None:
        self._unseen = None
        for danger in seen.dangers:
            if danger not in self._dangers:
                log.error(
                    "policy.dangerous",
                    flow=danger.flow,
                    queue=danger.queue,
                    policy=danger.policy,
                    key=danger.key,
                    value=danger.value,
                )
        if self._dangers and not seen.dangers:
            log.info("policies.harmless", flows=list(self._flows))
        self._dangers = seen.dangers


def _dangers_of(flow: str, name: str, queue: Mapping[str, Any]) -> Iterable[Danger]:
    definition = queue["effective_policy_definition"]
    if not isinstance(definition, dict):  # RabbitMQ sometimes encodes an empty object as an empty list
        return
    for key in sorted(_DELETING & definition.keys()):
        if not _is_harmless(key, definition[key]):
            policy = _origin(queue.get("policy"), queue.get("operator_policy"))
            yield Danger(flow=flow, queue=name, key=key, value=_shown(definition[key]), policy=policy)


def _is_ours(policy: object) -> bool:
    return isinstance(policy, str) and policy in SHIELD_NAMES


def _is_harmless(key: str, value: object) -> bool:
    if key == "overflow":
        return value == "reject-publish"
    return key == "delivery-limit" and isinstance(value, int) and value >= NO_DELIVERY_LIMIT


def _origin(policy: object, operator_policy: object) -> str:
    """Name the policy that sets a harmful value. It is not ours if there is another one."""
    if operator_policy and _is_ours(policy):
        policy = None
    named = [("policy", policy), ("operator policy", operator_policy)]
    return " or ".join(f"{kind} {_shown(name)}" for kind, name in named if name) or "an unnamed policy"


def _shown(value: object) -> str:
    return repr(value)[:VALUE_MAX_CHARACTERS] if isinstance(value, str | int | float) else type(value).__name__
