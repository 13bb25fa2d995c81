"""Training an adapter: its parameters alone change, are saved and resumed, and are AdamW's."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gptcore.config.params import read_params
from gptcore.errors import STOPPED_EXIT_CODE
from gptcore.files import read_json, read_sums, verify_sums, write_json
from gptcore.model.folder import load_export, save_export
from gptcore.model.gpt import GPT
from gptcore.model.lora import merged, trained
from gptcore.tokens.make_tokenizer import byte_tokenizer
from gptcore.training.train import TrainState, fit
from gptcore.weights.adapter import WEIGHTS
from gptcore.weights.open_model import open_model
from tests.support.adapters import lora_config
from tests.support.engine import (
    ADAMW,
    GPT2,
    MODERN,
    MUON,
    make_workspace,
    model_config,
    optim_config,
    run_stage_here,
    some_tokens,
    train_config,
)
from tests.support.weights import random_model

STEPS = 12


def new_state(start: GPT, **lora: object) -> TrainState:
    config, recipe = model_config(start.config.model_dump(), dropout=0.1), train_config(steps=STEPS)
    lora = {"dropout": 0.2, "targets": ("q", "v", "mlp"), **lora}
    return TrainState(
        config, optim_config(MUON), recipe, some_tokens(), 60, torch.device("cpu"),
        start=copy.deepcopy(start), lora=lora_config(**lora),
    )  # fmt: skip


def losses(state: TrainState, steps: int = STEPS) -> list[float]:
    reports = fit(state)
    return [next(reports).loss for _ in range(steps)]


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in tensors.items()}


@pytest.mark.parametrize("base", ["float32", "nf4"])
@pytest.mark.parametrize("architecture", [GPT2, MODERN], ids=["gpt2", "modern"])
def test_the_adapter_alone_is_trained_and_resumed_to_the_bit(architecture: dict[str, object], base: str) -> None:
    start = random_model(architecture, 60)
    state, resumed = new_state(start, base=base), new_state(start, base=base)
    before = copied(state.model.state_dict())
    whole = losses(state)
    assert whole[-1] < whole[0]
    after = state.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {*trained(state.model)}
    assert all(each.grad is None for name, each in state.model.named_parameters() if name not in changed)

    first = new_state(start, base=base)
    assert losses(first, 5) == whole[:5]
    saved = copied(first.tensors())
    assert {name.split("/")[1] for name in saved if name.startswith(("model/", "optimizer/"))} == changed
    resumed.load_tensors(saved, 5)
    assert losses(resumed, STEPS - 5) == whole[5:]
    assert all(torch.equal(each, after[name]) for name, each in trained(resumed.model).items())


def workspace(root: Path) -> Path:
    """A workspace that trains an adapter of the model in data/start, of which it holds four bits a weight."""
    make_workspace(root)
    save_export(root / "data/start/model", random_model(MODERN), byte_tokenizer())
    start = {"start": "elsewhere", "start_sha256": read_sums(root / "data/start/model")["model.safetensors"]}
    params = read_params(root / "params.yaml")
    train = {**params["train"], **start, "steps": 20, "samples": 1}
    optim = {**ADAMW, "schedule": "wsd", "cooldown_fraction": 0.0}
    lora = {
        **params["lora"],
        "rank": 4,
        "base": "nf4",
        "dropout": 0.1,
        "learning_rate": 3.0,
    }  # the best is not the last
    write_json(root / "params.yaml", {**params, "train": train, "lora": lora, "optim": optim})
    return root


class StopsOnce:
    """A request to stop after the seventh step, of the first run alone."""

    asked = 0

    @property
    def made(self) -> bool:
        StopsOnce.asked += 1
        return StopsOnce.asked == 7


def test_the_stage_writes_the_merged_model_and_the_adapter_however_often_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, stopped = workspace(tmp_path / "whole"), workspace(tmp_path / "stopped")
    assert run_stage_here("train", whole) == 0
    metrics, weights = read_json(whole / "data/model/metrics.json"), load_file(whole / "data/model/best" / WEIGHTS)
    assert metrics["trained_parameters"] < sum(each.numel() for each in weights.values()) < metrics["parameters"]
    assert f"  {metrics['trained_parameters']:,} of {metrics['parameters']:,} parameters" in capsys.readouterr().out
    monkeypatch.setattr("gptcore.training.run.StopRequest", StopsOnce)
    monkeypatch.setattr(StopsOnce, "asked", 0)
    assert run_stage_here("train", stopped) == STOPPED_EXIT_CODE
    (checkpoint,) = stopped.glob("data/scratch/train/*/step-*/state.safetensors")
    assert checkpoint.stat().st_size < (stopped / "data/start/model/model.safetensors").stat().st_size / 2
    assert run_stage_here("train", stopped) == 0
    for name in ("export", "best"):
        made = whole / "data/model" / name
        assert {path.name: path.read_bytes() for path in made.iterdir()} == {
            path.name: path.read_bytes() for path in (stopped / "data/model" / name).iterdir()
        }
        verify_sums(made)
        added, _ = open_model(str(whole / "data/start/model"), adapter=made)
        exported, _ = load_export(made)
        assert all(torch.equal(each, exported.state_dict()[key]) for key, each in added.state_dict().items())
        start, _ = load_export(whole / "data/start/model")
        assert torch.equal(start.wte.weight, exported.wte.weight)
    best, last = (load_file(whole / "data/model" / name / WEIGHTS) for name in ("best", "export"))
    assert not all(torch.equal(best[name], last[name]) for name in best)


def test_the_factors_are_adamws_with_their_own_rate_and_no_decay() -> None:
    state = new_state(random_model(MODERN, 60), learning_rate=0.5)
    (optimizer,) = state.optimizer.optimizers
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (group["peak"], group["weight_decay"], state.optimizer.peak) == (0.5, 0.0, 0.5)
    assert {id(each) for each in group["params"]} == {id(each) for each in trained(state.model).values()}


def test_a_merged_model_is_what_was_trained() -> None:
    state = new_state(random_model(MODERN, 60))
    losses(state)
    ids = torch.arange(16)[None]
    state.model.eval()
    torch.testing.assert_close(merged(state.model)(ids), state.model(ids), rtol=0, atol=1e-5)
