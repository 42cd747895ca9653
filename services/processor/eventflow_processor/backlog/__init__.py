"""Size, age and order of a flow's backlog, and when it will be gone."""
