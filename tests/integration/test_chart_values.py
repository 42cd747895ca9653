"""The Helm chart refuses wrong values, with a message that names the value."""

from typing import Any

import pytest

from tests.support.charts import MINIMAL, UNLIMITED
from tests.support.kubernetes import template, with_values


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"collectors": {}}, "additional properties 'collectors' not allowed"),
        ({"collector": {"replica": 3}}, "'/collector': additional properties 'replica' not allowed"),
        ({"collector": {"replicas": 0}}, "'/collector/replicas': minimum: got 0, want 1"),
        ({"collector": {"replicas": "2"}}, "'/collector/replicas': got string, want integer"),
        ({"collector": {"autoscaling": {"engine": "vpa"}}}, "'/collector/autoscaling/engine': value must be one of"),
        ({"collector": {"spool": {"size": "3 GB"}}}, "'/collector/spool/size': '3 GB' does not match"),
        ({"processor": {"autoscaling": {"minReplicas": 0}}}, "'/processor/autoscaling/minReplicas': minimum: got 0"),
        ({"console": {"auth": {"mode": "none"}}}, "'/console/auth/mode': value must be one of 'basic', 'proxy'"),
        ({"image": {"digest": "4a5b"}}, "'/image/digest': '4a5b' does not match pattern"),
        ({"broker": {"users": {"console": {"urlKey": ""}}}}, "'/broker/users/console/urlKey': '' does not match"),
        ({"env": {"eventflow.target.url": "x"}}, "'/env': additional properties 'eventflow.target.url' not allowed"),
        ({"env": {"EVENTFLOW_TARGET__URL": ["x"]}}, "'/env/EVENTFLOW_TARGET__URL'"),
        ({"telemetry": {"logLevel": "trace"}}, "'/telemetry/logLevel': value must be one of"),
        ({"networkPolicy": {"brokerPorts": [0]}}, "'/networkPolicy/brokerPorts/0': minimum: got 0, want 1"),
        ({"config": "[target\n"}, "config is not valid TOML"),
        ({"broker": {"existingSecret": ""}}, "broker.existingSecret is missing"),
        ({"console": {"auth": {"existingSecret": ""}}}, "console.auth.existingSecret is missing"),
        ({"relay": {"enabled": True}}, "relay.existingSecret is missing"),
        (
            {"collector": {"autoscaling": {"enabled": True, "engine": "keda"}}},
            "collector.autoscaling.prometheusUrl is missing",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else None,
)  # fmt: skip
def test_a_wrong_value_is_refused_and_named(wrong: dict[str, Any], message: str) -> None:
    refused = template(with_values(MINIMAL, wrong))
    assert refused.returncode == 1
    assert message in refused.stderr


def test_kedas_certificate_authority_is_asked_for() -> None:
    refused = template(with_values(UNLIMITED, {"processor": {"autoscaling": {"enabled": True, "tls": True}}}))
    assert "broker.tlsSecret is missing" in refused.stderr
