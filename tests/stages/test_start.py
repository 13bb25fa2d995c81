"""A training that goes on from a model: which model it is, what it began with, and what it has forgotten."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gptcore.config.params import read_params
from gptcore.evaluation.measured import Measured
from gptcore.files import write_json
from gptcore.model.folder import load_export
from gptcore.tokens.make_tokenizer import train_bpe
from gptcore.tokens.token_files import read_meta
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.trained_on import trained_on
from tests.support.engine import DATA, MODERN, TEXT, TOKENIZE, TRAIN, begin_with, make_workspace, run_stage_here
from tests.support.weights import random_model

BPE = train_bpe(iter([TEXT]), 300)
OLD = {"data": {**DATA, "source": "old"}, "tokenize": {**TOKENIZE, "val_split": "tail"}}


def workspace(root: Path, tokenizer: Tokenizer = BPE, **changes: Any) -> Path:
    """One that goes on from a model with tokens of its own, of whose text there is a folder `old`."""
    made = make_workspace(
        root, tokenize={**TOKENIZE, "tokenizer": "start"}, train={**TRAIN, "steps": 8, "spike_nats": 0.0}, **changes
    )
    (made / "old").mkdir()
    (made / "old/one.txt").write_text("What's Hecuba to him, or he to Hecuba, that he should weep for her? " * 60)
    return begin_with(made, random_model(MODERN, tokenizer.n_vocab), tokenizer, **OLD)


def set_params(root: Path, section: str, **values: Any) -> None:
    params = read_params(root / "params.yaml")
    write_json(root / "params.yaml", {**params, section: {**params[section], **values}})


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_from_a_start_through_all_stages(tmp_path: Path) -> None:
    root = workspace(tmp_path / "work")
    set_params(root, "baseline", source="start")
    assert [run_stage_here(stage, root) for stage in ("tokenize", "train", "baseline", "evaluate")] == [0] * 4
    assert Tokenizer.load(root / "data/tokens/tokenizer.json") == BPE == load_export(root / "data/model/export")[1]
    assert (root / "data/baseline/export/model.safetensors").read_bytes() == (
        root / "from/model.safetensors"
    ).read_bytes()
    metrics, kept = read(root / "data/evaluation/metrics.json"), read(root / "data/evaluation/retained.json")
    old, bounds = metrics["retained"], read(root / "data/evaluation/intervals.json")["retained"]
    low, high = (bounds["difference"]["bits_per_byte"][end] for end in ("low", "high"))
    assert low < old["model"]["bits_per_byte"] - old["start"]["bits_per_byte"] < high
    assert old["start"]["bits_per_byte"] != metrics["baseline"]["bits_per_byte"]  # one model on two texts
    val = read_meta(root / "data/start/retained").val
    assert (old["validation"]["bytes"], old["validation"]["documents"]) == (val.bytes, val.documents)
    assert Measured.model_validate(kept).baseline and kept["text_sha256"] == val.text_sha256


def test_the_weights_to_begin_with_are_the_starts(tmp_path: Path) -> None:
    """A step of nearly no size leaves them; from random weights it does not give them."""
    rates = dict.fromkeys((f"{name}_learning_rate" for name in ("matrix", "embedding", "head", "scalar")), 1e-12)
    root = workspace(tmp_path / "work")
    set_params(root, "optim", **rates)
    set_params(root, "train", steps=1)
    assert [run_stage_here(stage, root) for stage in ("tokenize", "train")] == [0, 0]
    given, made = (load_file(root / each / "model.safetensors") for each in ("from", "data/model/export"))
    assert given.keys() == made.keys()
    assert all(torch.allclose(given[name], made[name], atol=1e-6) for name in given)


REFUSED: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "other weights": ("start", "has weights with sha256", "train", {"start_sha256": "0" * 64}),
    "no hash": ("start", "train.start_sha256 is empty; `gptcore configure train.start=from`", "train",
                {"start_sha256": ""}),
    "other text": ("start", "not " + "0" * 64 + "; `gptcore configure retained.data=null` leaves it out", "retained",
                   {"text_sha256": "0" * 64}),
    "a start that was not brought": ("train", "`dvc repro start` brings them", "train", {"start_sha256": "0" * 64}),
    "another model": ("train", "model.n_layer is 3 and the start's 2; `gptcore configure train.start=from`", "model",
                      {"n_layer": 3}),
    "another tokenizer": ("train", "was made with another tokenizer than that of the start from", "train", {}),
    "no start": ("tokenize", "tokenize.tokenizer is start, and there is none", "train", {"start": ""}),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workspace(tmp_path_factory.mktemp("refused") / "work")


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_one_line(made: Path, capfd: pytest.CaptureFixture[str], case: str) -> None:
    stage, said, section, values = REFUSED[case]
    params = (made / "params.yaml").read_text()
    set_params(made, section, **values)
    if case == "no start":
        assert run_stage_here("start", made) == 0
    capfd.readouterr()
    assert run_stage_here(stage, made) == 2
    error = capfd.readouterr().err
    assert said in error and len(error.splitlines()) == 1
    assert not (made / "data/model").exists()
    (made / "params.yaml").write_text(params)


def test_without_a_start_a_file_says_so(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "work")
    assert [path.name for path in sorted((root / "data/start").rglob("*.*"))] == ["none.txt", "none.txt"]
    assert run_stage_here("start", root) == 0
    assert "begins with random weights" in (root / "data/start/model/none.txt").read_text()
    assert read(root / "data/start/metrics.json") == {"documents": 0, "bytes": 0, "tokens": 0}
    set_params(root, "baseline", source="start")
    assert run_stage_here("baseline", root) == 2


def test_a_version_without_its_parameters_says_nothing_of_its_text() -> None:
    kept = {"data.source": "['a', 'b']", "data.text": "5", "data.min_bytes": "2", "tokenize.seed": "7"}
    like = {"data": {**DATA, "new": True}, "tokenize": TOKENIZE}
    found = trained_on(kept, "a", like)
    assert found and found.data == {**DATA, "source": ["a", "b"], "text": "5", "min_bytes": 2, "new": True}
    assert found.tokenize == {**TOKENIZE, "seed": 7}
    assert trained_on({}, "a", like) is trained_on(kept, "", like) is None
