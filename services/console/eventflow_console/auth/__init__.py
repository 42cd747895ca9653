"""The operator behind a request: known by a password, named by a proxy, or anyone on a console for one machine."""
