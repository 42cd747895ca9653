"""Names of processes."""

import re
import socket

import pytest

from eventflow.service.instance import name_instance
from eventflow.topology import control_queue


def test_processes_that_agree_on_host_and_process_id_have_other_names() -> None:
    """Reproduced on 0.1.0: two containers on the host's network, both of process id 1, and only the first sent."""
    assert name_instance("eventflow-processor") != name_instance("eventflow-processor")


@pytest.mark.parametrize("host", ["O'Brien-PC", "hôte", "a" * 300, "with space", "", "x/y,z;\n"])
def test_any_host_name_makes_a_name_that_amqp_takes(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """celery#1539: the host name `O'Brien-PC` made a queue's name that the AMQP library refuses."""
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    name = name_instance("eventflow-processor")
    assert re.fullmatch(r"[A-Za-z0-9._@:-]+", name)
    assert len(name) <= 120
    assert len(control_queue(name)) <= 255
