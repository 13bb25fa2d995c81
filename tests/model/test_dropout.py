"""Dropout: its rate, scale and gradient, and its dependence on torch's seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.model.dropout import dropout


@settings(deadline=None)
@given(rate=st.floats(0.01, 0.9), seed=st.integers(0, 99))
def test_the_share_is_dropped_and_the_mean_stays(rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    y = dropout(torch.ones(100, 333), rate)
    dropped = (y == 0).float().mean().item()
    standard_error = (rate * (1 - rate) / y.numel()) ** 0.5
    assert dropped == pytest.approx(rate, abs=5 * standard_error)
    assert y.max().item() == pytest.approx(1 / (1 - rate), rel=1e-3)


def test_the_seed_decides_and_neighbours_are_independent() -> None:
    def mask(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return dropout(torch.ones(1000, 1000), 0.5) == 0

    assert torch.equal(mask(1), mask(1)) and not torch.equal(mask(1), mask(2))
    once = mask(3).float()
    for other in (mask(4).float(), once.roll(1, 0), once.roll(1, 1)):
        assert ((once == other).float().mean() - 0.5).abs() < 0.003
    torch.manual_seed(5)
    assert not torch.equal(dropout(torch.ones(99), 0.5), dropout(torch.ones(99), 0.5))


def test_compiled_code_has_it_within_the_graph() -> None:
    compiled = torch.compile(dropout, backend="eager", fullgraph=True)

    def mask(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return compiled(torch.ones(100, 100), 0.5) == 0

    assert torch.equal(mask(1), mask(1)) and not torch.equal(mask(1), mask(2))
    assert mask(1).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_what_is_dropped_has_no_gradient_and_rate_zero_is_the_identity() -> None:
    x = torch.randn(50, requires_grad=True)
    assert dropout(x, 0.0) is x
    y = dropout(x, 0.3)
    y.sum().backward()
    assert x.grad is not None and torch.equal(x.grad != 0, y != 0)
