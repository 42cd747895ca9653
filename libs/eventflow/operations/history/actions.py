"""Actions of operators on record: who paused, resumed, set a rate, replayed, exported or deleted, and when."""

from eventflow.errors import HistoryError
from eventflow.event import new_event_id, utc_now
from eventflow.history.opening import path_of
from eventflow.history.records import Action
from eventflow.operations.history.session import in_time, opened
from eventflow.settings.history import HistorySettings


def new_action(kind: str, *, by: str, flow: str, detail: str = "") -> Action:
    """Return an action of this moment."""
    return Action(id=new_event_id(), at=utc_now(), by=by, flow=flow, kind=kind, detail=detail)


async def record_action(settings: HistorySettings, action: Action) -> str | None:
    """Put an action on record, within 2 s. It is done already, so an error must not make it fail.

    Returns:
        The reason why it is not on record; None if it is, or if no history is configured.
    """
    if settings.url is None:
        return None
    path = path_of(settings.url.get_secret_value())
    if path is not None and not path.exists():
        # It would be made for this user only, who is often not the user of the processors.
        return f"there is no file {path} yet; a processor creates it when it starts"
    try:
        async with opened(settings) as store, in_time():
            await store.put_action(action)
    except HistoryError as error:
        return str(error)
    return None
