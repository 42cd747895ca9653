"""One transaction for each call of a handler, over the driver or the sessions that the user has chosen."""
