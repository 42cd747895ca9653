"""When attempts of a flow may start."""
