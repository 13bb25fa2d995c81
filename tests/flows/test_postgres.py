"""A Prefect server on PostgreSQL, for several workers."""

from pathlib import Path

import pytest

from flows.services.database import prefect_database
from flows.services.deploy import EVERYWHERE
from gptcore.errors import Unavailable, UserError
from tests.support.cluster import cluster_in
from tests.support.postgres import PROGRAMS, postgres


@pytest.mark.load  # after a change of flows/services/database.py
@pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL here: apt-get install postgresql")
def test_several_workers_on_postgresql(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres() as address:
        monkeypatch.setenv("GPTCORE_POSTGRES", address.replace("/postgres?", "/elsewhere?"))
        with pytest.raises(UserError, match='database "elsewhere" does not exist'):
            prefect_database()
        monkeypatch.setenv("GPTCORE_POSTGRES", address)
        settings = prefect_database()
        with cluster_in(tmp_path / "cluster", settings) as cluster, cluster.worker(project), cluster.worker(project):
            with cluster.client() as client:
                pools = {pool.name for pool in client.read_work_pools()}
                served = {deployment.work_pool_name for deployment in client.read_deployments()}
            assert pools == served == set(EVERYWHERE)  # what this machine cannot serve, nobody has asked for
            runs = [cluster.submit("train-gpt/train-local", promotion=False) for _ in range(2)]
            done = [cluster.wait(run, "Completed") for run in runs]
    assert max(run.start_time for run in done) < min(run.end_time for run in done)  # in parallel, one on each worker
    assert not (tmp_path / "cluster" / "prefect.db").exists()


@pytest.mark.parametrize(
    ("address", "kind", "says"),
    [
        ("postgresql://me:swordfish@db/prefect", UserError, "must begin with postgresql+asyncpg://"),
        ("postgresql+asyncpg://me:swordfish@db:x/prefect", UserError, "must begin with postgresql+asyncpg://"),
        ("my database", UserError, "must begin with postgresql+asyncpg://"),
        ("postgresql+asyncpg://me:swordfish@127.0.0.1:1/prefect", Unavailable, "cannot be reached: "),
    ],
)
def test_a_database_that_is_none_is_one_line_without_its_password(
    address: str, kind: type[UserError], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTCORE_POSTGRES", address)
    with pytest.raises(kind) as caught:
        prefect_database()
    said = str(caught.value)
    assert says in said
    assert "swordfish" not in said
    assert "\n" not in said
