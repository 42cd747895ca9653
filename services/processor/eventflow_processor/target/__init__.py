"""One attempt: the request to the target, and the judgement of its answer."""
