"""`make deploy` and what it puts on a real server."""

from pathlib import Path

from tests.cluster import Cluster


def test_deploying_again_changes_nothing(cluster: Cluster) -> None:
    with cluster.client() as client:
        before = client.read_work_pool("cpu"), client.read_deployment_by_name("train-gpt/local")
        said = cluster.deploy()
        after = client.read_work_pool("cpu"), client.read_deployment_by_name("train-gpt/local")
    assert "work pool cpu: as it was" in said
    assert [each.id for each in before] == [each.id for each in after]


def test_run_of_the_deployment_on_a_worker(cluster: Cluster, deployed: Path) -> None:
    with cluster.worker(deployed):
        run = cluster.wait(cluster.submit("train-gpt/local"))
    assert run.state
    assert run.state.is_completed()
    assert "begins" in cluster.logs(run.id)
