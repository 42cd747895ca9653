"""`python -m eventflow.cli`."""

from eventflow.cli import main

if __name__ == "__main__":
    main()
