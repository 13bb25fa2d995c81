"""An embedded registry whose checkout was moved: MLflow records where artifacts lie as absolute addresses."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

EXPERIMENT = "train-gpt"
RECORDED = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def local_path(address: str) -> Path | None:
    """The path that a `file:` address means; None for another address."""
    return Path(url2pathname(urlsplit(address).path)) if address.startswith("file:") else None


def follow_checkout(checkout: Path) -> None:
    """Let the registry embedded in `checkout`, if there is one, find its artifacts there."""
    if (checkout / "mlflow.db").is_file():
        follow(checkout / "mlflow.db", (checkout / "mlartifacts").as_uri())


def follow(database: Path, here: str) -> None:
    """Let the records of `database` lead to the artifacts at the address `here`, if they were moved together."""
    with closing(sqlite3.connect(database)) as connection, connection:
        was = _recorded(connection)
        if was is None or was == here or not _is_moved(was, here):
            return
        for table, column in RECORDED:
            inside = f"{column} = :was OR substr({column}, 1, length(:was) + 1) = :was || '/'"
            connection.execute(
                f"UPDATE {table} SET {column} = :here || substr({column}, length(:was) + 1) WHERE {inside}",
                {"was": was, "here": here},
            )


def _recorded(connection: sqlite3.Connection) -> str | None:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return None
    found = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
    return str(found[0]) if found and found[0] else None


def _is_moved(was: str, here: str) -> bool:
    """Not when the artifacts were put elsewhere on purpose, or a copy of the database alone was made."""
    old, new = local_path(was), local_path(here)
    return bool(old and new and old.name == new.name and (new.is_dir() or not old.is_dir()))
