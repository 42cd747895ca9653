"""The choice of a database, as far as it can be tested without starting one."""

import pytest

from sandbox.database.probe import ServerAddress
from sandbox.database.provision import DatabaseMisnamed, DatabaseNotAvailable, provide
from sandbox.ports import free_port


def test_the_address_of_a_url_has_the_usual_port_and_login_if_it_names_none() -> None:
    address = ServerAddress.of("postgresql://db.example/history")
    assert (address.host, address.port, address.login) == ("db.example", 5432, "postgres")


def test_a_named_database_that_does_not_answer_is_an_error_without_its_password(tmp_path) -> None:
    environ = {"EVENTFLOW_TEST_DATABASE_URL": f"postgresql://me:geheim@127.0.0.1:{free_port()}/postgres"}
    with (
        pytest.raises(DatabaseNotAvailable, match="no PostgreSQL answers") as caught,
        provide(tmp_path, environ=environ),
    ):
        pass
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://me:geheim@127.0.0.1/x", "postgresql:///x"])
def test_a_database_with_another_url_is_named_wrongly(tmp_path, url) -> None:
    with pytest.raises(DatabaseMisnamed) as caught, provide(tmp_path, environ={"EVENTFLOW_TEST_DATABASE_URL": url}):
        pass
    assert caught.value.exit_status == 78
    assert "geheim" not in str(caught.value)
