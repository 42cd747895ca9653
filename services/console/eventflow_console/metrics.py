"""The console's metrics."""

from eventflow.telemetry.metrics import LATENCY_BUCKETS_S, MetricTable, counter, gauge, histogram


class ConsoleMetrics(MetricTable):
    """Counters and times of the console. No label has a value that a visitor chooses."""

    requests = counter("eventflow_console_requests", "Requests, by route and class of status (2xx).", "route", "status")
    streams = gauge("eventflow_console_streams", "Open streams, of live pages or of rows.", "kind")
    logins_refused = counter("eventflow_console_logins_refused", "Requests with a wrong name or password.", "reason")
    changes_refused = counter("eventflow_console_changes_refused", "Requests for a change that were refused.", "reason")
    query_seconds = histogram(
        "eventflow_console_query_seconds", "Time of a query to the history.", "query", buckets=LATENCY_BUCKETS_S
    )
    query_failures = counter(
        "eventflow_console_query_failures", "Queries to the history without an answer.", "query", "reason"
    )
