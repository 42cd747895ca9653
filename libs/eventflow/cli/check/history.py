"""Check that the history can be used, if one is configured."""

from eventflow.cli.check.finding import Finding, Verdict
from eventflow.errors import HistoryError
from eventflow.history.opening import shown_url
from eventflow.history.store import StoreReport
from eventflow.operations.history.session import URL_VARIABLE, in_time, opened
from eventflow.settings.history import HistorySettings

AWAY_ADVICE = f"start it, or correct {URL_VARIABLE}; events do not wait for it"
ADVICE = "docs/history.md"


async def check_history(settings: HistorySettings) -> list[Finding]:
    """Look at the schema and the rights of the history."""
    if settings.url is None:
        return []
    subject = f"history {shown_url(settings.url.get_secret_value())}"
    try:
        async with opened(settings) as store, in_time():
            report = await store.check()
    except HistoryError as error:
        return [Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice=AWAY_ADVICE)]
    return [finding_of(subject, report)]


def finding_of(subject: str, report: StoreReport) -> Finding:
    """Judge the state of a store."""
    if report.problems:
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found="; ".join(report.problems), advice=ADVICE)
    return Finding(subject=subject, verdict=Verdict.OK, found=f"{report.kind}, schema version {report.version}")
