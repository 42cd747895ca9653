"""Cost of many flows and many processors: measured with real processes on a real broker, and as a model on paper."""
