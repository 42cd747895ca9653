"""Values as shells, Compose files, Kubernetes and editors leave them."""

import codecs

import pytest

from eventflow.settings.value_text import check_literal, check_path, decoded


@pytest.mark.parametrize(
    "text", ["/vol", "5", "", '"', "it's", '{"a": "b"}', '["one", "two"]', "$ecret", "a$b{c}", "O'Brien'"]
)
def test_a_value_that_means_itself_is_taken(text: str) -> None:
    check_literal(text)


@pytest.mark.parametrize(
    "text",
    [
        *('"/vol"', "'5'", '""', "''", ' "5" ', "`5`", "\u201c5\u201d", "\u2018/vol\u2019", '"a","b"', '"a"\n"b"'),
        *(
            "${SPOOL}",
            "/vol/${NAME:-x}",
            "${}",
            "$(POD_IP)",
            "http://$(HOST)/",
            "{{ .Values.url }}",
            "http://{{host}}/",
        ),
    ],
)
def test_a_value_with_its_quotes_or_a_variable_that_was_not_expanded_is_refused(text: str) -> None:
    """docker/cli#3630, docker/cli#4665: `--env-file` keeps quotes, and Kubernetes a `$(NAME)` that it does not know."""
    with pytest.raises(ValueError, match=r"quotes|not expanded"):
        check_literal(text)


@pytest.mark.parametrize("path", ["/vol", "/", "/with space", "/PROGRA~1", "/a/b~", "/schl\u00fcssel", "/a$b"])
def test_an_absolute_path_is_taken(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            '"/vol"',
            "~/x",
            "$HOME/x",
            "/x/$HOME",
            "/x/~/y",
            "/~root",
            "${PWD}/x",
            "$(pwd)/x",
            "vol",
            "./vol",
            "",
            "C:\\vol",
        ),
        *("/vol\n", "/vo\0l", '/vol"', "file:///vol"),
    ],
)
def test_a_path_that_would_be_another_one_than_meant_is_refused(path: str) -> None:
    """Reproduced on 0.1.0 (docker/cli#4665): quotes, `~` and `$HOME` made a folder in the working directory."""
    with pytest.raises(ValueError, match=r"absolute|quotes|not expanded"):
        check_path(path)


def test_byte_order_marks_are_removed_where_files_were_joined() -> None:
    assert decoded(codecs.BOM_UTF8 + b"one\n" + codecs.BOM_UTF8 + "zw\u00f6lf".encode()) == "one\nzw\u00f6lf"


@pytest.mark.parametrize(
    "content", ["a".encode("utf-16"), "ab".encode("utf-16-le"), "ab".encode("utf-32"), b"\xff", b"a\0"]
)
def test_a_file_that_is_not_utf8_is_named_as_that(content: bytes) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        decoded(content)
