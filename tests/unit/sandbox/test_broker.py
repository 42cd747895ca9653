"""The choice of a broker, as far as it can be tested without starting one."""

import pytest

from sandbox.broker.probes import BrokerAddress
from sandbox.broker.provision import BrokerNotAvailable, provide
from sandbox.ports import free_port


def test_url_is_read_with_usual_ports_and_login() -> None:
    assert BrokerAddress.of("amqp://h/") == BrokerAddress(
        host="h", port=5672, login="guest", password="guest", encrypted=False
    )
    assert BrokerAddress.of("amqps://u:p%40ss@h/v") == BrokerAddress(
        host="h", port=5671, login="u", password="p@ss", encrypted=True
    )


@pytest.mark.parametrize("url", ["http://h/", "amqp://", "h:5672"])
def test_what_is_no_amqp_url_is_refused(url: str) -> None:
    with (
        pytest.raises(BrokerNotAvailable, match="EVENTFLOW_BROKER__URL"),
        provide(environ={"EVENTFLOW_BROKER__URL": url}),
    ):
        pass


def test_a_named_broker_that_does_not_answer_is_an_error_without_its_password() -> None:
    environ = {"EVENTFLOW_BROKER__URL": f"amqp://u:hidden@127.0.0.1:{free_port()}/"}
    with pytest.raises(BrokerNotAvailable, match="no RabbitMQ answers") as caught, provide(environ=environ):
        pass
    assert "hidden" not in str(caught.value)
