"""`eventflow check`: one module for each thing that it checks."""
