"""Takes events in over HTTP and answers 202 once each is safe."""
