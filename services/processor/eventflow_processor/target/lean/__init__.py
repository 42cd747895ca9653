"""Lean HTTP/1.1 client: attempts by callbacks on connections that are kept, without a task for each of them."""
