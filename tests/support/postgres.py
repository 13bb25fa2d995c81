"""A PostgreSQL server on this machine, reached through a socket: it stands in for a cluster's database."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian's package postgresql
USER = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root


@contextmanager
def postgres() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database; the server stops when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="gptcore-postgres-"))
    if USER:
        shutil.chown(folder, USER)
    try:
        _run("initdb", "--username=gptcore", "--auth=trust", "--no-sync", "--pgdata", folder / "data")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        _run("pg_ctl", "--pgdata", folder / "data", "--log", folder / "log", "--options", options, "--wait", "start")
        try:
            yield f"postgresql+asyncpg://gptcore@/postgres?host={folder}"
        finally:
            _run("pg_ctl", "--pgdata", folder / "data", "--mode=immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _run(program: str, *words: str | Path) -> None:
    subprocess.run([PROGRAMS[-1] / program, *words], cwd="/", user=USER, check=True, stdout=subprocess.DEVNULL)
