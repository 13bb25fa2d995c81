"""The chunked loss equals plain cross-entropy for any chunk size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import gptcore.model.loss
from gptcore.model.loss import Kernel, in_one_kernel, in_slices, linear_cross_entropy

C = 8


def plain(x: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, softcap: float) -> torch.Tensor:
    logits = x @ weight.T
    return F.cross_entropy(softcap * torch.tanh(logits / softcap) if softcap else logits, targets)


@given(
    n=st.integers(1, 40), v=st.integers(2, 90), softcap=st.sampled_from([0.0, 2.0, 15.0]),
    chunk=st.integers(1, 4000), slice_=st.integers(1, 1000), multiple=st.sampled_from([1, 16]), seed=st.integers(0, 99),
    kernel=st.sampled_from([in_slices, in_one_kernel]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_loss_and_gradients_are_those_of_cross_entropy(
    n: int, v: int, softcap: float, chunk: int, slice_: int, multiple: int, seed: int, kernel: Kernel
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, weight = (torch.randn(rows, C, generator=generator, requires_grad=True) for rows in (n, v))
    targets = torch.randint(0, v, (n,), generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gptcore.model.loss, "CHUNK_ELEMENTS", {"cpu": chunk})
        patch.setattr(gptcore.model.loss, "SLICE_ELEMENTS", {"cpu": slice_})
        patch.setattr(gptcore.model.loss, "VOCABULARY_MULTIPLE", {"cpu": multiple})
        patch.setattr(gptcore.model.loss, "CHUNK_ROWS_MULTIPLE", {"cpu": multiple})
        ours = linear_cross_entropy(x, weight, targets, softcap, kernel)
        our_gradients = torch.autograd.grad(3 * ours, (x, weight))
    theirs = plain(x, weight, targets, softcap)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradients, torch.autograd.grad(3 * theirs, (x, weight)), rtol=1e-4, atol=1e-5)


def test_under_autocast_the_products_are_bfloat16_and_the_gradients_float32() -> None:
    x, weight = (torch.randn(rows, C, requires_grad=True) for rows in (64, 500))
    targets = torch.randint(0, 500, (64,))
    with torch.autocast("cpu", torch.bfloat16):
        ours = linear_cross_entropy(x, weight, targets, 15.0)
    ours.backward()
    theirs = plain(x, weight, targets, 15.0)
    assert ours.item() == pytest.approx(theirs.item(), rel=0.01)
    assert x.grad is not None and weight.grad is not None and x.grad.dtype == weight.grad.dtype == torch.float32
    expected = torch.autograd.grad(theirs, (x, weight))
    for found, right in zip((x.grad, weight.grad), expected, strict=True):
        assert F.cosine_similarity(found.flatten(), right.flatten(), dim=0) > 0.999


def test_a_hopeless_guess_has_a_finite_loss() -> None:
    x, weight = torch.tensor([[1000.0]]), torch.tensor([[1.0], [-1.0]])
    assert 80 < linear_cross_entropy(x, weight, torch.tensor([1]), 0.0).item() < 90


@pytest.mark.gpu
@pytest.mark.parametrize("softcap", [0.0, 15.0])
def test_the_kernel_compiled_for_a_gpu_gives_the_loss_and_gradients_of_cross_entropy(softcap: float) -> None:
    n, v, width = 1000, 5001, 64  # divisible neither by a tile nor by a chunk
    x = torch.randn(n, width, device="cuda", requires_grad=True)
    weight = torch.randn(v, width, device="cuda", requires_grad=True)
    targets = torch.randint(0, v, (n,), device="cuda")
    with pytest.MonkeyPatch.context() as patch, torch.autocast("cuda", torch.bfloat16):
        patch.setattr(gptcore.model.loss, "CHUNK_ELEMENTS", {"cuda": 300 * v})
        kernel = torch.compile(in_one_kernel, dynamic=False, fullgraph=True)
        ours = linear_cross_entropy(x, weight, targets, softcap, kernel)
    theirs = plain(x, weight, targets, softcap)
    assert ours.item() == pytest.approx(theirs.item(), rel=0.01)
    for found, right in zip(
        torch.autograd.grad(ours, (x, weight)), torch.autograd.grad(theirs, (x, weight)), strict=True
    ):
        assert found.dtype == torch.float32
        assert F.cosine_similarity(found.flatten(), right.flatten(), dim=0) > 0.999
