"""The example of a shop on this machine (`make run-example`), and the orders of its customers (`make orders`)."""
