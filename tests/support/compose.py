"""Copies of deploy/ that run in a Docker engine as projects of their own, beside any other."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
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

USER_OF_THE_HISTORY = (
    "docker compose exec -T postgres psql --username eventflow --command 'SELECT 1' >/dev/null 2>&1 || "
    "docker compose exec -T postgres sh -c 'createuser --superuser eventflow && createdb --owner eventflow eventflow'"
)
"""Command that creates the user of the history, if the image has not done it: only the published one does."""

BASE_IMAGE = "python:3.13-slim"
BUILD_S = 900.0
COMMAND_S = 180.0


@dataclass(slots=True, kw_only=True)
class Project:
    """A project of Compose.

    Attributes:
        directory: The directory of its Compose file, in which the commands of its README work as written.
        environment: Variables for Compose, such as the name of the project.
    """

    directory: Path
    environment: Mapping[str, str]

    def sh(self, script: str, *, within_s: float = COMMAND_S, is_interruptible: bool = True) -> str:
        """Run commands as an operator would type them, and return their standard output; they must succeed."""
        ended = self.attempt(script, within_s=within_s, is_interruptible=is_interruptible)
        assert ended.returncode == 0, f"{script}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def attempt(
        self, script: str, *, within_s: float = COMMAND_S, is_interruptible: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run commands that may fail.

        Args:
            script: The commands, in Bash.
            within_s: Time after which they are killed.
            is_interruptible: Whether a Ctrl-C in the terminal of the tests ends them too.
        """
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
            start_new_session=not is_interruptible,
        )

    def remove(self) -> None:
        """Remove its containers, networks and volumes."""
        script = "docker compose --profile '*' down --volumes --remove-orphans --timeout 20"
        self.sh(script, is_interruptible=False)


def copy_sources(directory: Path) -> Path:
    """Copy the files that a build needs; return the copy of deploy/, without secrets and settings."""
    unwanted = shutil.ignore_patterns("__pycache__", "secrets", ".env")
    for source in (ROOT / name for name in COPIED):
        if source.is_dir():
            shutil.copytree(source, directory / source.name, ignore=unwanted)
        else:
            shutil.copy(source, directory)
    return directory / "deploy"


def missing_means(images: Iterable[str]) -> str | None:
    """Return the reason for which this machine cannot run a project with these images; None if it can."""
    if not engine_answers() or not _succeeds("docker", "compose", "version"):
        return "no Docker engine with Compose answers"
    for image in images:
        if not _succeeds("docker", "image", "inspect", image):
            return f"the image {image} is not on this machine: docker pull {image}"
    return None


@dataclass(slots=True, kw_only=True)
class Stack(Project):
    """deploy/compose.yaml. Use it as a context manager, which starts and removes it.

    Attributes:
        services: Those that are started; the images of all others are not needed.
    """

    services: Sequence[str]
    collector_port: int
    console_port: int
    logs_port: int

    @classmethod
    def copy_to(cls, directory: Path, services: Sequence[str]) -> Self:
        """Copy the sources, and make the secrets and `.env` as deploy/README.md describes.

        Skip the test if there is no Docker engine with Compose, or if the image of a service is not on this machine.
        """
        given = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
        missing = missing_means(BASE_IMAGE if name in IMAGES else given[name]["image"] for name in services)
        if missing is not None:
            pytest.skip(missing)
        collector_port, console_port, logs_port = (free_port() for _ in range(3))
        environment = {
            "COMPOSE_PROJECT_NAME": f"event-flow-test-{os.getpid()}",
            "COMPOSE_FILE": "compose.yaml:test.yaml",
            "COMPOSE_PROFILES": "demo,history,observability",
            "COLLECTOR_ADDRESS": f"{LOOPBACK}:{collector_port}",
            "CONSOLE_ADDRESS": f"{LOOPBACK}:{console_port}",
            "MANAGEMENT_ADDRESS": f"{LOOPBACK}:{free_port()}",
            "LOGS_ADDRESS": f"{LOOPBACK}:{logs_port}",
        }
        stack = cls(
            directory=copy_sources(directory),
            environment=environment,
            services=services,
            collector_port=collector_port,
            console_port=console_port,
            logs_port=logs_port,
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
        self.remove()


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=COMMAND_S).returncode == 0
