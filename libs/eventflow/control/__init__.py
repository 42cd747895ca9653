"""Messages between the processors of a flow, and the settings that an operator changes while they run."""
