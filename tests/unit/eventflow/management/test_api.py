"""The management API over sockets: with any server, the outcome is queues or one line of why not."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from eventflow.errors import ManagementError
from eventflow.management.api import Management
from eventflow.management.policies import Look, look
from eventflow.settings.broker import BrokerSettings
from tests.support.certificates import Authority
from tests.support.management import STRANGERS, serving

BROKER_URL = "amqp://guest:secret@127.0.0.1/"


@pytest.mark.parametrize("kind", STRANGERS)
async def test_any_answer_is_bounded_and_a_failure_is_one_line(kind: str) -> None:
    stranger = STRANGERS[kind]
    async with serving(stranger.answer) as url:
        management = Management.at(url, BROKER_URL)
        if stranger.reason is None:
            assert await look(management, ["x"]) == Look(queues=1, unshielded=("eventflow.x.dead",))
            return
        with pytest.raises(ManagementError) as caught:
            await look(management, ["x"])
        text = str(caught.value)
        assert stranger.reason in text
        assert text
        assert text.isprintable()
        assert len(text) < 250
        assert "secret" not in text


def test_the_user_is_the_first_broker_urls_unless_the_api_has_its_own() -> None:
    def management(url: str) -> Management:
        broker = BrokerSettings(url=("amqp://a:p%23@h/v%2Fw", "amqp://b:q@h/"), management_url=SecretStr(url))
        made = Management.of(broker.management_url, broker.urls[0])
        assert made is not None
        return made

    theirs, own = management("http://rabbit:15672/prefix/"), management("https://c:r%2F@rabbit:15671")
    assert (theirs.url, theirs.login, theirs.password, theirs.vhost) == ("http://rabbit:15672/prefix", "a", "p#", "v/w")
    assert (own.url, own.login, own.password) == ("https://rabbit:15671", "c", "r/")
    assert "p#" not in repr(theirs)
    assert Management.of(None, BROKER_URL) is None


async def test_over_tls_the_authority_of_the_broker_is_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    answers = STRANGERS["no queues"].answer
    async with serving(answers, tls=authority.server_of("IP:127.0.0.1")) as url:
        trusting = Management.at(url, f"amqps://guest:secret@127.0.0.1/?cacertfile={authority.certificate}")
        assert await trusting.queue_names() == []
        with pytest.raises(ManagementError, match="certificate verify failed"):
            await Management.at(url, "amqps://guest:secret@127.0.0.1/").queue_names()


@pytest.mark.parametrize(
    "url", ["rabbit:15672", "amqp://h/", "http://", "http://h:99999/", "http://h:0/", "http://h/?a=b"]
)
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"RabbitMQ.s management API is expected"):
        BrokerSettings(management_url=SecretStr(url))
