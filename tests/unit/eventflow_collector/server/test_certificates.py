"""Signatures by a published certificate: it is fetched over TLS from a pinned host, once, and requests wait for it."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from prometheus_client import Counter

from eventflow.event import utc_now
from eventflow.senders.vocabulary import Certificate, Pointer, Sender
from eventflow.telemetry.harmless import InternalErrors
from eventflow_collector.fetch import Fetcher
from eventflow_collector.senders.authentication import Authentication, compile_authentication
from eventflow_collector.senders.certificates import FRESH, KEPT_MAX, Awaited, Certificates
from eventflow_collector.senders.flaw import Flaw
from eventflow_collector.senders.means import Means
from eventflow_collector.senders.request import Request
from eventflow_collector.server.certificates import FETCHES_MAX, CertificateFetcher
from tests.support.certificates import Authority
from tests.support.requests import request_of
from tests.support.senders import changes_of

HOST = "sns.eu-west-1.sender.test"
ADDRESS = f"https://{HOST}/SimpleNotificationService-1.pem"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:topic"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SENDER = Sender(
    name="sns",
    title="sns",
    authentication=(
        Certificate(
            signature=Pointer("/Signature"),
            signed="Message\n{message}\n[Subject\n{subject}\n]TopicArn\n{topic}\n",
            fields={
                "message": Pointer("/Message"),
                "subject": Pointer("/Subject"),
                "topic": Pointer("/TopicArn"),
            },
            signs_body=False,
            certificate=Pointer("/SigningCertURL"),
            hosts=("sns.*-*-*.sender.test",),
            version=Pointer("/SignatureVersion"),
            algorithms={"1": "sha1", "2": "sha256"},
            secret=Pointer("/TopicArn"),
        ),
    ),
)


def certificate(*, begins: timedelta = -timedelta(days=1), ends: timedelta = timedelta(days=1)) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .sign(KEY, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def notification(version: str = "1", **changes: object) -> dict[str, object]:
    message = {"Message": "Hello", "Subject": "A subject", "TopicArn": TOPIC, **changes}
    text = f"Message\n{message['Message']}\n"
    text += f"Subject\n{message['Subject']}\n" if message.get("Subject") is not None else ""
    text += f"TopicArn\n{message['TopicArn']}\n"
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = KEY.sign(text.encode(), padding.PKCS1v15(), algorithm)
    return {
        "SignatureVersion": version,
        "Signature": base64.b64encode(signature).decode(),
        "SigningCertURL": ADDRESS,
        **message,
    }


def request(message: dict[str, object]) -> Request:
    return request_of({}, json.dumps(message).encode())


def compiled(certificates: Certificates) -> Authentication:
    return compile_authentication(SENDER, Means(secrets=(TOPIC,), tolerance_s=300, certificates=certificates))


@pytest.fixture
def known() -> Authentication:
    certificates = Certificates()
    certificates.keep(ADDRESS, certificate(), utc_now())
    return compiled(certificates)


@pytest.mark.parametrize("message", [notification("1"), notification("2"), notification(Subject=None)])
def test_a_signature_by_the_key_of_the_certificate_is_accepted(
    known: Authentication, message: dict[str, object]
) -> None:
    assert known.check(request(message), utc_now()) is None


def test_no_bit_of_a_signed_field_may_change(known: Authentication) -> None:
    message = notification()
    for name in ("Message", "Subject", "TopicArn", "Signature"):
        for changed in list(changes_of(str(message[name]).encode()))[:400]:
            text = changed.decode("latin-1")
            assert known.check(request({**message, name: text}), utc_now()) is not None, (name, text)


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({"SignatureVersion": "3"}, Flaw.MISSING),
        ({"SignatureVersion": None}, Flaw.MISSING),
        ({"SigningCertURL": None}, Flaw.MISSING),
        ({"Signature": None}, Flaw.MISSING),
        ({"Signature": "x"}, Flaw.MISMATCH),
        ({"TopicArn": "other"}, Flaw.MISMATCH),
        ({"SigningCertURL": ADDRESS.replace("https", "http")}, Flaw.UNTRUSTED_CERTIFICATE),
        ({"SigningCertURL": ADDRESS.replace(".test", ".test:444")}, Flaw.UNTRUSTED_CERTIFICATE),
        ({"SigningCertURL": ADDRESS.replace(".test", ".test.evil.test")}, Flaw.UNTRUSTED_CERTIFICATE),
        ({"SigningCertURL": ADDRESS.replace("://", "://user@")}, Flaw.UNTRUSTED_CERTIFICATE),
        ({"SigningCertURL": "https://evil.test\\@" + HOST}, Flaw.UNTRUSTED_CERTIFICATE),
        ({"SigningCertURL": ADDRESS + "?1"}, Flaw.UNTRUSTED_CERTIFICATE),
        ({"SigningCertURL": ADDRESS + "#1"}, Flaw.UNTRUSTED_CERTIFICATE),
        ({"SigningCertURL": "https://sns.s3.sender.test/x.pem"}, Flaw.UNTRUSTED_CERTIFICATE),
    ],
)
def test_a_request_that_is_wrong_anyway_causes_no_fetch(changes: dict[str, object], flaw: Flaw) -> None:
    authentication = compiled(Certificates())
    assert authentication.await_certificate is not None
    wrong = request({**notification(), **changes})
    assert authentication.await_certificate(wrong, utc_now()) is None
    assert authentication.check(wrong, utc_now()) is flaw


@pytest.mark.parametrize(
    ("begins", "ends"), [(timedelta(hours=1), timedelta(days=1)), (-timedelta(days=2), -timedelta(hours=1))]
)
def test_a_certificate_out_of_its_time_is_not_accepted(begins: timedelta, ends: timedelta) -> None:
    certificates = Certificates()
    certificates.keep(ADDRESS, certificate(begins=begins, ends=ends), utc_now())
    assert compiled(certificates).check(request(notification()), utc_now()) is Flaw.UNTRUSTED_CERTIFICATE


def test_certificates_are_bounded_and_the_ones_in_use_stay() -> None:
    certificates, now, document = Certificates(), utc_now(), certificate()
    certificates.keep("used", document, now)
    for number in range(2 * KEPT_MAX):
        certificates.keep(f"other-{number}", document, now)
        certificates.keep_failure(f"failed-{number}", now)
        assert certificates.key_at("used", now) is not None
    assert sum(certificates.is_known(f"other-{number}", now) for number in range(2 * KEPT_MAX)) == KEPT_MAX - 1
    assert not certificates.is_known("used", now + FRESH)


class ToServer(AbstractResolver):
    """Leads every name to one port of loopback."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def published(
    directory: Path, answer: Callable[[], bytes], *, name: str = HOST
) -> AsyncIterator[tuple[CertificateFetcher, Certificates, list[bytes]]]:
    """Serve an answer over TLS, and fetch from there."""
    authority = Authority(directory)
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server_of(f"DNS:{name}"))
    tls = ssl.create_default_context(cafile=str(authority.certificate))
    fetcher = Fetcher(resolver=ToServer(server.sockets[0].getsockname()[1]), tls=tls)
    certificates = Certificates()
    errors = InternalErrors(Counter("errors", "errors", registry=None))
    async with server:
        fetching = CertificateFetcher(fetcher, certificates, errors)
        try:
            yield fetching, certificates, heads
        finally:
            await fetching.close()


