"""`eventflow status`: the state of each flow, and of the services."""
