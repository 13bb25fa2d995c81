"""A bad batch leaves no trace: the run is bit-identical to one without it, even if killed midway."""

import functools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gptcore.errors import UserError
from gptcore.training.guard import Guard, SkippedBatch
from gptcore.training.train import StepReport, TrainState, fit
from tests.support.engine import (
    MODERN,
    MUON,
    TRAIN,
    make_workspace,
    model_config,
    optim_config,
    some_tokens,
    start_training,
    train_config,
)  # fmt: skip
from tests.support.patience import PATIENCE
from tests.support.poisoned import BATCH
from tests.training.test_run import hashes, wait_for_checkpoint

CPU = torch.device("cpu")


def new_state(device: torch.device = CPU, **train: object) -> TrainState:
    config = model_config(MODERN, dropout=0.1)
    recipe = train_config(**{"steps": 60, "spike_nats": 2.0, **train})
    return TrainState(config, optim_config(MUON), recipe, some_tokens(), 60, device)


def poison(state: TrainState, batch: int, factor: float = math.nan, only_gradient: bool = False) -> None:
    """Make the loss of one batch bad for any weights."""
    bad_ids, _ = state.batches[batch]

    def hook(module: object, arguments: tuple[Tensor, ...], loss: Tensor) -> Tensor:
        if not torch.equal(arguments[0], bad_ids):
            return loss
        if only_gradient:
            loss.register_hook(lambda gradient: gradient * factor)
            return loss * 1
        return loss * factor

    state.model.register_forward_hook(hook)


@functools.cache
def without(*batches: int) -> tuple[dict[str, Tensor], list[float]]:
    """The state and the losses of a run that never sees these batches."""
    state = new_state()
    state.guard.skipped.extend(batches)
    losses = [each.loss for each in fit(state)]
    return state.tensors(), losses


def assert_same(state: TrainState, theirs: dict[str, Tensor]) -> None:
    ours = state.tensors()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


NAN, SPIKE, GRADIENT = {"factor": math.nan}, {"factor": 5.0}, {"factor": math.inf, "only_gradient": True}


CASES = [(0, NAN), (30, SPIKE), (50, GRADIENT), (57, SPIKE), (59, SPIKE), (50, NAN)]  # of each kind, every other one


@pytest.mark.parametrize(
    ("batch", "kind", "late"), [*((*each, True) for each in CASES), *((*each, False) for each in CASES[::2])]
)
def test_a_bad_batch_is_as_if_it_had_never_been(batch: int, kind: dict[str, Any], late: bool) -> None:
    """`late` as on a GPU: the next step is already queued when the loss is read."""
    poisoned, (expected, losses) = new_state(), without(batch)
    poisoned.reads_late = late
    poison(poisoned, batch, **kind)
    reports = list(fit(poisoned))
    assert_same(poisoned, expected)
    assert [each.loss for each in reports] == losses
    assert [each.step for each in reports] == list(range(1, 61))  # repeated steps are not reported again
    (told,) = [skipped for each in reports for skipped in each.skipped]
    assert (told.step, told.batch) == (batch + 1, batch) and told.back_to <= batch


@pytest.mark.gpu
def test_a_bad_batch_on_a_gpu_is_as_if_it_had_never_been() -> None:
    poisoned, spared = new_state(torch.device("cuda")), new_state(torch.device("cuda"))
    bad_ids = poisoned.batches[55][0].cuda()
    poisoned.model.register_forward_hook(
        lambda module, arguments, loss: loss * (math.nan if torch.equal(arguments[0], bad_ids) else 1)
    )
    spared.guard.skipped.append(55)
    reports, expected = list(fit(poisoned)), list(fit(spared))
    assert poisoned.guard.skipped == [55] and [each.step for each in reports] == list(range(1, 61))
    assert [each.loss for each in reports] == pytest.approx([each.loss for each in expected], abs=0.02)


@pytest.mark.parametrize("late", [False, True])
def test_going_back_from_a_resumed_run_ends_the_same(late: bool) -> None:
    killed, resumed = new_state(), new_state()
    for each in (killed, resumed):
        each.reads_late = late
        poison(each, 20)
        poison(each, 45)
    for report in fit(killed):
        if report.step == 33:
            break
    assert killed.guard.skipped == [20]
    resumed.load_tensors({name: each.clone() for name, each in killed.tensors().items()}, killed.step)
    list(fit(resumed))
    assert_same(resumed, without(20, 45)[0])
    assert resumed.guard.skipped == [20, 45]


def test_one_bad_batch_too_many_ends_the_run() -> None:
    state, reports = new_state(skipped_batches_limit=2), list[StepReport]()
    for each in (3, 4, 7):
        poison(state, each)
    with pytest.raises(UserError, match=r"the loss is nan at step 6, and train.skipped_batches_limit is 2: lower"):
        reports.extend(fit(state))
    assert "\n" not in str(SkippedBatch(4, 3, math.nan, 0))


def test_batches_in_order_without_the_skipped() -> None:
    guard = Guard(0, 9)
    guard.skipped = [4, 0, 5]
    assert [guard.batch_of(step) for step in range(5)] == [1, 2, 3, 6, 7]


def test_a_spike_is_measured_from_the_mean_of_twenty_losses() -> None:
    guard = Guard(1.0, 9)
    for _ in range(19):
        guard.losses.append(2.0)
    assert guard.accepts(100.0, 0.0)  # too few losses to judge
    guard.losses.append(2.0)
    assert guard.accepts(2.9, 0.0) and not guard.accepts(3.1, 0.0) and not guard.accepts(2.0, math.nan)
    guard.spike_nats = 0
    assert guard.accepts(100.0, 0.0) and not guard.accepts(math.inf, 0.0)


@pytest.mark.load
def test_killed_after_going_back_it_ends_the_same_to_the_bit(tmp_path: Path) -> None:
    params = {"train": {**TRAIN, "steps": 250, "spike_nats": 2.0}, "model": {**MODERN, "dropout": 0.1}}
    whole, killed = (make_workspace(tmp_path / name, **params) for name in ("whole", "killed"))
    output, _ = start_training(whole, "tests.support.poisoned", GPTCORE_CHECKPOINT_SECONDS="1000").communicate(
        timeout=PATIENCE
    )
    assert f"at step {BATCH + 1}: went back to step 0 and on without batch {BATCH}\n" in output
    process = start_training(killed, "tests.support.poisoned")
    wait_for_checkpoint(killed, process, after=BATCH + 10)
    process.kill()
    process.communicate()
    output, _ = start_training(killed, "tests.support.poisoned").communicate(timeout=PATIENCE)
    assert "train: resumed at step" in output and hashes(killed) == hashes(whole)
    assert json.loads((killed / "data/model/metrics.json").read_text())["skipped_batches"] == 1
