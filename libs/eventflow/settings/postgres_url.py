"""URLs of databases in PostgreSQL. Pure."""

from urllib.parse import urlsplit

POSTGRES_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


def check_postgres_url(url: str, *, expected: str = POSTGRES_FORM) -> None:
    """Check the form of a URL. No error shows a part of it.

    Args:
        url: The URL.
        expected: The accepted forms, for the error.

    Raises:
        ValueError: It is not the URL of a database, or a part of its password would be read as the database's name.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"{expected} is expected") from None
    # Messages show the host and the name of the database, which would have the password in them.
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError(
            "it has an @ after the first /, ? or #: in the user and the password, write / as %2F, ? as %3F, # as %23 "
            "and @ as %40"
        )
    if parts.scheme not in {"postgresql", "postgres"} or len(parts.path) < 2 or not url.isprintable():
        raise ValueError(f"{expected} is expected")
