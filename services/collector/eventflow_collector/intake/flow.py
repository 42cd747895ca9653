"""The demands that a flow makes on its senders, and the queue of its events. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from eventflow.senders.table import SENDERS
from eventflow.senders.vocabulary import Answer, Sender, SubPath, Token
from eventflow.settings.root import Settings
from eventflow.settings.source import SourceSettings
from eventflow.signing import header_bytes
from eventflow.topology import Lane, lane_queue
from eventflow_collector.head import Head
from eventflow_collector.intake.forwarding import Forwarding, forwarding_of
from eventflow_collector.intake.mode import Mode
from eventflow_collector.senders.authentication import Await, Check, compile_authentication
from eventflow_collector.senders.certificates import Certificates
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.handshake import Handshakes
from eventflow_collector.senders.identity import Identity
from eventflow_collector.senders.means import Means
from eventflow_collector.senders.request import Request
from eventflow_collector.senders.secret_text import is_one_of


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
        authenticate: The check of each request; None if none is needed.
        await_certificate: Finds the certificate that must be fetched before; None if the sender has none.
        handshakes: The requests of its sender that are not events; None if it has none.
        identity: Finds an event's attributes in a request.
        methods: The methods of requests with events.
        allows_trailing_slash: One slash behind the path is accepted.
        allows_sub_paths: Every path below that of the flow is accepted.
        signs_decoded: A signature covers the decoded body. Otherwise it covers the bytes that were received.
        answer: The form of the answer to stored events.
        forwarding: Finds the parts of a request for the target; None if the flow forwards none.
    """

    name: str
    queue: str
    api_keys: tuple[bytes, ...]
    authenticate: Check | None
    await_certificate: Await | None
    handshakes: Handshakes | None
    identity: Identity
    limits: Limits
    methods: tuple[str, ...]
    allows_trailing_slash: bool
    allows_sub_paths: bool
    signs_decoded: bool
    answer: Answer
    forwarding: Forwarding | None = None

    @property
    def all_methods(self) -> tuple[str, ...]:
        """The methods of all requests that are answered."""
        return self.methods if self.handshakes is None else tuple(sorted({*self.methods, *self.handshakes.methods}))

    def shakes_hands_by(self, method: str) -> bool:
        """Whether a request with this method may be a handshake."""
        return self.handshakes is not None and method in self.handshakes.methods

    def may_be_handshake_of_stranger(self, head: Head) -> bool:
        """Whether a request may be a handshake that needs no authentication."""
        return self.handshakes is not None and self.handshakes.may_begin_with(head)

    def has_path(self, sub_path: str) -> bool:
        """Whether events are accepted at a path below that of the flow."""
        return self.allows_sub_paths or (self.allows_trailing_slash and sub_path == "/")


def has_key(headers: Mapping[str, str], api_keys: Sequence[bytes]) -> bool:
    """Whether a request has one of the keys, or needs none."""
    return not api_keys or is_one_of(header_bytes(headers.get("X-Api-Key", "")), api_keys)


def flow_of(name: str, settings: Settings, certificates: Certificates | None = None) -> Flow:
    """Prepare a flow for its requests.

    Args:
        name: Of the flow.
        settings: Of all flows.
        certificates: Those that this process has fetched.
    """
    source = settings.all_flows[name].source
    sender = settings.sender_of(source)
    api_keys = tuple(key.get_secret_value().encode() for key in source.api_keys)
    handshakes = None if sender is None or not sender.handshakes else _handshakes_of(sender, source)
    means = _means_of(settings, source, certificates or Certificates())
    authentication = None if sender is None else compile_authentication(sender, means)
    return Flow(
        name=name,
        queue=lane_queue(name, Lane.LIVE),
        api_keys=api_keys,
        authenticate=None if authentication is None else _beside(handshakes, authentication.check, api_keys),
        await_certificate=None if authentication is None else authentication.await_certificate,
        handshakes=handshakes,
        identity=Identity(SENDERS.values(), verified=sender, own=source.own_places),
        limits=Limits(
            body_bytes=source.max_body_bytes,
            batch_events=source.max_batch_events,
            batch_bytes=source.max_batch_bytes,
        ),
        methods=source.methods,
        allows_trailing_slash=source.allow_trailing_slash,
        allows_sub_paths=source.allow_sub_paths or _reads_sub_path(sender),
        signs_decoded=source.signed_body == "decoded",
        answer=source.answer_after(sender),
        forwarding=forwarding_of(source, sender),
    )


def _means_of(settings: Settings, source: SourceSettings, certificates: Certificates) -> Means:
    return Means(
        secrets=[secret.get_secret_value() for secret in source.secrets],
        tolerance_s=source.tolerance_s,
        public_url=source.public_url,
        trusted_proxies=settings.collector.trusted_proxies,
        certificates=certificates,
    )


def _reads_sub_path(sender: Sender | None) -> bool:
    """Whether the sender's token is in the path."""
    schemes = () if sender is None else sender.authentication
    return any(isinstance(scheme, Token) and isinstance(scheme.token, SubPath) for scheme in schemes)


def _handshakes_of(sender: Sender, source: SourceSettings) -> Handshakes:
    return Handshakes(
        sender,
        secrets=[secret.get_secret_value() for secret in source.secrets],
        verify_tokens=[token.get_secret_value() for token in source.verify_tokens],
        may_visit=source.confirm_subscriptions,
    )


def _beside(handshakes: Handshakes | None, check: Check, api_keys: Sequence[bytes]) -> Check:
    """Return the check of each request of a flow whose sender may have handshakes."""
    if handshakes is None:
        return check

    def check_beside_handshakes(request: Request, now: datetime) -> Flaw | None:
        if handshakes.may_have_signed(request.body):
            return Flaw.MISMATCH
        # A request whose head might begin a handshake of a stranger was admitted without a key.
        return check(request, now) if has_key(request.headers, api_keys) else Flaw.WRONG_TOKEN

    return check_beside_handshakes
