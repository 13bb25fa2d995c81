"""The training step: micro-batches add up, seeds are independent, bad requests get a one-line error."""

import gc
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.amp import GradScaler

from gptcore.errors import UserError
from gptcore.generation.sampling import Sampling
from gptcore.training.config import LAST_STEP
from gptcore.training.initial_state import make_ready
from gptcore.training.memory import garbage_kept, peak_bytes
from gptcore.training.micro_batch import (
    activation_bytes_per_sequence,
    first_that_fits,
    halves,
    largest_micro_batch,
    require_memory,
)
from gptcore.training.train import TrainState, fit, loss_and_gradients, matrix_dtype, step_seed
from tests.support.engine import ADAMW, GPT2, MODERN, MUON, model_config, optim_config, some_tokens, train_config

CPU = torch.device("cpu")
SEQUENCES = 8  # of 16 tokens


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def new_state(architecture: dict[str, object], **train: object) -> TrainState:
    recipe = train_config(batch_tokens=SEQUENCES * 16, **train)
    return TrainState(model_config(architecture), optim_config(ADAMW), recipe, some_tokens(), 60, CPU)


@given(micro_batch=st.integers(1, SEQUENCES + 1), batch=st.integers(0, 5), architecture=st.sampled_from([GPT2, MODERN]))
@settings(deadline=None, max_examples=30)
def test_micro_batches_add_up_to_one_big_batch(micro_batch: int, batch: int, architecture: dict[str, object]) -> None:
    state = new_state(architecture)
    torch.manual_seed(batch)
    for parameter in state.model.parameters():  # zero-initialized weights would hide the layers below them
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    found = []
    for size in (SEQUENCES, micro_batch):
        state.model.zero_grad(set_to_none=True)
        measured = loss_and_gradients(state, state.batches[batch], size)
        found.append([measured[0], *(each.grad for each in state.model.parameters())])
    for whole, added in zip(*found, strict=True):
        # a small entry is a difference of large ones and inherits their rounding errors
        torch.testing.assert_close(added, whole, rtol=1e-4, atol=5e-5 * whole.abs().max().item())


def test_dropouts_seeds_are_fixed_and_all_different() -> None:
    seeds = {
        (seed, step, rank): step_seed(seed, step, rank) for seed in (0, 1337) for step in range(50) for rank in range(4)
    }
    assert len(set(seeds.values())) == len(seeds) and max(seeds.values()) < 2**63
    assert step_seed(1337, 12, 3) == step_seed(1337, 12, 3)


def test_a_cpus_micro_batch_is_what_half_its_memory_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    state = new_state(GPT2)
    assert largest_micro_batch(state) == SEQUENCES
    needed = activation_bytes_per_sequence(state)
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 7 * needed}.__getitem__)
    assert largest_micro_batch(state) == 3
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 1}.__getitem__)
    assert largest_micro_batch(state) == 1
    assert halves(12) == [12, 6, 3, 2, 1]


def test_a_new_run_on_a_cpu_takes_no_more_at_once_than_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptcore.training.micro_batch.TOKENS_PER_THREAD", 32)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    new, resumed = new_state(GPT2), new_state(GPT2)
    resumed.step = 1
    for state in (new, resumed):
        make_ready(state)
    assert new.micro_batch == 32 * 2 // 16 < SEQUENCES and resumed.micro_batch == SEQUENCES


def test_the_estimate_counts_what_is_kept() -> None:
    """A byte for each score that may be dropped, and little of a block that is recomputed."""
    plain, dropping, recomputing = (
        activation_bytes_per_sequence(new_state({**GPT2, **changes}))
        for changes in ({}, {"dropout": 0.1}, {"activation_checkpointing": True, "n_layer": 32})
    )
    assert dropping - plain == 16 * 2 * (2 * 16)  # tokens, blocks, scores
    assert recomputing < 2 * plain


