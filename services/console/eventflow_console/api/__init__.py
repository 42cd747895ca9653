"""The JSON API under /api/v1: the answers of the pages, for programs."""
