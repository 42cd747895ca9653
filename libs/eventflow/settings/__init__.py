"""Settings: a TOML file overridden by environment variables, parsed once into frozen models."""