@pytest.mark.parametrize("architecture", [GPT2, MODERN])
def test_a_model_without_room_is_refused_before_it_is_built(
    architecture: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = model_config(architecture, n_layer=1024, n_embd=65536, n_head=1024)
    with pytest.raises(
        UserError, match=r"^to train 5\d,\d{3},\d{3},\d{3},\d{3} parameters takes at least .* GB in each rank"
    ):
        require_memory(huge, 60, CPU)
    require_memory(model_config(architecture), 60, CPU)


def out_of_memory_above(state: TrainState, rows: int) -> list[int]:
    """Make the model run out of memory for more rows. Returns the list to which every number of rows is added."""
    seen = list[int]()

    def hook(module: object, arguments: tuple[Tensor, ...]) -> None:
        seen.append(len(arguments[0]))
        if seen[-1] > rows:
            raise torch.OutOfMemoryError

    state.model.register_forward_pre_hook(hook)
    return seen


def test_out_of_memory_halves_the_micro_batch_and_training_goes_on() -> None:
    plain, halved = (new_state(MODERN, steps=8) for _ in range(2))
    expected = [report.loss for report in fit(plain)]
    reports = fit(halved)
    losses = [next(reports).loss for _ in range(3)]
    seen = out_of_memory_above(halved, 3)
    rest = list(reports)
    assert seen[:3] == [8, 4, 2] and max(seen[2:]) == 2 and {each.micro_batch for each in rest} == {2}
    assert losses + [each.loss for each in rest] == pytest.approx(expected, rel=1e-4)
    assert [each.step for each in rest] == [4, 5, 6, 7, 8]


def test_one_sequence_too_many_gets_one_line() -> None:
    state = new_state(GPT2)
    out_of_memory_above(state, 0)
    with pytest.raises(
        UserError, match=r"^out of memory at step 1 with one sequence of 16 tokens at once; lower model"
    ):
        next(fit(state))


def test_sizes_are_tried_until_one_fits_and_leave_no_trace() -> None:
    state = new_state(MODERN)
    seen = out_of_memory_above(state, 3)
    before = [each.clone() for each in state.model.parameters()]
    assert first_that_fits(state, halves(SEQUENCES)) == 2 and seen == [8, 4, 2]
    for parameter, kept in zip(state.model.parameters(), before, strict=True):
        assert torch.equal(parameter, kept) and parameter.grad is None


def test_a_restored_micro_batch_that_no_longer_fits_is_made_smaller(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = new_state(GPT2)
    state.load_tensors(state.tensors() | {"micro_batch": torch.tensor(6)}, 5)
    make_ready(state)
    assert state.micro_batch == 6 and capsys.readouterr().out == ""
    needed = activation_bytes_per_sequence(state)
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 7 * needed}.__getitem__)
    make_ready(state)
    assert state.micro_batch == 3 and "3 sequences go through the model at once" in capsys.readouterr().out


def test_the_micro_batch_is_part_of_the_state() -> None:
    state, resumed = new_state(GPT2), new_state(GPT2)
    state.micro_batch = 3
    resumed.load_tensors(state.tensors(), 0)
    assert resumed.micro_batch == 3


def with_scaler(scale: float) -> TrainState:
    """float16 needs a GPU; its gradient scaler works anywhere."""
    state = new_state(MODERN, steps=24)
    state.scaler = GradScaler("cpu", init_scale=scale, growth_interval=5)
    return state


