"""The limit of open files and sockets of this process."""

import resource
import sys

import structlog

log = structlog.stdlib.get_logger()


def raise_descriptor_limit() -> int:
    """Raise the limit of open files and sockets to the hard limit, if the system allows it, and return the limit.

    Shells and systemd set a low soft limit for programs that use `select`, which fails above 1024. This process does
    not use it: its event loop uses epoll or kqueue.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return _count(soft)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS reports an unlimited number, and refuses to set it
        log.warning("descriptors.limit_kept", limit=_count(soft), reason=str(error))
        return _count(soft)
    log.info("descriptors.limit_raised", limit=_count(hard), previously=soft)
    return _count(hard)


def _count(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
