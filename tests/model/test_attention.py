"""Attention: the CPU's blocks against torch's kernel, sliding windows, activation checkpointing."""

import pytest
import torch
from torch.nn import functional as F

from gptcore.model import block_attention
from gptcore.model.attention import apart_mask, attend, floats_per_score, window_mask
from gptcore.model.dropout import kept, kept_share
from gptcore.model.gpt import GPT
from tests.support.engine import GPT2, MODERN, model_config
from tests.support.weights import random_model


@pytest.mark.parametrize("length", [5, 128, 300])
@pytest.mark.parametrize("window", [0, 2, 200])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_blocks_agree_with_one_masked_product(
    length: int, window: int, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In values and gradients. With dropout, the product gets the masks that the blocks have drawn."""
    q, k, v = (torch.randn(2, 3, length, 8, requires_grad=True) for _ in range(3))
    ahead = torch.arange(length)[:, None] - torch.arange(length)
    seen = (ahead >= 0) & (ahead < (window or length))
    drawn: list[torch.Tensor] = []
    monkeypatch.setattr(block_attention, "kept", lambda *args: drawn.append(kept(*args)) or drawn[-1])
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        drawn.clear()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            assert window_mask(length, window, q.device) is None
            ours = attend(q, k, v, rate, 0.3, window, None)
        assert ours.dtype == dtype
        mask = torch.full((6, length, length), 1 / kept_share(rate))
        for number, block in enumerate(drawn):
            last = number * block_attention.QUERY_BLOCK + block.size(1)
            mask[:, last - block.size(1) : last, last - block.size(2) : last] *= block
        weights = (q @ k.mT * 0.3).masked_fill(~seen, -torch.inf).softmax(-1) * mask.view(2, 3, length, length)
        theirs = weights @ v
        torch.testing.assert_close(ours.float(), theirs, rtol=tolerance, atol=tolerance)
        upstream = torch.randn_like(theirs)
        for found, right in zip(
            torch.autograd.grad(ours, (q, k, v), upstream.to(dtype)),
            torch.autograd.grad(theirs, (q, k, v), upstream),
            strict=True,
        ):
            if dtype == torch.float32:
                torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)
            assert F.cosine_similarity(found.flatten(), right.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("length", "rate"), [(512, 0.0), (512, 0.3), (64, 0.3)])
def test_the_backward_pass_stores_no_more_of_the_scores_than_it_says(
    dtype: torch.dtype, length: int, rate: float
) -> None:
    q, k, v = (torch.randn(2, 3, length, 8, requires_grad=True) for _ in range(3))
    stored: list[torch.Tensor] = []
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(lambda x: stored.append(x) or x, lambda x: x),
    ):
        attend(q, k, v, rate, 0.3, 0, None)
    of_scores = sum(each.numel() * each.itemsize for each in stored if each.numel() > q.numel())
    most = 4 * floats_per_score(q.device, rate, length) * 2 * 3 * length * length
    assert most / 3 < of_scores <= most or of_scores == most == 0


def test_blocks_compile_to_one_graph() -> None:
    q, k, v = (torch.randn(1, 2, 200, 8) for _ in range(3))
    compiled = torch.compile(attend, backend="eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(q, k, v, 0.0, 0.3, 50, None), attend(q, k, v, 0.0, 0.3, 50, None))
    assert torch.isfinite(compiled(q, k, v, 0.3, 0.3, 0, None)).all()


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("length", [5, 300])
def test_flex_attention_sees_the_same_keys(length: int) -> None:
    """Its kernel is compiled for GPUs; on a CPU it knows no backward pass."""
    q, k, v = (torch.randn(2, 3, length, 16) for _ in range(3))
    mask = window_mask(length, 2, q.device, flex=True)
    assert not isinstance(mask, torch.Tensor) and window_mask(length, 2, q.device, flex=True) is mask
    theirs = attend(q, k, v, 0.0, 0.3, 2, window_mask(length, 2, q.device))
    torch.testing.assert_close(attend(q, k, v, 0.0, 0.3, 2, mask), theirs, rtol=1e-4, atol=1e-5)


def packed_starts(length: int) -> torch.Tensor:
    """Of three rows of records: random ones, one record alone, and one for each position."""
    begins = torch.rand(length, generator=torch.Generator().manual_seed(length)) < 0.1
    position = torch.arange(length)
    return torch.stack([(begins * position).cummax(0).values, torch.zeros_like(position), position])


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("length", [5, 300])
@pytest.mark.parametrize("window", [0, 4])
def test_flex_attention_keeps_records_apart_as_the_matrix_does(length: int, window: int) -> None:
    q, k, v = (torch.randn(3, 2, length, 16) for _ in range(3))
    starts = packed_starts(length)
    theirs = attend(q, k, v, 0.0, 0.3, window, apart_mask(starts, window))
    ours = attend(q, k, v, 0.0, 0.3, window, apart_mask(starts, window, flex=True))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_what_is_compiled_for_one_batch_of_records_serves_the_next() -> None:
    q, k, v = (torch.randn(3, 2, 40, 16) for _ in range(3))
    compiled = torch.compile(attend, backend="eager", fullgraph=True, dynamic=False)
    batches = [packed_starts(40), packed_starts(40).flip(0)]
    for number, starts in enumerate(batches):
        with torch.compiler.set_stance("fail_on_recompile" if number else "default"):
            ours = compiled(q, k, v, 0.0, 0.3, 4, apart_mask(starts, 4, flex=True))
        torch.testing.assert_close(ours, attend(q, k, v, 0.0, 0.3, 4, apart_mask(starts, 4)), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("length", [300, 1024])
def test_flex_attention_on_a_gpu_has_the_gradients_of_one_masked_product(length: int) -> None:
    q, k, v = (torch.randn(2, 3, length, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    with torch.autocast("cuda", torch.bfloat16):
        theirs = attend(q, k, v, 0.0, 0.3, 100, window_mask(length, 100, q.device))
        flex = torch.compile(attend, dynamic=False)
        ours = flex(q, k, v, 0.0, 0.3, 100, window_mask(length, 100, q.device, flex=True))
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)
    for found, right in zip(
        torch.autograd.grad(ours.square().sum(), (q, k, v)),
        torch.autograd.grad(theirs.square().sum(), (q, k, v)),
        strict=True,
    ):
        assert F.cosine_similarity(found.float().flatten(), right.float().flatten(), dim=0) > 0.999


def test_a_window_hides_what_is_too_far_back_and_every_fourth_block_sees_all() -> None:
    config = model_config(GPT2, n_layer=5, sliding_window=4)
    assert [config.window(layer) for layer in range(5)] == [4, 4, 4, 0, 0]
    model = GPT(model_config(GPT2, n_layer=1, sliding_window=4), 50)
    assert model.h[0].attn.window == 0  # the last block sees everything
    model.h[0].attn.window = 4
    rows = torch.randint(0, 50, (1, 16))
    changed = rows.clone()
    changed[0, 3] = (changed[0, 3] + 1) % 50
    same = (model(rows) == model(changed)).all(-1)[0].tolist()
    assert same == [True] * 3 + [False] * 4 + [True] * 9


@pytest.mark.parametrize("values", [GPT2, MODERN], ids=["gpt2", "modern"])
def test_recomputed_activations_give_the_same_gradients(values: dict) -> None:
    rows = torch.randint(0, 50, (4, 17))
    found = []
    for recompute in (False, True):
        model = GPT(model_config(values, dropout=0.2, activation_checkpointing=recompute), 50)
        torch.manual_seed(3)
        loss = model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        found.append([loss.item(), *(each.grad for each in model.parameters())])
    for stored, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(stored, recomputed, rtol=0, atol=0)


@pytest.mark.gpu
def test_packed_records_on_a_gpu_are_what_they_are_on_a_cpu() -> None:
    """In loss and gradients: compiled, with a BlockMask, against the matrix."""
    model = random_model(MODERN, 50, block_size=256, n_embd=64, sliding_window=100).train()
    rows, starts = torch.randint(0, 50, (3, 257)), packed_starts(256)
    found = []
    for device in ("cpu", "cuda"):
        model.zero_grad()
        model.to(device)
        if device == "cuda":
            model.compile_blocks()
        loss = model(rows[:, :-1].to(device), rows[:, 1:].to(device), starts.to(device))
        loss.backward()
        found.append([loss.detach().cpu(), *(each.grad.cpu() for each in model.parameters() if each.grad is not None)])
    for right, each in zip(*found, strict=True):
        torch.testing.assert_close(each, right, rtol=1e-3, atol=1e-4)