def test_a_gradient_scaler_changes_nothing_skips_overflows_and_is_resumed() -> None:
    plain, scaled, resumed = new_state(MODERN, steps=24), with_scaler(2.0**10), with_scaler(2.0**10)
    for (ours, theirs), step in zip(zip(fit(scaled), fit(plain), strict=True), range(24), strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
        if step == 6:
            resumed.load_tensors({name: each.clone() for name, each in scaled.tensors().items()}, scaled.step)
    list(fit(resumed))
    assert scaled.scaler.get_scale() == 2.0**14 and same(resumed.tensors(), scaled.tensors())

    overflowing = with_scaler(2.0**10)
    for parameter in overflowing.model.parameters():
        parameter.register_hook(lambda gradient: gradient * math.inf)
    before = [each.clone() for each in overflowing.model.parameters()]
    next(fit(overflowing))
    assert all(torch.equal(one, other) for one, other in zip(before, overflowing.model.parameters(), strict=True))
    assert overflowing.scaler.get_scale() == 2.0**9 and overflowing.guard.skipped == []


@pytest.mark.parametrize("part", ["h.0.mlp.c_fc.weight", "wte.weight"])
def test_an_overflow_anywhere_skips_the_step_of_every_optimizer(part: str) -> None:
    """A matrix is Muon's, a table AdamW's."""
    recipe = train_config(batch_tokens=SEQUENCES * 16)
    state = TrainState(model_config(MODERN), optim_config(MUON), recipe, some_tokens(), 60, CPU)
    state.scaler = GradScaler("cpu", init_scale=2.0**10)
    reports = fit(state)
    next(reports)
    dict(state.model.named_parameters())[part].register_hook(lambda gradient: gradient * math.inf)
    before = {name: each.clone() for name, each in state.tensors().items() if name.startswith(("model/", "optimizer/"))}
    next(reports)
    after = {name: each for name, each in state.tensors().items() if name in before}
    assert same(after, before) and state.scaler.get_scale() == 2.0**9


def test_steps_and_the_largest_seed_cost_nothing() -> None:
    """10^9 steps as a list take 9 GB; seeds have 64 bits in torch and numpy."""
    state = new_state(GPT2, steps=LAST_STEP, seed=2**64 - 1, order="crops")
    before = peak_bytes()
    assert next(fit(state)).step == 1
    assert peak_bytes() - before < 1 << 28
    state = new_state(GPT2, seed=2**64 - 1)  # epochs
    next(fit(state))
    assert Sampling.of(seed=2**64 - 1)  # of the samples


def test_float16_on_a_cpu_gets_one_line() -> None:
    with pytest.raises(UserError, match=r"train.precision float16 needs a CUDA GPU; auto is the fastest"):
        new_state(GPT2, precision="float16")
    assert matrix_dtype("float16", torch.device("cuda")) == torch.float16


@pytest.mark.parametrize(("emulated", "fastest"), [(False, torch.bfloat16), (True, torch.float16)])
def test_auto_takes_no_emulated_bfloat16(monkeypatch: pytest.MonkeyPatch, emulated: bool, fastest: torch.dtype) -> None:
    """V100 and T4 say that they support it, unless they are asked for hardware."""
    monkeypatch.setattr(
        "torch.cuda.is_bf16_supported", lambda including_emulation=True: including_emulation or not emulated
    )
    assert matrix_dtype("auto", torch.device("cuda")) == fastest
    assert matrix_dtype("auto", torch.device("mps")) == torch.float32


def test_what_was_frozen_before_a_training_is_so_after_it() -> None:
    gc.freeze()
    with garbage_kept():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() > 0


@pytest.mark.gpu
def test_a_gpu_tries_until_it_fits() -> None:
    state = TrainState(model_config(GPT2), optim_config(ADAMW), train_config(), some_tokens(), 60, torch.device("cuda"))
    assert largest_micro_batch(state) == SEQUENCES and all(each.grad is None for each in state.model.parameters())


@pytest.mark.gpu
def test_float16_learns() -> None:
    recipe = train_config(precision="float16", steps=60)
    state = TrainState(
        model_config(MODERN), optim_config(ADAMW), recipe, some_tokens(vocab_size=3), 60, torch.device("cuda")
    )
    losses = [report.loss for report in fit(state)]
    assert losses[-1] < 1.5 < losses[0]
