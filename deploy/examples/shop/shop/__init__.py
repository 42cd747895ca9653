"""An example of a user's package: the handler of a shop."""
