"""Templates become pages. Every value is escaped, and an unknown name in a template is an error."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eventflow import __version__
from eventflow.event import format_time, utc_now
from eventflow.operations.history.words import gap_reason
from eventflow_console.pages import texts, words
from eventflow_console.pages.addresses import address
from eventflow_console.pages.assets import asset_address


def render(template: str, *, now: datetime | None = None, **values: object) -> str:
    """Return a page, or a part of one.

    Args:
        template: Its name.
        now: The time to which others are related; the present by default.
        values: The values of its names.
    """
    moment = now or utc_now()
    return _ENVIRONMENT.get_template(template).render(values, now=moment, when=partial(_when, now=moment))


def _when(moment: datetime | None, *, now: datetime) -> str | Markup:
    """Return a time with its distance from now. The script keeps the distance up to date on an open page."""
    if moment is None:
        return words.UNKNOWN
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{} <span class="ago">{}</span></time>').format(
        format_time(utc), f"{utc:%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC", words.clock(utc, now), words.ago(utc, now)
    )


def _printable(value: object) -> object:
    """Return a value with an escape for each character that is not printable, such as a mark of direction.

    Templates cut texts to their lengths; this holds for every value, so that none can be forgotten.
    """
    return value if isinstance(value, Markup) or not isinstance(value, str) else texts.printable(value)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: Mapping[str, Any] = {
        "line": texts.line,
        "number": words.number,
        "rate": words.rate,
        "duration": words.duration,
        "size": words.size,
    }
    environment.filters.update(filters)
    environment.globals.update(
        UNKNOWN=words.UNKNOWN,
        address=address,
        asset=asset_address,
        clock=words.clock,
        counted=words.counted,
        gap_reason=gap_reason,
        percent=words.percent,
        version=__version__,
    )
    return environment


_ENVIRONMENT: Final = _environment()