def whole(document: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        status.encode(),
        len(document),
        document,
    )


async def fetched(fetching: CertificateFetcher, awaited: Awaited, *, requests: int = 1) -> None:
    ended = [asyncio.Event() for _ in range(requests)]
    for event in ended:
        fetching.begin(awaited, event.set)
    async with asyncio.timeout(20):
        for event in ended:
            await event.wait()


async def test_a_certificate_is_fetched_once_for_all_requests_that_wait(tmp_path: Path) -> None:
    async with published(tmp_path, lambda: whole(certificate())) as (fetching, certificates, heads):
        authentication = compiled(certificates)
        assert authentication.await_certificate is not None
        awaited = authentication.await_certificate(request(notification()), utc_now())
        assert awaited is not None
        assert authentication.check(request(notification()), utc_now()) is Flaw.NO_CERTIFICATE
        await fetched(fetching, awaited, requests=5)
        assert authentication.await_certificate(request(notification()), utc_now()) is None
        assert authentication.check(request(notification()), utc_now()) is None
        assert len(heads) == 1


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (whole(b"no certificate"), HOST),
        (whole(b"", "404 Not Found"), HOST),
        (b"HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\nContent-Length: 0\r\n\r\n", HOST),
        (whole(b"x" * 100_000), HOST),
        (whole(certificate()), "other.sender.test"),
    ],
    ids=["text", "404", "redirect", "long", "other-host"],
)
async def test_a_certificate_that_cannot_be_had_is_not_asked_for_again_at_once(
    tmp_path: Path, answer: bytes, name: str
) -> None:
    async with published(tmp_path, lambda: answer, name=name) as (fetching, certificates, _):
        authentication = compiled(certificates)
        assert authentication.await_certificate is not None
        await fetched(fetching, Awaited(ADDRESS, ("sns.*-*-*.sender.test",)))
        assert authentication.await_certificate(request(notification()), utc_now()) is None
        assert authentication.check(request(notification()), utc_now()) is Flaw.NO_CERTIFICATE


async def test_a_stranger_cannot_cause_any_number_of_fetches(tmp_path: Path) -> None:
    async with published(tmp_path, lambda: whole(certificate())) as (fetching, _, heads):
        ended: list[int] = []
        for number in range(20):
            fetching.begin(Awaited(f"{ADDRESS}{number}", ("sns.*-*-*.sender.test",)), lambda: ended.append(1))
        assert len(ended) == 20 - FETCHES_MAX
        await fetching.close()
        assert len(ended) == 20
        assert len(heads) <= FETCHES_MAX
