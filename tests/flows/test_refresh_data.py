"""A corpus that changes at its source starts one training run on the new version."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun

from flows.refresh_data import refresh_data
from gptcore.errors import UserError
from tests.support import scratch
from tests.support.cluster import Cluster
from tests.support.web import Web, serve

BEFORE, AFTER = b"To be, or not to be.\n", b"To be, or not to be: that is the question.\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def web() -> Iterator[Web]:
    with serve(Web({"corpus.txt": BEFORE})) as web:
        yield web


@pytest.fixture
def checkout(project: Path, web: Web) -> Path:
    """A project whose corpus is the old version of the file on the web."""
    scratch.set_param(project, "data", "source", web.url("corpus.txt"))
    scratch.set_param(project, "data", "sha256", sha256(BEFORE))
    return project


def runs(cluster: Cluster) -> list[FlowRun]:
    """The runs that refresh-data started."""
    with cluster.client() as client:
        return [run for run in client.read_flow_runs() if "refresh-data" in run.tags]


def test_a_change_upstream_starts_one_run_on_the_new_text(checkout: Path, cluster: Cluster, web: Web) -> None:
    assert refresh_data().startswith("unchanged")
    before = web.sent_bytes
    assert refresh_data().startswith("unchanged")
    assert web.sent_bytes - before <= len(BEFORE)  # asks only for the version: the file is cached
    assert runs(cluster) == []
    web.files["corpus.txt"] = AFTER
    sentence = refresh_data()
    assert refresh_data() == sentence
    (run,) = runs(cluster)
    assert run.parameters["overrides"] == [f"data.sha256={sha256(AFTER)}"]
    assert f"changed: the corpus was the text of sha256 {sha256(BEFORE)}" in sentence and run.name in sentence
    scratch.set_param(checkout, "data", "sha256", sha256(AFTER))  # accept the new version
    assert refresh_data().startswith("unchanged")


def test_a_local_corpus_without_a_pin_is_compared_with_what_was_downloaded(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/play.txt").write_bytes(BEFORE)
    scratch.set_param(checkout, "data", "source", str(tmp_path / "texts"))
    scratch.set_param(checkout, "data", "sha256", "")
    with pytest.raises(UserError, match=r"no corpus yet to compare with; run `dvc repro download`"):
        refresh_data()
    (checkout / "data/raw").mkdir(parents=True)
    (checkout / "data/raw/sources.json").write_text(f'{{"text_sha256": "{sha256(BEFORE)}"}}')
    assert refresh_data().startswith("unchanged")
    (tmp_path / "texts/play.txt").write_bytes(AFTER)
    assert refresh_data().startswith("changed")


def test_a_stream_is_compared_by_the_versions_of_its_files(checkout: Path, cluster: Cluster, web: Web) -> None:
    for name, value in {"mode": "stream", "max_documents": 1, "sha256": ""}.items():
        scratch.set_param(checkout, "data", name, value)
    with pytest.raises(UserError, match=r"a stream needs data\.sha256"):
        refresh_data()
    scratch.set_param(checkout, "data", "sha256", files_sha256(web))
    assert refresh_data().startswith("unchanged")
    web.files["corpus.txt"] = AFTER + AFTER
    assert f"is that of {files_sha256(web)} now" in refresh_data()


def files_sha256(web: Web) -> str:
    etag = hashlib.md5(web.files["corpus.txt"]).hexdigest()
    return sha256(f'{web.url("corpus.txt")} "{etag}"\n'.encode())


def test_a_deployment_that_is_not_there_is_named(checkout: Path, web: Web) -> None:
    web.files["corpus.txt"] = AFTER
    with pytest.raises(UserError, match=r"no deployment train-gpt/nowhere; `make deploy`"):
        refresh_data(deployment="train-gpt/nowhere")


def test_deployed_for_the_pool_of_flows_that_start_others_and_paused(cluster: Cluster) -> None:
    with cluster.client() as client:
        found = client.read_deployment_by_name("refresh-data/refresh-local")
    assert found.work_pool_name == "control"
    assert [each.active for each in found.schedules] == [False]
