"""A Dask cluster encodes the same pieces as the stage, which then only joins them."""

from pathlib import Path

import pytest

import flows.tokenize_fanout
import gptcore.tokens.pieces
from flows.tokenize_fanout import fan_out
from gptcore.errors import UserError
from tests.support.corpora import prose, write_corpus
from tests.support.engine import run_stage_here


@pytest.mark.load
def test_a_cluster_of_two_workers_gives_the_same_bytes(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import LocalCluster

    monkeypatch.setenv("PREFECT_API_URL", server)
    monkeypatch.setattr(gptcore.tokens.pieces.pieces, "__defaults__", (2_000,))
    monkeypatch.setattr(flows.tokenize_fanout, "PIECES_PER_TASK", 4)
    corpus = {f"{i}": prose(i, 900) for i in range(30)}
    for name in ("one", "cluster"):
        write_corpus(tmp_path / name, corpus, tokenizer="bpe", vocab_size=300)
    assert run_stage_here("tokenize", tmp_path / "one") == 0
    monkeypatch.chdir(tmp_path / "cluster")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        said = fan_out(cluster.scheduler_address)
    made = {path: path.stat().st_ino for path in Path("data/scratch/tokenize").glob("*/*.npz")}
    assert said.startswith(f"{len(made)} pieces lie in data/scratch/tokenize/")
    assert len(made) > 8
    monkeypatch.setattr("gptcore.tokens.encode.encode", None)  # nothing is left to encode
    assert run_stage_here("tokenize", tmp_path / "cluster") == 0
    for path in (tmp_path / "one/data/tokens").iterdir():
        assert (tmp_path / "cluster/data/tokens" / path.name).read_bytes() == path.read_bytes(), path.name


def test_no_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import dask

    monkeypatch.chdir(write_corpus(tmp_path, {f"{i}": prose(i, 50) for i in range(9)}))
    for address in ("tcp://127.0.0.1:9", "127.0.0.1:ninety", "nosuch://127.0.0.1:9"):
        with dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}), pytest.raises(UserError) as error:
            fan_out(address)
        assert str(error.value).startswith(f"no Dask scheduler answers at {address}: ")
        assert "\n" not in str(error.value)
    assert caplog.text == ""  # of a run that has begun and failed
