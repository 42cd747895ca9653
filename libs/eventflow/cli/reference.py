"""`eventflow settings`: the reference of all settings, made from their models; docs/configuration.md is its output."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from eventflow.cli.console import out, table
from eventflow.settings.environment import CONFIG_VARIABLE, DEFAULT_CONFIG, ENV_PREFIX
from eventflow.settings.sections import Section, Settings, is_secret

UNSET = "unset"

EXAMPLE = """\
[broker]
url = "amqp://eventflow:password@rabbitmq.internal:5672/eventflow"

[collector]
host = "127.0.0.1"
port = 8080

[target]                       # the flow `default`: POST /events
url = "https://api.example.com/events"
rate_per_s = 20                # quota units per second, for all processors together
burst = 40

[flows.orders.source]          # the flow `orders`: POST /events/orders
max_body_bytes = 262144

[flows.orders.target]
url = "https://shop.example.com/orders"
rate_per_s = 2
retry_delays_s = [5, 60, 600]
"""

INTRODUCTION = f"""\
# Configuration

<!-- Made by `eventflow settings --markdown` from libs/eventflow/settings/; change it there. -->

Settings come from a TOML file, which `--config` or `{CONFIG_VARIABLE}` names (else `{DEFAULT_CONFIG}`, where there is
one), and from environment variables, which override it. Environment variables alone are enough. A wrong setting stops
the service at start with one line that names the setting, its value (never a secret) and what is accepted.

* **Secrets from files**: with `_FILE` behind its name a variable names a file that holds the value:
  `EVENTFLOW_BROKER__URL_FILE=/run/secrets/broker-url`. Set a variable or its `_FILE`, never both. Settings marked
  *secret* are never shown in logs or errors.
* **Several secrets**: in a file one on each line, where a comma belongs to it (`..._HEADERS_FILE` holds one JSON
  object, `EVENTFLOW_BROKER__URL_FILE` URLs on lines or behind commas). In a variable they are separated by commas or
  given as a JSON array; `v1,whsec_...` is one. A signing secret has at least 8 characters, and so
  has an API key unless it stands in a file. One that is named and empty is an error, and so is a placeholder, such as
  `null`, `$API_KEY`, `<api-key>`, `changeme` or `********`. Files are UTF-8; byte order marks in them are removed.
* **Broker URLs**: percent-encode every character in user, password and virtual host that is not an ASCII letter or
  digit (`#` is `%23`). Or set `EVENTFLOW_BROKER__USERNAME` and `EVENTFLOW_BROKER__PASSWORD`, as they are: they apply
  to every URL that names no user. A URL that names one keeps it; if all do, setting the two is an error.
* **Roles**: the collector needs no secret of the targets, a processor none of the senders, and the command `eventflow`
  neither. Each checks only the settings that it uses; a name that is no setting is an error in each.
* **Tracing** follows OpenTelemetry's own variables: traces are exported when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

`eventflow check` reports whether broker, queues, policies and targets fit these settings.

## How names and values are written

* **Names** of variables have two underscores between their parts and are read in any case: `eventflow_target__url` is
  `EVENTFLOW_TARGET__URL`. One that is set in two cases is an error, and so is every name behind `EVENTFLOW_` that is
  no setting. Ignored are only the variables that Kubernetes injects for a Service called `eventflow...`, such as
  `EVENTFLOW_COLLECTOR_SERVICE_HOST`, `EVENTFLOW_COLLECTOR_PORT_8080_TCP_ADDR` and
  `EVENTFLOW_COLLECTOR_PORT=tcp://10.0.0.1:8080`. TOML keys are in lower case.
* **Values** are taken as they stand; only white space around them is ignored. One that still has quotes around it, as
  `docker --env-file` keeps them, or still holds `${{NAME}}`, `$(NAME)` or `{{{{ name }}}}`, is an error.
* **Numbers**: `5`, `1_000`, and for those that need not be whole `0.5` and `1e3` too. Units are in the names, never in
  the values: `_s` seconds, `_bytes` bytes, `_per_s` per second; half a second is `0.5`. `auto` or an empty value is
  accepted only by the settings that mention `auto`.
* **Booleans**: `true`, `1`, `yes`, `on`, `y` and `t`, or `false`, `0`, `no`, `off`, `n` and `f`, in any case; in TOML
  `true` and `false`.
* **Choices** are written as they are listed, in lower case.
* **Lists** are comma-separated in variables and arrays in TOML.
* **Paths** are absolute, those in `_FILE` variables and in `EVENTFLOW_CONFIG` too: they begin with `/`, and nothing
  expands `~` or `$HOME`. Only `--config` may name a file relative to the working directory, where `eventflow.toml` is
  looked for too. An empty `SPOOL_DIR` is none.
