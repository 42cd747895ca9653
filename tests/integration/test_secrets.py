"""Secrets and URLs as the programs meet them at their start: real processes, and requests over HTTP."""

import asyncio
import base64
from pathlib import Path

import aiohttp
import pytest

from eventflow.service.lifecycle import EXIT_CONFIGURATION
from sandbox.ports import free_port
from tests.support import senders
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.programs import ended
from tests.support.services import API_KEY, Service, collector, processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

SECRET = "whsec_" + base64.b64encode(b"the secret of a sender").decode()
DECODED_VERSION = "v1=="
"""The bytes that base64 reads from the `v1` of `v1,whsec_...`: a key of one byte."""

PROGRAMS = (
    ("-m", "eventflow_collector"),
    ("-m", "eventflow_processor"),
    ("-m", "eventflow.cli", "status"),
    ("-m", "eventflow.cli", "check"),
    ("-m", "sandbox.up"),
    ("-m", "sandbox.broker", "--ensure"),
)


async def post(service: Service, http: aiohttp.ClientSession, headers: dict[str, str], body: bytes = b"{}") -> int:
    async with http.post(service.url, data=body, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize(
    ("program", "character"),
    [*((PROGRAMS[0], character) for character in "#/?["), *((program, "#") for program in PROGRAMS[1:])],
)
async def test_a_password_that_is_not_encoded_ends_every_program_in_one_line_without_it(
    program: tuple[str, ...], character: str, tmp_path: Path
) -> None:
    """celery#5532, kombu#898. Reproduced on 0.1.0: a traceback, in it the password up to the character."""
    status, output = await ended(
        *program,
        cwd=tmp_path,
        BROKER__URL=f"amqp://user:56pass{character}word78@127.0.0.1:{free_port()}/",
        SOURCE__API_KEYS=API_KEY,
        TARGET__URL="http://127.0.0.1:9/",
    )
    assert status == EXIT_CONFIGURATION, output
    told = [line for line in output.splitlines() if not line.startswith(("Starting a broker", "Stopped."))]
    assert len(told) == 1, output
    assert told[0].removeprefix("error: ").startswith("EVENTFLOW_BROKER__URL: ")
    assert "percent-encode" in output
    for part in ("pass", "56", "word78"):
        assert part not in output.replace("__PASSWORD", "").replace("password", "")


@pytest.mark.parametrize("given", ["variable", "file"])
async def test_an_empty_secret_does_not_open_the_door(given: str, tmp_path: Path) -> None:
    """Reproduced on 0.1.0: `API_KEYS=` and an empty API_KEYS_FILE started a collector that lets everybody in."""
    (tmp_path / "keys").write_text("\n")
    named = {"SOURCE__API_KEYS": ""} if given == "variable" else {"SOURCE__API_KEYS_FILE": str(tmp_path / "keys")}
    status, output = await ended("-m", "eventflow_collector", cwd=tmp_path, COLLECTOR__PORT="0", **named)
    assert (status, len(output.splitlines())) == (EXIT_CONFIGURATION, 1), output
    assert "EVENTFLOW_SOURCE__API_KEYS" in output
    assert "empty" in output


async def test_without_any_authentication_the_collector_starts_only_when_it_is_allowed_to(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Reproduced on 0.1.0: on loopback it started, and a proxy on the same machine passed on what came from outside."""
    status, output = await ended("-m", "eventflow_collector", cwd=tmp_path, COLLECTOR__PORT="0", BROKER__URL=broker_url)
    assert (status, len(output.splitlines())) == (EXIT_CONFIGURATION, 1), output
    assert "EVENTFLOW_SOURCE__ALLOW_UNAUTHENTICATED=true" in output
    source = f"FLOWS__{flow.upper()}__SOURCE__"
    open_one = collector(broker_url, flow=flow, **{f"{source}VERIFY": "none", f"{source}ALLOW_UNAUTHENTICATED": "true"})
    with open_one.process:
        await open_one.ready(http)
        assert await post(open_one, http, {}) == 202


async def test_a_secret_shown_with_its_version_is_one_secret(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    """standard-webhooks#235. Reproduced on 0.1.0: "v1" was a secret of its own, and its one byte opened the door."""
    source = f"FLOWS__{flow.upper()}__SOURCE__"
    service = collector(
        broker_url, flow=flow, **{f"{source}VERIFY": "standard-webhooks", f"{source}SECRETS": f"v1,{SECRET}"}
    )
    with service.process:
        await service.ready(http)
        assert await post(service, http, senders.standard(SECRET, b"{}")) == 202
        assert await post(service, http, senders.standard(DECODED_VERSION, b"{}")) == 401
    assert SECRET not in service.output


async def test_a_part_of_a_secret_before_a_comma_is_no_secret(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Reproduced on 0.1.0: with `SECRETS='pa,ss word'` a request signed with `pa` was answered 202."""
    source = f"FLOWS__{flow.upper()}__SOURCE__"
    settings = {f"{source}VERIFY": "github", f"{source}SECRETS": "pa,ss word"}
    status, output = await ended("-m", "eventflow_collector", cwd=tmp_path, BROKER__URL=broker_url, **settings)
    assert (status, len(output.splitlines())) == (EXIT_CONFIGURATION, 1), output
    assert "ss word" not in output
    (tmp_path / "secret").write_text("passphrase,with a comma\n")
    del settings[f"{source}SECRETS"]
    service = collector(broker_url, flow=flow, **settings, **{f"{source}SECRETS_FILE": str(tmp_path / "secret")})
    with service.process:
        await service.ready(http)
        assert await post(service, http, senders.github("passphrase,with a comma", b"{}")) == 202
        assert await post(service, http, senders.github("passphrase", b"{}")) == 401


async def test_each_line_of_a_file_is_a_key(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Reproduced on 0.1.0: two lines were one key, which no header can carry."""
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbffirst-key\r\nother,key\r\n")
    source = f"FLOWS__{flow.upper()}__SOURCE__"
    service = collector(
        broker_url, flow=flow, **{f"{source}VERIFY": "none", f"{source}API_KEYS_FILE": str(tmp_path / "keys")}
    )
    with service.process:
        await service.ready(http)
        answers = {
            key: await post(service, http, {"X-Api-Key": key}) for key in ("first-key", "other,key", "other", "")
        }
    assert answers == {"first-key": 202, "other,key": 202, "other": 401, "": 401}


async def test_user_and_password_apart_from_the_url_open_every_connection(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    scheme, _, rest = broker_url.partition("://")
    userinfo, _, place = rest.rpartition("@")
    username, _, password = userinfo.partition(":")
    (tmp_path / "password").write_text(f"{password}\n")
    apart = {"BROKER__USERNAME": username, "BROKER__PASSWORD_FILE": str(tmp_path / "password")}
    url = f"{scheme}://{place}"
    async with ScriptedTarget() as target:
        taking = collector(url, flow=flow, **apart)
        handing = processor(url, flow=flow, target_url=target.url, **apart)
        with taking.process, handing.process:
            await asyncio.gather(taking.ready(http), handing.ready(http))
            assert await post(taking, http, {"X-Api-Key": API_KEY}) == 202
            await eventually(lambda: len(target.taken) == 1, what=lambda: f"a delivery:\n{handing.output}")
            shown = await Command(broker_url=url, flow=flow)("status", **apart)
    assert shown.status == 0, shown.stderr
    (tmp_path / "password").write_text("not-the-password\n")
    refused = await Command(broker_url=url, flow=flow)("status", **apart)
    assert refused.status == 1
    assert "not-the-password" not in refused.stderr
    assert f"{username}:***@" in refused.stderr


async def test_each_service_starts_without_the_secrets_of_the_other(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: a processor that shares the collector's settings, but not its secrets, ended with 78."""
    prefix = f"FLOWS__{flow.upper()}__"
    shared = {
        f"{prefix}SOURCE__VERIFY": "none",  # no key but that of the file
        f"{prefix}SOURCE__API_KEYS_FILE": "/run/secrets/only-in-the-collector",
        f"{prefix}TARGET__HEADERS_FILE": "/run/secrets/only-in-the-processor",
        f"{prefix}TARGET__SIGNING_SECRETS_FILE": "/run/secrets/only-in-the-processor",
    }
    async with ScriptedTarget() as target:
        without_targets = shared | {f"{prefix}SOURCE__API_KEYS": API_KEY}
        del without_targets[f"{prefix}SOURCE__API_KEYS_FILE"]
        taking = collector(broker_url, flow=flow, **without_targets)
        without_senders = {name: value for name, value in shared.items() if "__TARGET__" not in name}
        handing = processor(
            broker_url, flow=flow, target_url=target.url, **without_senders | {f"{prefix}SOURCE__VERIFY": "github"}
        )
        with taking.process, handing.process:
            await asyncio.gather(taking.ready(http), handing.ready(http))
            assert await post(taking, http, {"X-Api-Key": API_KEY}) == 202
            await eventually(lambda: len(target.taken) == 1, what=lambda: f"a delivery:\n{handing.output}")
    shown = await Command(broker_url=broker_url, flow=flow)("status", **shared)
    assert shown.status == 0, shown.stderr
    checked = await Command(broker_url=broker_url, flow=flow)("check", **shared)
    assert "only-in-the-collector" in checked.stdout
    assert "only-in-the-processor" in checked.stdout
