"""A copy of deploy/ that runs in a Docker engine as a project of its own, beside any other."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import yaml

from sandbox.docker import engine_answers
from sandbox.ports import LOOPBACK, free_port

ROOT = Path(__file__).parents[2]
COPIED = ("deploy", "libs", "services", "sandbox", "pyproject.toml", "README.md", "LICENSE", "requirements.lock")
IMAGES = {
    **dict.fromkeys(("collector", "processor", "console", "eventflow"), "event-flow-test"),
    "target": "event-flow-test-demo-target",
}
"""Images of our own, so that those of a deployment on this machine stay as they are."""

BASE_IMAGE = "python:3.13-slim"
BUILD_S = 900.0
COMMAND_S = 180.0


@dataclass(slots=True, kw_only=True)
class Stack:
    """A project of Compose; its containers, networks and volumes are removed at the end.

    Attributes:
        directory: The copy of deploy/, in which the commands of deploy/README.md work as written.
        services: Those that are started; the images of all others are not needed.
    """

    directory: Path
    services: Sequence[str]
    collector_port: int
    console_port: int
    logs_port: int
    management_port: int

    @classmethod
    def copy_to(cls, directory: Path, services: Sequence[str]) -> Self:
        """Copy the sources, and make the secrets and `.env` as deploy/README.md describes.

        Skip the test if there is no Docker engine with Compose, or if the image of a service is not on this machine.
        """
        if not engine_answers() or not _succeeds("docker", "compose", "version"):
            pytest.skip("no Docker engine with Compose answers")
        given = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
        for image in (BASE_IMAGE if name in IMAGES else given[name]["image"] for name in services):
            if not _succeeds("docker", "image", "inspect", image):
                pytest.skip(f"the image {image} is not on this machine: docker pull {image}")
        unwanted = shutil.ignore_patterns("__pycache__", "secrets", ".env")
        for source in (ROOT / name for name in COPIED):
            if source.is_dir():
                shutil.copytree(source, directory / source.name, ignore=unwanted)
            else:
                shutil.copy(source, directory)
        stack = cls(
            directory=directory / "deploy",
            services=services,
            collector_port=free_port(),
            console_port=free_port(),
            logs_port=free_port(),
            management_port=free_port(),
        )
        images = {name: {"image": image} for name, image in IMAGES.items()}
        (stack.directory / "test.yaml").write_text(yaml.safe_dump({"services": images}))
        stack.sh("./make-secrets && cp .env.example .env")
        return stack

    def __enter__(self) -> Self:
        try:
            self.sh("docker compose build", within_s=BUILD_S)
            self.sh(f"docker compose up --detach --wait {' '.join(self.services)}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sh("docker compose --profile '*' down --volumes --remove-orphans --timeout 20")

    def sh(self, script: str, *, within_s: float = COMMAND_S) -> str:
        """Run commands as an operator would type them, and return their standard output; they must succeed."""
        ended = self.attempt(script, within_s=within_s)
        assert ended.returncode == 0, f"{script}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def attempt(self, script: str, *, within_s: float = COMMAND_S) -> "subprocess.CompletedProcess[str]":
        """Run commands that may fail."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "COMPOSE_PROJECT_NAME": f"event-flow-test-{os.getpid()}",
            "COMPOSE_FILE": "compose.yaml:test.yaml",
            "COMPOSE_PROFILES": "demo,observability",
            "COLLECTOR_ADDRESS": f"{LOOPBACK}:{self.collector_port}",
            "CONSOLE_ADDRESS": f"{LOOPBACK}:{self.console_port}",
            "MANAGEMENT_ADDRESS": f"{LOOPBACK}:{self.management_port}",
            "LOGS_ADDRESS": f"{LOOPBACK}:{self.logs_port}",
        }


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=COMMAND_S).returncode == 0
