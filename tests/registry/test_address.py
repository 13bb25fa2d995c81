"""A checkout's path is a path, whatever characters it has. tests/conftest.py runs whole flows in `a 100%?#jörg`."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from gptcore.errors import UserError
from gptcore.registry.address import check_place, embedded_uri, sqlite_file, tracking_uri

PATHS = ["/tmp/a", "/tmp/a %20#jörg", "/tmp/100%", "/tmp/a?b=c", "/tmp/a@b:c", "/tmp/[x]", "/tmp/%25%3F"]


@pytest.mark.parametrize("path", PATHS)
def test_sqlalchemy_opens_the_database_in_the_checkout(path: str) -> None:
    uri = embedded_uri(Path(path))
    assert make_url(uri).database == f"{path}/mlflow.db"
    assert dict(make_url(uri).query) == {}
    assert sqlite_file(uri) == Path(path, "mlflow.db")


def test_other_addresses() -> None:
    assert sqlite_file("sqlite:///mlflow.db") == Path("mlflow.db")
    assert sqlite_file("sqlite:////a/b.db?timeout=3") == Path("/a/b.db")
    assert sqlite_file("http://host/sqlite:///a") is None
    assert sqlite_file("postgresql://host/db") is None


def test_a_path_from_which_mlflow_cannot_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_place(Path("/tmp/100% jörg?#"))
    with pytest.raises(UserError, match=r"from /tmp/a%20b, .* rename the folder, or set MLFLOW_TRACKING_URI"):
        check_place(Path("/tmp/a%20b"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    check_place(Path("/tmp/a%20b"))
    assert tracking_uri(Path("/tmp/a%20b")) == "http://localhost:5000"
