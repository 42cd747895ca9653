"""A rate-limited target that audits the requests that reach it."""
