"""ReLU squared against torch's own operations."""

import pytest
import torch
from torch.nn import functional as F

from gptcore.model.activation import relu_squared


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_relu_squared_and_its_gradient(dtype: torch.dtype) -> None:
    x = torch.randn(50, 7, dtype=dtype, requires_grad=True)
    upstream = torch.randn_like(x)
    ours, theirs = relu_squared(x), F.relu(x).square()
    assert torch.equal(ours, theirs)
    found, right = (torch.autograd.grad(each, x, upstream)[0] for each in (ours, theirs))
    torch.testing.assert_close(found, right)
