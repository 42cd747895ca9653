"""The judgement of a request: from its head and body to its events or a rejection, without I/O."""
