"""A Prefect server on PostgreSQL, for several workers."""

from pathlib import Path

import pytest

from tests.support.cluster import cluster_in
from tests.support.postgres import PROGRAMS, postgres

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL here: apt-get install postgresql")
def test_several_workers_on_postgresql(project: Path, tmp_path: Path) -> None:
    with postgres() as address:
        settings = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address}
        with cluster_in(tmp_path / "cluster", settings) as cluster, cluster.worker(project), cluster.worker(project):
            runs = [cluster.submit("train-gpt/local") for _ in range(2)]
            done = [cluster.wait(run, "Completed") for run in runs]
    assert max(run.start_time for run in done) < min(run.end_time for run in done)  # in parallel, one on each worker
    assert not (tmp_path / "cluster" / "prefect.db").exists()
