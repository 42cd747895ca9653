"""Values in the data of released versions that differ between them. A person has taken them from the records."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Values in the messages of one version.

    Attributes:
        hour: Beginning of the times, in RFC 3339.
        bare_id: Id that the collector gave to `live_bare`.
        plain_id: Message id that the AMQP client gave to `stranger_plain`.
        live_traceparent: Trace of `live_traced`.
        retry_traceparent: Span of the failed attempt of `retry_traced`.
        accepted_at: Times of acceptance by kind of message, as minute and second.
        failed_at: Times of the failed attempts.
        silence: Reason and detail of `dead_without_status`.
        has_extensions: Whether the version knows extension attributes and forwarded headers (`live_extended`).
    """

    hour: str
    bare_id: str
    plain_id: str
    live_traceparent: str
    retry_traceparent: str
    accepted_at: Mapping[str, str]
    failed_at: Mapping[str, str]
    silence: tuple[str, str | None] = ("timeout", "headers_timeout")
    has_extensions: bool = True

    def accepted(self, kind: str) -> datetime:
        """Return the time at which an event was accepted."""
        return datetime.fromisoformat(f"{self.hour}{self.accepted_at[kind]}+00:00")

    def failed(self, kind: str) -> datetime:
        """Return the time at which its only attempt failed."""
        return datetime.fromisoformat(f"{self.hour}{self.failed_at[kind]}+00:00")


VALUES = {
    "0.1.0": Values(
        hour="2026-11-28T09:",
        bare_id="01a22198-31fe-719c-9dbe-98dc5a291ea6",
        plain_id="0008c6d0abef401a8d852be2858f8df4",
        live_traceparent="00-25350a10633a8ee99adc1a16326b9907-e86279650f7569a5-03",
        retry_traceparent="00-0af7651916cd43dd8448eb211c80319c-17ad8d07919fed59-01",
        accepted_at={
            "live_bare": "59:12.126",
            "live_full": "59:12.177",
            "live_without_body": "59:12.191",
            "live_traced": "59:13.069",
            "retry": "59:17.242",
            "retry_again": "59:17.285",
            "deferred": "59:17.301",
            "retry_traced": "59:18.591",
            "due": "59:23.011",
            "dead": "59:27.028",
            "dead_without_status": "59:28.103",
            "replayed": "59:29.302",
        },
        failed_at={
            "retry": "59:17.246",
            "retry_again": "59:17.287",
            "retry_traced": "59:18.596",
            "due": "59:23.014",
            "dead": "59:27.033",
            "dead_without_status": "59:28.106",
        },
        silence=("connection", None),
        has_extensions=False,
    ),
    "0.2.0": Values(
        hour="2026-11-29T12:",
        bare_id="01a2273e-8269-7891-82ba-5b374dce9a9f",
        plain_id="5ea51694217a44d0a08b9583f6637499",
        live_traceparent="00-9bd3728b35ab2fd29cb4a98d8415c74b-50516d6e3b9a146d-03",
        retry_traceparent="00-0af7651916cd43dd8448eb211c80319c-9d70c1f30a7cc385-01",
        accepted_at={
            "live_bare": "18:57.769",
            "live_full": "18:57.792",
            "live_without_body": "18:57.803",
            "live_traced": "18:58.213",
            "retry": "19:01.983",
            "retry_again": "19:02.019",
            "deferred": "19:02.061",
            "retry_traced": "19:02.889",
            "due": "19:06.492",
            "dead": "19:10.081",
            "dead_without_status": "19:10.731",
            "replayed": "19:11.944",
        },
        failed_at={
            "retry": "19:01.986",
            "retry_again": "19:02.020",
            "retry_traced": "19:02.893",
            "due": "19:06.498",
            "dead": "19:10.091",
            "dead_without_status": "19:11.232",
        },
        has_extensions=False,
    ),
    "0.3.0": Values(
        hour="2026-11-29T12:",
        bare_id="01a2273c-3aea-74dc-ad42-9d58578a9974",
        plain_id="71da4c60f3e34ff2ae55c36cc16bc8dd",
        live_traceparent="00-0fdc8f903f792a1b7363baa4010c268f-63b17670751b2d6e-03",
        retry_traceparent="00-0af7651916cd43dd8448eb211c80319c-6ad8769abaa15c39-01",
        accepted_at={
            "live_bare": "16:28.394",
            "live_full": "16:28.411",
            "live_extended": "16:28.488",
            "live_without_body": "16:28.528",
            "live_traced": "16:30.825",
            "retry": "16:33.208",
            "retry_again": "16:33.295",
            "deferred": "16:33.358",
            "retry_traced": "16:35.525",
            "due": "16:37.327",
            "dead": "16:43.876",
            "dead_without_status": "16:47.194",
            "replayed": "16:50.374",
        },
        failed_at={
            "retry": "16:33.220",
            "retry_again": "16:33.297",
            "retry_traced": "16:35.533",
            "due": "16:37.342",
            "dead": "16:43.914",
            "dead_without_status": "16:47.695",
        },
    ),
}
