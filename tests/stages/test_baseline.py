"""A baseline that is not trained here: which model it is, and how it compares."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from gptcore.config.params import read_params
from gptcore.config.presets import compose
from gptcore.evaluation.asked import Asked
from gptcore.evaluation.benchmarks.chosen import chosen
from gptcore.evaluation.config import EvaluateConfig
from gptcore.evaluation.measure import measure
from gptcore.evaluation.measured import Measured
from gptcore.files import read_sums, write_json
from gptcore.model.folder import save_export
from gptcore.model.gpt import GPT
from gptcore.tokens.make_tokenizer import byte_tokenizer, train_bpe
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.huggingface import write_hugging_face
from tests.support.benchmarks import QUESTION, write_rows
from tests.support.closure import ROOT
from tests.support.engine import GPT2, TEXT, make_workspace, model_config, run_stage_here
from tests.support.weights import random_model


def folder(place: Path, tokenizer: Tokenizer) -> str:
    """A model folder; the sha256 of its weights."""
    torch.manual_seed(1)
    save_export(place, GPT(model_config(GPT2), tokenizer.n_vocab).eval(), tokenizer)
    return read_sums(place)["model.safetensors"]


def choose(root: Path, source: str, sha256: str) -> None:
    values = read_params(root / "params.yaml")
    write_json(root / "params.yaml", {**values, "baseline": {**values["baseline"], "source": source, "sha256": sha256}})


def test_bits_per_byte_compare_across_tokenizers(tmp_path: Path) -> None:
    root, config = make_workspace(tmp_path / "work"), EvaluateConfig(block_size=16, stride=16, tasks=())
    choose(root, "other", folder(root / "other", train_bpe(iter([TEXT]), 300)))
    folder(root / "data/model/export", byte_tokenizer())
    (root / "data/model/curve.csv").write_text("step,tokens,val_loss\n1,10,2.5\n")
    (root / "data/model/timing.csv").write_text("step,seconds\n1,0.5\n")
    short = [{**QUESTION, "gold": each % 2} for each in range(8)]
    rows = write_rows(root / "quiz.jsonl", [*short, {**QUESTION, "choices": ["of more bytes than a context", "no"]}])
    values = read_params(root / "params.yaml")
    write_json(root / "params.yaml", {**values, "evaluate": {**values["evaluate"], "tasks": [chosen(str(rows))]}})
    assert [run_stage_here(stage, root) for stage in ("baseline", "evaluate")] == [0, 0]

    def read(name: str) -> dict:  # type: ignore[type-arg]
        return dict(json.loads((root / f"data/evaluation/{name}.json").read_text()))

    metrics, bounds, kept = read("metrics"), read("intervals"), Measured.model_validate(read("measured"))
    ours, theirs = (
        measure(root / "data/tokens", place, config) for place in (root / "data/model/export", root / "other")
    )
    assert len(ours.bytes) > len(theirs.bytes)  # windows of the other tokenizer are longer, so they are the parts
    bits = metrics["difference"]["bits_per_byte"]
    assert metrics["baseline"]["bits_per_byte"] == pytest.approx(
        theirs.model.whole_losses / theirs.whole_bytes / 0.693147
    )
    assert bounds["difference"]["bits_per_byte"]["low"] < bits < bounds["difference"]["bits_per_byte"]["high"]
    assert bounds["difference"]["loss"] is metrics["difference"]["loss"] is metrics["baseline"]["seconds"] is None
    assert bounds["baseline"]["loss"]["low"] < metrics["baseline"]["loss"] < bounds["baseline"]["loss"]["high"]
    assert kept.baseline
    assert sum(kept.model.losses) == pytest.approx(ours.model.whole_losses)
    assert (sum(kept.baseline.losses), kept.baseline.whole_tokens) == (
        pytest.approx(theirs.model.whole_losses), theirs.model.whole_tokens,
    )  # fmt: skip
    with (root / "data/baseline/curve.csv").open() as file:
        assert list(csv.DictReader(file)) == []
    (quiz,) = (Asked.model_validate(each) for each in json.loads((root / "data/evaluation/tasks.json").read_text()))
    graded, figures = quiz.metrics["acc"], metrics["tasks"]["quiz"]["acc"]
    assert graded.model[-1] is None and None not in graded.model[:-1]  # of bytes, the context holds sixteen
    assert (figures["model"], figures["ungraded"]) == (sum(graded.model[:-1]) / 8, 1)
    assert bounds["tasks"]["quiz"]["acc"]["low"] < figures["model"] - figures["baseline"]


def test_the_weights_must_be_those_of_the_hash(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = make_workspace(tmp_path / "work")
    sha256 = folder(root / "other", byte_tokenizer())
    for given, said in (("", "baseline.sha256 is empty"), ("0" * 64, f"other has weights with sha256 {sha256}, and")):
        choose(root, "other", given)
        assert run_stage_here("baseline", root) == 2
        assert said in capfd.readouterr().err
        assert not (root / "data/baseline").exists()
    choose(root, "gone", sha256)
    assert run_stage_here("baseline", root) == 2
    assert capfd.readouterr().err.startswith("error: baseline: baseline.source: there is no model gone")


def test_configure_fills_the_hash_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of what `gptcore import` makes of another form."""
    monkeypatch.chdir(tmp_path)
    Path("conf").symlink_to(ROOT / "conf")
    tokenizer = train_bpe(iter([TEXT]), 300)
    write_hugging_face(Path("hf"), random_model(GPT2, tokenizer.n_vocab), tokenizer)
    values = compose(["baseline.source=hf"], Path("params.yaml"))
    sha256 = values["baseline"]["sha256"]
    assert re.fullmatch("[0-9a-f]{64}", sha256)
    root = make_workspace(tmp_path / "work")
    choose(root, str(tmp_path / "hf"), sha256)
    assert run_stage_here("baseline", root) == 0
    assert read_sums(root / "data/baseline/export")["model.safetensors"] == sha256
    write_json(Path("params.yaml"), values)
    assert compose(["train.seed=3"], Path("params.yaml"))["baseline"] == values["baseline"]
    assert compose(["baseline.source=train"], Path("params.yaml"))["baseline"]["sha256"] == ""
