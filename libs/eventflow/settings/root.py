"""All sections together, and the flows that they configure. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic.fields import FieldInfo

from eventflow.senders.checks import needs_proxy, signs_address
from eventflow.senders.keys import check_secrets
from eventflow.senders.reading import read_senders
from eventflow.senders.table import NO_SENDER, OWN_HMAC, SENDERS
from eventflow.senders.vocabulary import Sender
from eventflow.settings.broker import BrokerSettings
from eventflow.settings.collector import CollectorSettings
from eventflow.settings.console import ConsoleSettings
from eventflow.settings.environment import variable
from eventflow.settings.fields import Section
from eventflow.settings.handler import HandlerSettings
from eventflow.settings.history import HistorySettings
from eventflow.settings.processor import ProcessorSettings
from eventflow.settings.relay import RelaySettings
from eventflow.settings.source import SourceSettings
from eventflow.settings.target import TargetSettings
from eventflow.settings.telemetry import TelemetrySettings
from eventflow.topology import DEFAULT_FLOW, FLOW_NAME

SENDER_SHOWN_MAX = 100

_FOR_HANDLERS_TOO = frozenset(
    {"rate_per_s", "burst", "cost", "due_share", "replay_share", "max_attempts", "retry_delays_s"}
)
"""The settings of a target that a flow with a handler has too. All others are about HTTP, or `[handler]` has them."""


class FlowSettings(Section):
    """One flow: its source, and its target or its handler."""

    source: SourceSettings = SourceSettings()
    target: TargetSettings = TargetSettings()
    handler: HandlerSettings = HandlerSettings()

    @property
    def attempts(self) -> TargetSettings:
        """The section of the target, with the limits of the handler if there is one."""
        if self.handler.call is None:
            return self.target
        limits = {"timeout_s": self.handler.timeout_s, "concurrency": self.handler.concurrency}
        return self.target.model_copy(update=limits)


def _read_senders(value: object) -> object:
    return read_senders(value) if isinstance(value, dict) and value else value


class Settings(BaseModel):
    """The settings of all programs. A new section is one module and one line here."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    broker: BrokerSettings = BrokerSettings()
    collector: CollectorSettings = CollectorSettings()
    processor: ProcessorSettings = ProcessorSettings()
    source: SourceSettings | None = None
    target: TargetSettings | None = None
    handler: HandlerSettings | None = None
    flows: dict[str, FlowSettings] = {}
    senders: Annotated[dict[str, Any], BeforeValidator(_read_senders)] = {}
    history: HistorySettings = HistorySettings()
    console: ConsoleSettings = ConsoleSettings()
    relay: RelaySettings = RelaySettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @model_validator(mode="after")
    def _check_flows(self) -> Self:
        for name in self.flows:
            if not FLOW_NAME.fullmatch(name) or name == DEFAULT_FLOW:
                raise ValueError(
                    f"flows.{name}: the name of a flow is made of a-z, 0-9, _ and -, with at most 63 characters, "
                    f"and {DEFAULT_FLOW!r} is configured by [source] and [target]"
                )
        for name in self.processor.flows or ():
            if name not in self.all_flows:
                raise ValueError(f"processor.flows names {name!r}, which is none of: {', '.join(self.all_flows)}")
        for name, flow in self.all_flows.items():
            self._check_sender(name, flow.source)
            _check_handler(name, flow)
        return self

    def _check_sender(self, flow: str, source: SourceSettings) -> None:
        verified = source.verify
        if verified not in {NO_SENDER, OWN_HMAC, *SENDERS, *self.senders}:
            names = (*SENDERS, OWN_HMAC, *self.senders, NO_SENDER)
            setting = variable_name(flow, "source", "verify")
            raise ValueError(
                f"{setting} = {verified[:SENDER_SHOWN_MAX]!r}: one of these is expected: {', '.join(map(repr, names))}"
            )
        sender = self.sender_of(source)
        self._check_verify_tokens(flow, source, sender)
        if sender is None:
            return
        self._check_methods(flow, source, sender)
        try:
            check_secrets([secret.get_secret_value() for secret in source.secrets], sender.authentication)
        except ValueError as error:
            raise ValueError(f"{variable_name(flow, 'source', 'secrets')}: {error}") from None
        if signs_address(sender) and not source.public_url:
            raise ValueError(
                f"{variable_name(flow, 'source', 'public_url')} is not set: {sender.title} signs the address"
            )
        if needs_proxy(sender) and not self.collector.trusted_proxies:
            raise ValueError(
                f"{variable(('collector', 'trusted_proxies'))} is not set: {sender.title} is authenticated by a "
                "proxy in front, whose header counts only in requests from there"
            )

    def _check_verify_tokens(self, flow: str, source: SourceSettings, sender: Sender | None) -> None:
        is_asked = sender is not None and any(one.verify_token is not None for one in sender.handshakes)
        if is_asked != bool(source.verify_tokens):
            reason = "at least one is expected" if is_asked else "they have no effect"
            setting = variable_name(flow, "source", "verify_tokens")
            raise ValueError(f"{setting}: {reason}, because verify is {source.verify}")

    def _check_methods(self, flow: str, source: SourceSettings, sender: Sender) -> None:
        for handshake in sender.handshakes:
            has_mark = handshake.when or handshake.challenge or handshake.visit
            if handshake.method in source.methods and not has_mark:
                setting = variable_name(flow, "source", "methods")
                raise ValueError(
                    f"{setting}: {handshake.method} is not possible, because every such request is a handshake of "
                    f"{source.verify}"
                )

    def sender_of(self, source: SourceSettings) -> Sender | None:
        """Return the sender that a flow verifies; None if it verifies none."""
        match source.verify:
            case "none":
                return None
            case "hmac":
                return source.own_hmac
            case name:
                sender: Sender = SENDERS.get(name) or self.senders[name]
                return sender

    @property
    def all_flows(self) -> dict[str, FlowSettings]:
        """Every configured flow by name; includes `default`, unless only other flows are configured."""
        if self.flows and self.source is None and self.target is None and self.handler is None:
            return dict(self.flows)
        default = FlowSettings(
            source=self.source or SourceSettings(),
            target=self.target or TargetSettings(),
            handler=self.handler or HandlerSettings(),
        )
        return {DEFAULT_FLOW: default, **self.flows}

    @property
    def open_flows(self) -> dict[str, FlowSettings]:
        """The flows that accept events over HTTP."""
        return {name: flow for name, flow in self.all_flows.items() if flow.source.enabled}

    @property
    def served_flows(self) -> dict[str, FlowSettings]:
        """The flows that this processor serves."""
        wanted = self.processor.flows
        return {name: flow for name, flow in self.all_flows.items() if wanted is None or name in wanted}


def _check_handler(name: str, flow: FlowSettings) -> None:
    if flow.handler.call is None:
        return
    for field in sorted(flow.target.model_fields_set - _FOR_HANDLERS_TOO):
        if getattr(flow.target, field) == TargetSettings.model_fields[field].default:
            continue
        instead = (
            f"set {variable_name(name, 'handler', field)}" if field in HandlerSettings.model_fields else "remove it"
        )
        raise ValueError(
            f"{variable_name(name, 'target', field)} has no effect, because the flow has a handler: {instead}"
        )


def variable_name(flow: str, section: str, field: str) -> str:
    """Return the environment variable of a flow's setting."""
    return variable((section, field) if flow == DEFAULT_FLOW else ("flows", flow, section, field))


def _section_in(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field of the settings holds, alone, optionally or by name."""
    candidates = (field.annotation, *get_args(field.annotation))
    return next((part for part in candidates if isinstance(part, type) and issubclass(part, Section)), None)


SECTIONS: Mapping[str, type[Section]] = {
    name: section for name, field in Settings.model_fields.items() if (section := _section_in(field)) is not None
}
"""The sections by name; `flows` has those of one flow."""
