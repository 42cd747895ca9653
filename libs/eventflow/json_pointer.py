"""JSON pointers (RFC 6901). Pure."""


def value_at(document: object, pointer: str) -> object:
    """Return the value that a JSON pointer leads to; None if it leads nowhere."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        match document:
            case dict():
                document = document.get(name)
            case list() if name.isascii() and name.isdecimal() and (name == "0" or name[0] != "0") and len(name) < 10:
                document = document[int(name)] if int(name) < len(document) else None
            case _:
                return None
    return document
