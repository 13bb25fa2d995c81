"""A Prefect server on PostgreSQL, for several workers."""

import shutil
import tempfile
from pathlib import Path

import pgserver

from tests import scratch
from tests.cluster import cluster_in


def test_several_workers_on_postgresql(project: Path, tmp_path: Path) -> None:
    folder = tempfile.mkdtemp(prefix="gptcore-postgres-")  # tmp_path is closed to the user it runs as under root
    database = pgserver.get_server(folder)
    address = f"postgresql+asyncpg://postgres@/postgres?host={folder}"
    settings = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address}
    try:
        with cluster_in(tmp_path / "cluster", settings) as cluster, cluster.worker(project), cluster.worker(project):
            runs = [cluster.submit("train-gpt/local") for _ in range(2)]
            assert {cluster.wait(run).state_name for run in runs} == {"Completed"}
            places = {cluster.flow_run(run).infrastructure_pid for run in runs}
        assert len(places) == 2
        assert not (tmp_path / "cluster" / "prefect.db").exists()
        assert scratch.processes_in(project) == []
    finally:
        database.cleanup()
        shutil.rmtree(folder)
