"""Values with which the tests render the Helm chart: each switch is on in one of them."""

from functools import cache
from typing import Any

import yaml

from tests.support.documents import ROOT, blocks_of
from tests.support.kubernetes import EXAMPLES, Manifest, render, with_values

MINIMAL: dict[str, Any] = {
    "config": '[source]\nallow_unauthenticated = true\n[target]\nurl = "http://target/"\nrate_per_s = 10\n',
    "broker": {"existingSecret": "eventflow"},
    "console": {"auth": {"existingSecret": "eventflow"}},
}
UNLIMITED: dict[str, Any] = {
    **MINIMAL,
    "config": '[source]\nallow_unauthenticated = true\n[target]\nurl = "http://target/"\n',
}


def of_guide() -> dict[str, Any]:
    """Return the values of docs/kubernetes.md: those of the installation, and those for a handler."""
    blocks = list(blocks_of(ROOT / "docs" / "kubernetes.md"))
    installation, *_, handler = (yaml.safe_load(block.text) for block in blocks if block.language == "yaml")
    settings = [block.text for block in blocks if block.language == "toml"]
    return with_values(installation, {**handler, "config": "\n".join(settings)})


KEDA_USER = {
    "processor": {"autoscaling": {"enabled": True, "existingSecret": "eventflow-keda", "urlKey": "url", "tls": True}}
}

VALUE_SETS: dict[str, dict[str, Any]] = {
    "minimal": MINIMAL,
    "production": yaml.safe_load((EXAMPLES / "values.yaml").read_text()),
    "the guide": of_guide(),
    "collectors by CPU": with_values(MINIMAL, {"collector": {"autoscaling": {"enabled": True}}}),
    "processors by queue length": with_values(UNLIMITED, KEDA_USER | {"broker": {"tlsSecret": "rabbitmq-ca"}}),
    "users of an operator": with_values(
        MINIMAL,
        {
            "broker": {
                "url": "amqps://rabbitmq:5671/eventflow?cacertfile=/etc/eventflow/broker-tls/ca.crt",
                "managementUrl": "https://rabbitmq:15671",
                "tlsSecret": "rabbitmq-ca",
                "users": {
                    service: {"existingSecret": f"{service}-user-credentials"}
                    for service in ("collector", "processor", "relay", "console", "operator")
                },
            },
            "relay": {"enabled": True, "existingSecret": "eventflow-database"},
        },
    ),
    "with handlers": {
        "config": (
            "[flows.orders.source]\nallow_unauthenticated = true\n"
            '[flows.orders.handler]\ncall = "shop.handlers:book"\n'
            "[flows.notify.source]\nenabled = false\n"
            '[flows.notify.target]\nurl = "http://target/"\nrate_per_s = 10\n'
        ),
        "broker": {"existingSecret": "eventflow"},
        "console": {"auth": {"existingSecret": "eventflow"}},
        "processor": {"image": {"repository": "registry.example.com/shop", "tag": "7"}},
        "handlers": {"existingSecret": "eventflow-handlers"},
        "relay": {"enabled": True, "existingSecret": "eventflow", "urlKeys": {"owner": "database-owner-url"}},
        "networkPolicy": {"enabled": True},
        "podMonitor": {"enabled": True},
        "env": {"EVENTFLOW_FLOWS__ORDERS__HANDLER__DATABASE_URL_FILE": "/run/secrets/handlers/orders"},
    },
    "without a spool": with_values(MINIMAL, {"collector": {"spool": {"enabled": False}}}),
    "without a console": with_values(MINIMAL, {"console": {"enabled": False}}),
    "behind a proxy": with_values(
        MINIMAL,
        {
            "collector": {"ingress": {"enabled": True, "className": "public"}},
            "console": {
                "auth": {"mode": "proxy", "trustedProxies": ["10.0.0.0/8"]},
                "ingress": {"enabled": True, "hosts": ["console.example.com"], "tlsSecret": "console-tls"},
            },
        },
    ),
    "closed network": with_values(MINIMAL, {"networkPolicy": {"enabled": True, "targetPorts": []}}),
    "an image of version 0.2": with_values(
        MINIMAL, {"collector": {"shutdownDelaySeconds": None, "spool": {"drainTimeoutSeconds": None}}}
    ),
    "settings of its own": {**MINIMAL, "config": "", "existingConfigMap": "settings"},
}


@cache
def rendered(name: str) -> tuple[Manifest, ...]:
    """Return the objects of a set of values."""
    return tuple(render(VALUE_SETS[name]))
