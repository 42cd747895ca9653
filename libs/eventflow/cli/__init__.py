"""The operator's command `eventflow`. Each command is a module, or a package of modules, and one line in `__main__`."""
