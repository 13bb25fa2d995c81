"""Linear layers for few rows, their weights packed once."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Layer = Callable[[Tensor], Tensor]

# Elements of a weight from which packing pays: below, oneDNN takes longer to find its kernel than to multiply. At 124M
# and 4 to 16 rows, a packed weight takes half the time, and a row's bits do not depend on the number of rows.
PACKED_FROM = 1 << 18
PACKED_FOR_ROWS = 8


def linear(weight: Tensor, bias: Tensor | None) -> Layer:
    """x @ weight.T + bias as a function of x (.., in). It may keep a copy of `weight`, as it is now."""
    if weight.device.type == "cpu" and weight.numel() >= PACKED_FROM and torch.backends.mkldnn.is_available():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR_ROWS)
        multiply = torch.ops.mkldnn._linear_pointwise.default
        return lambda x: multiply(x, packed, bias, "none", [], "")
    return lambda x: F.linear(x, weight, bias)
