"""`eventflow sources`: the senders that are known, and the description of each as TOML."""

from typing import Annotated, assert_never

import typer

from eventflow.cli.console import out, print_json, table
from eventflow.cli.options import JsonOption
from eventflow.senders.table import SENDERS
from eventflow.senders.vocabulary import Basic, Certificate, Ed25519, Hmac, Proxied, Scheme, Sender, Token
from eventflow.senders.writing import as_toml


def sources(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this one as TOML, as a beginning for your own.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the senders that a flow can verify.

    Each is a value for EVENTFLOW_SOURCE__VERIFY. `eventflow init NAME` writes its settings. A sender that is not in the
    list can be described in the section [senders] of the TOML file; docs/sources.md explains the words.
    """
    if name is not None:
        if name not in SENDERS:
            raise typer.BadParameter(f"{name!r} is none of: {', '.join(SENDERS)}", param_hint="NAME")
        out.print(as_toml(SENDERS[name], name=f"my-{name}"), soft_wrap=True, end="")
        return
    if as_json:
        print_json([{"name": sender.name, "title": sender.title, **_facts(sender)} for sender in SENDERS.values()])
        return
    rows = table("name", "sender", "authentication", "checks the endpoint by", "secret")
    for sender in SENDERS.values():
        facts = _facts(sender)
        rows.add_row(sender.name, sender.title, facts["authentication"], facts["handshakes"], sender.credential)
    out.print(rows)


def _facts(sender: Sender) -> dict[str, str]:
    return {
        "authentication": " or ".join(dict.fromkeys(map(_in_words, sender.authentication))),
        "handshakes": ", ".join(dict.fromkeys(handshake.method for handshake in sender.handshakes)),
        "secret": sender.credential,
    }


def _in_words(scheme: Scheme) -> str:
    match scheme:
        case Hmac(algorithm=algorithm):
            return f"HMAC-{algorithm.upper()}"
        case Ed25519():
            return "Ed25519"
        case Certificate():
            return "certificate"
        case Token():
            return "token"
        case Basic():
            return "user and password"
        case Proxied(header=header):
            return f"{header} of a trusted proxy"
        case _:
            assert_never(scheme)