* **URLs** of targets and of the management API: `http://host/path` or `https://host:8443/path?query`, without spaces. A
  host is a name (labels of at most 63 characters, 253 in all; `bücher.example` is encoded), an IPv4 address, or an IPv6
  address in brackets. Errors show no more of a target's URL than its scheme, host and port.
* **Addresses to listen on**: a name, an IPv4 address, or an IPv6 address with brackets or without. `0.0.0.0` is every
  address of IPv4, `::` every address of IPv6 and of IPv4.
"""

FLOWS = f"""\
## Flows

`[source]` and `[target]` are the flow `default`. `[flows.NAME.source]` and `[flows.NAME.target]` add the flow NAME
(a-z, 0-9, `_` and `-`, at most 63 characters) with the same keys; their variables are
`{ENV_PREFIX}FLOWS__NAME__SOURCE__...` and `{ENV_PREFIX}FLOWS__NAME__TARGET__...`. Where only such flows are configured
there is no flow `default`. Each flow has queues, a target and a quota of its own.

## Example

```toml
{EXAMPLE}```
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting as the reference shows it."""

    variable: str
    toml: str
    default: str
    accepted: str
    meaning: str
    secret: bool


def command(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/configuration.md.")] = False,
) -> None:
    """Show every setting: variable, TOML key, default, what is accepted and what it means. Reads no settings."""
    if markdown:
        typer.echo(as_markdown(), nl=False)
        return
    for name, section in sections().items():
        shown = table("variable", "default", "accepted", "meaning")
        for setting in settings_in(name, section):
            meaning = f"{setting.meaning} (secret)" if setting.secret else setting.meaning
            shown.add_row(setting.variable, setting.default or UNSET, setting.accepted, meaning)
        out.print(f"[{name}] {section.__doc__}", style="bold")
        out.print(shown)
        out.print()


def as_markdown() -> str:
    """Return the text of docs/configuration.md."""
    parts = [INTRODUCTION]
    for name, section in sections().items():
        rows = [
            f"| `{setting.variable}` | `{setting.toml}` | {_code(setting.default)} | {setting.accepted} "
            f"| {setting.meaning}{'; *secret*' if setting.secret else ''} |"
            for setting in settings_in(name, section)
        ]
        head = ["| variable | TOML key | default | accepted | meaning |", "|---|---|---|---|---|"]
        parts.append("\n".join([f"## `[{name}]`", "", section.__doc__ or "", "", *head, *rows, ""]))
    return "\n".join([*parts, FLOWS])


def sections() -> dict[str, type[Section]]:
    """Return the settings' sections by name, without the further flows, which repeat two of them."""
    found = {}
    for name, field in Settings.model_fields.items():
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, Section) and name != "flows":
                found[name] = candidate
    return found


def settings_in(name: str, section: type[BaseModel]) -> Iterator[Setting]:
    """Yield the settings of a section."""
    schemas: Mapping[str, Any] = section.model_json_schema()["properties"]
    for key, field in section.model_fields.items():
        yield Setting(
            variable=f"{ENV_PREFIX}{name}__{key}".upper(),
            toml=f"{name}.{key}",
            default=default_of(field),
            accepted=accepted_by(schemas[key]),
            meaning=field.description or "",
            secret=is_secret(field),
        )


def default_of(field: FieldInfo) -> str:
    """Return a default as a variable would give it; empty where there is none."""
    return _as_text(field.default)


def accepted_by(schema: Mapping[str, Any]) -> str:
    """Say in words what a JSON schema accepts."""
    if "anyOf" in schema:
        return " or ".join(accepted_by(choice) for choice in schema["anyOf"] if choice.get("type") != "null")
    if "enum" in schema:
        return ", ".join(schema["enum"])
    kind = schema["type"]
    if kind == "array":
        return f"list, each: {accepted_by(schema['items'])}"
    words = {"object": "JSON object", "boolean": "true, false", "integer": "whole number", "string": "text"}
    return " ".join([words.get(kind, kind), *_bounds(schema)])


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    if "minimum" in schema:
        yield f"from {_number(schema['minimum'])}"
    if "exclusiveMinimum" in schema:
        yield f"above {schema['exclusiveMinimum']}"
    if "maximum" in schema:
        yield f"to {schema['maximum']}"


def _number(value: float) -> str:
    """Write a number without an exponent."""
    return f"{value:f}".rstrip("0") if "e" in repr(value) else str(value)


def _as_text(value: object) -> str:
    if not value and value is not False and value != 0:
        return ""
    match value:
        case SecretStr():
            return value.get_secret_value()  # a default is public
        case tuple():
            return ",".join(_as_text(part) for part in value)
        case bool() | dict():
            return json.dumps(value)
        case float():
            return f"{value:g}"
    return str(value)


def _code(text: str) -> str:
    return f"`{text}`" if text else UNSET
