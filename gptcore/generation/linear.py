"""Linear layers for few rows, their weights packed once."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptcore.model.int8 import Int8Linear

Layer = Callable[[Tensor], Tensor]

# Elements of a weight from which packing pays: below, oneDNN takes longer to find its kernel than to multiply. At 124M
# and 4 to 16 rows, a packed weight takes half the time, and a row's bits do not depend on the number of rows.
PACKED_FROM = 1 << 18
PACKED_FOR_ROWS = 8


def linear(weight: Tensor, bias: Tensor | None, dtype: torch.dtype = torch.float32) -> Layer:
    """x @ weight.T + bias as a function of x (.., in), multiplied in `dtype`, float32 out.

    It may keep a copy of `weight`, as it is now.
    """
    if dtype != torch.float32:
        low = _linear(weight.to(dtype), None if bias is None else bias.to(dtype))
        return lambda x: low(x.to(dtype)).float()
    return _linear(weight, bias)


def layer_of(module: nn.Linear | Int8Linear, dtype: torch.dtype = torch.float32) -> Layer:
    """The module's function; of one in 8 bits, its own."""
    return module if isinstance(module, Int8Linear) else linear(module.weight, module.bias, dtype)


def _linear(weight: Tensor, bias: Tensor | None) -> Layer:
    if weight.device.type == "cpu" and weight.numel() >= PACKED_FROM and torch.backends.mkldnn.is_available():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR_ROWS)
        multiply = torch.ops.mkldnn._linear_pointwise.default
        return lambda x: multiply(x, packed, bias, "none", [], "")
    return lambda x: F.linear(x, weight, bias)
