"""TLS to the broker: a certificate is verified unless one clearly says not to, and then that is in the log."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.support.certificates import Certificate, tls_front
from tests.support.cli import Command
from tests.support.programs import ENDS_WITHIN_S
from tests.support.services import Service, collector, processor
from tests.support.wait import eventually

BROKER = "broker.test"
UNVERIFIED = "broker.certificate_unverified"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The broker's."""
    return Certificate.make(tmp_path_factory.mktemp("broker"), name=BROKER)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Another authority's."""
    return Certificate.make(tmp_path_factory.mktemp("other"), name="other.test")


async def test_the_brokers_certificate_is_verified_as_rabbitmqs_own_words_say(
    broker_url: str, flow: str, certificate: Certificate, http: aiohttp.ClientSession
) -> None:
    async with tls_front(broker_url, certificate) as url:
        query = f"cacertfile={certificate.certfile}&server_name_indication={BROKER}&verify=verify_peer"
        service = collector(f"{url}?{query}", flow=flow)
        with service.process:
            await service.ready(http)
            assert UNVERIFIED not in service.output


@pytest.mark.parametrize("word", ["no_verify_ssl=false", "no_verify_ssl=off", "verify=verify_peer"])
async def test_a_broker_with_anothers_certificate_gets_no_event(
    broker_url: str, flow: str, certificate: Certificate, other: Certificate, http: aiohttp.ClientSession, word: str
) -> None:
    """Stands for aio-pika#383. Reproduced on 0.1.0: `no_verify_ssl=false` switched the verification off."""
    async with tls_front(broker_url, certificate) as url:
        service = collector(f"{url}?cafile={other.certfile}&server_name_indication={BROKER}&{word}", flow=flow)
        with service.process:
            await eventually(lambda: "certificate verify failed" in service.output, what=lambda: service.output)
            assert await service.readyz(http) == 503


async def test_a_certificate_that_is_not_verified_is_a_warning_at_each_start_and_in_check(
    broker_url: str, flow: str, certificate: Certificate, http: aiohttp.ClientSession
) -> None:
    async with tls_front(broker_url, certificate) as url:
        unverified = f"{url}?no_verify_ssl=true"
        services = [
            collector(unverified, flow=flow),
            collector(unverified, flow=flow, COLLECTOR__WORKERS="2"),
            processor(unverified, flow=flow, target_url="http://127.0.0.1:1/"),
        ]
        for service in services:
            with service.process:
                await service.ready(http)
                await eventually(lambda: UNVERIFIED in service.output, what="the warning")  # noqa: B023 - awaited here
                assert service.output.count(UNVERIFIED) == 1, service.output
        ended = await Command(broker_url=unverified, flow=flow)("check", TARGET__URL="http://127.0.0.1:1/")
        assert "not verified" in ended.stdout
        assert UNVERIFIED in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        *(
            ("collector", wrong)
            for wrong in ("missing", "no name", "no certificate", "other key", "passphrase", "folder")
        ),
        *(("processor", "missing"), ("eventflow", "missing")),
    ],
)
async def test_a_certificate_that_cannot_be_used_is_one_line_at_start(
    flow: str, certificate: Certificate, other: Certificate, tmp_path: Path, kind: str, wrong: str
) -> None:
    """Reproduced on 0.1.0: it started, and reported at each try only `[Errno 2] No such file or directory`."""
    path = tmp_path / "x.pem"
    match wrong:
        case "no name":
            path = tmp_path / "x\0.pem"
        case "no certificate":
            path.write_text("nonsense")
        case "folder":
            path.mkdir()
        case "passphrase":
            made = Certificate.make(tmp_path, name="own", passphrase="secret")
            path = made.keyfile
    query = f"cacertfile={path}"
    if wrong in {"other key", "passphrase"}:
        path = path if wrong == "passphrase" else certificate.keyfile
        own = tmp_path / "own.pem" if wrong == "passphrase" else other.certfile
        query = f"certfile={own}&keyfile={path}"
    url = f"amqp://good/,amqps://user:s3cret@127.0.0.1:1/?{query}".replace("\0", "%00")
    output, status = await ended_with(kind, url, flow)
    assert status == 78, output
    (line,) = output.strip().splitlines()
    assert "EVENTFLOW_BROKER__URL" in line
    assert str(path).partition("\0")[0] in line
    assert "s3cret" not in line


async def ended_with(kind: str, url: str, flow: str) -> tuple[str, int | None]:
    """Start a program that must end by itself; return its output and status."""
    if kind == "eventflow":
        ended = await Command(broker_url=url, flow=flow)("status")
        return ended.stderr + ended.stdout, ended.status
    service: Service = (
        collector(url, flow=flow)
        if kind == "collector"
        else processor(url, flow=flow, target_url="http://127.0.0.1:1/")
    )
    with service.process:
        await asyncio.to_thread(service.process.wait, ENDS_WITHIN_S)  # for its last line too
        return service.output, service.process.returncode
