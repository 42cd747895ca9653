"""The demands that a flow makes on its senders, and the queue of its events. Pure."""

from dataclasses import dataclass

from eventflow.senders.table import SENDERS
from eventflow.senders.vocabulary import Hmac, Sender
from eventflow.settings.root import Settings
from eventflow.settings.source import SourceSettings
from eventflow.topology import Lane, lane_queue
from eventflow_collector.intake.mode import Mode
from eventflow_collector.senders.identity import Identity
from eventflow_collector.senders.signature import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of the requests of a flow."""

    body_bytes: int
    batch_events: int
    batch_bytes: int

    def for_body_of(self, mode: Mode) -> int:
        """Return the largest number of bytes of a whole body."""
        return self.batch_bytes if mode.is_batch else self.body_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow from the view of its requests.

    Attributes:
        api_keys: One of them must be in the header `X-Api-Key`; empty if none is needed.
        verifier: The check of signatures; None if none is needed.
        identity: Finds an event's attributes in a request.
    """

    name: str
    queue: str
    api_keys: tuple[bytes, ...]
    verifier: Verifier | None
    identity: Identity
    limits: Limits


def flow_of(name: str, settings: Settings) -> Flow:
    """Prepare a flow for its requests."""
    source = settings.all_flows[name].source
    sender = settings.sender_of(source)
    return Flow(
        name=name,
        queue=lane_queue(name, Lane.LIVE),
        api_keys=tuple(key.get_secret_value().encode() for key in source.api_keys),
        verifier=None if sender is None else _verifier_of(sender, source),
        identity=Identity(SENDERS.values(), verified=sender),
        limits=Limits(
            body_bytes=source.max_body_bytes,
            batch_events=source.max_batch_events,
            batch_bytes=source.max_batch_bytes,
        ),
    )


def _verifier_of(sender: Sender, source: SourceSettings) -> Verifier:
    signature = next(scheme for scheme in sender.authentication if isinstance(scheme, Hmac))
    secrets = [secret.get_secret_value() for secret in source.secrets]
    return Verifier(signature, secrets=secrets, tolerance_s=source.tolerance_s)
