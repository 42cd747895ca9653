"""Settings of all programs: a TOML file and environment variables, read once into frozen models.

Each variable is `EVENTFLOW_{SECTION}__{FIELD}`; with the suffix `_FILE` it names a file that holds the value.
`[source]` and `[target]` are the flow `default`; `[flows.NAME.source]` and `[flows.NAME.target]` add more flows.
docs/configuration.md is generated from the models: one module for each section, and `root` that assembles them.

Nothing is imported here: the health check of a container uses `environment` alone, and must start fast.
"""
