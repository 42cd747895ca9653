"""Prometheus and its tools, of the system's own package, on loopback."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yaml

from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import ChildProcess
from tests.support.means import cannot

DEPLOY = Path(__file__).parents[2] / "deploy"
CONFIGURATION = DEPLOY / "prometheus" / "prometheus.yml"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
SCRAPE_EVERY_S = 0.5

Series = Mapping[str, Any]
"""Labels as `metric`, and `values`, pairs of a time and a number as text."""


def program(name: str) -> str:
    """Find one of Prometheus's programs; where it is not, skip the test, or fail it when CI=true."""
    path = shutil.which(name)
    if path is None:
        cannot(f"{name} is not installed (Debian: prometheus, prometheus-alertmanager)")
    return path


def run(name: str, *arguments: str, cwd: Path) -> None:
    """Run a tool to its end; what it finds fails the test."""
    ended = subprocess.run(
        [program(name), *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def alert_rules() -> list[dict[str, Any]]:
    """Return all alerts, in order."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


@dataclass(slots=True, kw_only=True)
class Prometheus:
    """A server that scrapes what the deployed configuration names, but here, and twice a second."""

    process: ChildProcess
    url: str

    @classmethod
    def prepare(cls, directory: Path, targets: Mapping[str, str]) -> "Prometheus":
        """Prepare one; `targets` are addresses by the job's name."""
        configuration = yaml.safe_load(CONFIGURATION.read_text())
        every = f"{round(SCRAPE_EVERY_S * 1000)}ms"
        configuration["global"] = {"scrape_interval": every, "evaluation_interval": every}
        configuration["rule_files"] = [str(ALERTS)]
        del configuration["alerting"]
        for job in configuration["scrape_configs"]:
            job.pop("dns_sd_configs", None)
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        file = directory / "prometheus.json"  # JSON is YAML
        file.write_text(json.dumps(configuration))
        port = free_port()
        command = [
            program("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]
        return cls(process=ChildProcess("prometheus", command), url=f"http://{LOOPBACK}:{port}")

    async def get(self, client: aiohttp.ClientSession, path: str, **parameters: str) -> Any:
        """Ask the HTTP API."""
        async with client.get(f"{self.url}/api/v1/{path}?{urlencode(parameters)}") as answer:
            document = await answer.json()
        assert document["status"] == "success", (parameters, document)
        return document["data"]

    async def ready(self, client: aiohttp.ClientSession) -> bool:
        """Whether it answers."""
        try:
            async with client.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def over(
        self, client: aiohttp.ClientSession, expression: str, *, start_s: float, end_s: float
    ) -> list[Series]:
        """Return what an expression had for values in a time, once a second."""
        data = await self.get(client, "query_range", query=expression, start=str(start_s), end=str(end_s), step="1")
        return list(data["result"])

    async def targets_up(self, client: aiohttp.ClientSession) -> bool:
        """Whether every target has been scraped."""
        targets = (await self.get(client, "targets"))["activeTargets"]
        return bool(targets) and all(target["health"] == "up" for target in targets)


async def gather_by(keys: list[str], ask: Any) -> dict[str, Any]:
    """Ask for each key at once."""
    return dict(zip(keys, await asyncio.gather(*(ask(key) for key in keys)), strict=True))
