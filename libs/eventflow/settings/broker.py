"""The section `[broker]`. Pure."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from eventflow.network.broker_url import has_userinfo, parse_broker_url, with_credentials
from eventflow.network.host import check_http_url
from eventflow.settings.fields import Section, checked_by
from eventflow.settings.secret_text import urls_in
from eventflow.settings.value_text import check_literal

DEFAULT_BROKER = "amqp://127.0.0.1:5672/"


def _check_line(value: str) -> None:
    if not value or not value.isprintable():
        raise ValueError("one line of text is expected; leave it unset if there is none")


def _line(value: str) -> str:
    _check_line(value)
    return value


def _management_url(value: SecretStr) -> SecretStr:
    text, expected = value.get_secret_value(), "http://host:port of RabbitMQ's management API is expected"
    try:
        check_http_url(text, takes_userinfo=True)
    except ValueError as error:
        raise ValueError(f"{error}; {expected}") from None
    if "?" in text or "#" in text:
        raise ValueError(f"{expected}, without a query")
    return value


class BrokerSettings(Section):
    """Connection to RabbitMQ, which stores all events."""

    url: Annotated[
        tuple[Annotated[SecretStr, checked_by(check_literal), checked_by(parse_broker_url)], ...],
        BeforeValidator(urls_in),
        Field(
            description="one URL, or the URLs of a cluster separated by commas; `amqps://` for TLS, with "
            "`?cacertfile=...` for a certificate authority of your own"
        ),
    ] = (SecretStr("amqp://guest:guest@127.0.0.1:5672/"),)
    username: Annotated[str, AfterValidator(_line)] | None = Field(
        None, description="user for each URL that has none; requires `PASSWORD`"
    )
    password: Annotated[SecretStr, checked_by(_check_line)] | None = Field(
        None, description="password of that user, not percent-encoded"
    )
    management_url: Annotated[SecretStr, AfterValidator(_management_url)] | None = Field(
        None,
        description="RabbitMQ's management API, such as `http://host:15672`, from which policies are read, and which "
        "consumers are lost with a broker; without a user in this URL, user and password of the first broker URL are "
        "used; over https, the authorities in the `cacertfile` of that URL are trusted too; unset = neither is known",
    )

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("EVENTFLOW_BROKER__USERNAME and EVENTFLOW_BROKER__PASSWORD must both be set, or neither")
        if self.username is not None and "url" in self.model_fields_set and all(map(has_userinfo, self._urls)):
            raise ValueError(
                "EVENTFLOW_BROKER__USERNAME and EVENTFLOW_BROKER__PASSWORD apply to no URL of EVENTFLOW_BROKER__URL, "
                "because each URL has a user: remove the users from the URLs, or leave these two unset"
            )
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs with their passwords, for connections only; they must never be shown."""
        if self.username is None or self.password is None:
            return self._urls
        password = self.password.get_secret_value()
        return tuple(
            url if has_userinfo(url) else with_credentials(url, username=self.username, password=password)
            for url in self._urls
        )

    @property
    def _urls(self) -> tuple[str, ...]:
        if self.username is not None and "url" not in self.model_fields_set:
            return (DEFAULT_BROKER,)  # the default URL without its user, so that this user applies
        return tuple(url.get_secret_value() for url in self.url)
