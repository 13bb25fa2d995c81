"""Linear layers for few rows (N, in), their weights packed once, with what follows them in one call where it can be.

At small sizes a step's time is that of its calls. The functions may keep a copy of the weights, as they are now.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptcore.model.int8 import Int8Linear
from gptcore.model.norm import Norm

Layer = Callable[[Tensor], Tensor]
Linear = nn.Linear | Int8Linear

# Elements of a weight from which packing pays: below, oneDNN takes longer to find its kernel than to multiply. At 124M
# and 4 to 16 rows, a packed weight takes half the time, and a row's bits do not depend on the number of rows.
PACKED_FROM = 1 << 18
PACKED_FOR_ROWS = 8
ACTIVATIONS: dict[str, Layer] = {
    "relu2": lambda x: torch.relu(x).square_(),
    "gelu": lambda x: F.gelu(x),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}
FUSED = {"gelu": "none", "gelu_tanh": "tanh"}  # oneDNN's names of the kinds of GELU
ONEDNN: Any = torch.ops.mkldnn._linear_pointwise.default
ONEDNN_WITH: Any = torch.ops.mkldnn._linear_pointwise.binary


def product(module: Linear, dtype: torch.dtype = torch.float32, rows: int = PACKED_FOR_ROWS) -> Layer:
    """The module, multiplied in `dtype`, float32 out, fastest for so many rows; one in 8 bits is as it is.

    A large weight is packed for several rows, and for one it is multiplied in parts.
    """
    if isinstance(module, Int8Linear):
        return module
    weight, bias = module.weight.detach(), bias_of(module)
    if dtype != torch.float32:
        low = _product(weight.to(dtype), None if bias is None else bias.to(dtype))
        return lambda x: low(x.to(dtype)).float()
    many = _product(weight, bias)
    if rows > 1 or not _packs(weight):
        return many
    one = _OneRow(weight, bias)
    return lambda x: one(x) if x.size(0) == 1 else many(x)


def product_into(module: Linear, dtype: torch.dtype, rows: int) -> Callable[[Tensor, Tensor], object]:
    """Writes the product of its first argument to the second."""
    if _is_plain(module, dtype) and not _is_packed(module, dtype):
        turned, bias = module.weight.detach().t(), bias_of(module)
        if bias is None:
            return lambda x, out: torch.mm(x, turned, out=out)
        return lambda x, out: torch.addmm(bias, x, turned, out=out)
    multiply = product(module, dtype, rows)
    return lambda x, out: out.copy_(multiply(x))


def product_then(activation: str, module: Linear, dtype: torch.dtype, rows: int) -> Layer:
    if activation in FUSED and rows > 1 and _is_packed(module, dtype):
        packed, bias, kind = _packed(module.weight), bias_of(module), FUSED[activation]
        return lambda x: ONEDNN(x, packed, bias, "gelu", [], kind)
    multiply, activate = product(module, dtype, rows), ACTIVATIONS[activation]
    return lambda x: activate(multiply(x))


def added_product(module: Linear, dtype: torch.dtype, rows: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The sum of the residual, its first argument, and the product; it may be written over the residual."""
    is_packed = _is_packed(module, dtype)
    if is_packed and rows > 1:
        packed, bias = _packed(module.weight), bias_of(module)
        return lambda residual, x: ONEDNN_WITH(x, residual, packed, bias, "add")
    if _is_plain(module, dtype) and not is_packed:
        turned, bias = module.weight.detach().t(), bias_of(module)
        if bias is None:
            return lambda residual, x: residual.addmm_(x, turned)
        return lambda residual, x: residual.addmm_(x, turned).add_(bias)
    multiply = product(module, dtype, rows)
    return lambda residual, x: residual + multiply(x)


def table_of(module: nn.Module) -> Layer:
    if not isinstance(module, nn.Embedding):  # one in 8 bits
        return module
    weight = module.weight.detach()
    return lambda ids: torch.embedding(weight, ids)


def bias_of(module: Linear | Norm) -> Tensor | None:
    """A step that is traced takes no tensors that are trained."""
    return None if module.bias is None else module.bias.detach()


class _OneRow:
    """The product of one row, a part of the weight for each thread.

    It takes as long as the memory needs to give the weight: each thread reads one part of it from end to end. Packed
    for a single row, the weights of 124M took a quarter to two thirds more time (18.2 against 10.9 to 14.8 ms).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        parts = torch.get_num_threads()
        length = weight.size(0) // parts
        self.split, self.rest = weight[: length * parts].view(parts, length, -1), weight[length * parts :]
        self.bias = bias
        self.parts = None if bias is None else bias[: length * parts].view(parts, length, 1)

    def __call__(self, x: Tensor) -> Tensor:
        column = x.t().expand(self.split.size(0), -1, 1)  # with x.view(1, -1, 1), MKL takes seven times as long
        if self.parts is None:
            y = torch.bmm(self.split, column).view(1, -1)
        else:
            y = torch.baddbmm(self.parts, self.split, column).view(1, -1)
        if not len(self.rest):
            return y
        last = F.linear(x, self.rest, None if self.bias is None else self.bias[-len(self.rest) :])
        return torch.cat((y, last), 1)


def _product(weight: Tensor, bias: Tensor | None) -> Layer:
    if _packs(weight):
        packed = _packed(weight)
        return lambda x: ONEDNN(x, packed, bias, "none", [], "")
    turned = weight.t()
    if bias is None:
        return lambda x: torch.mm(x, turned)
    if weight.dtype == torch.float32 and not weight.is_cuda:  # TorchScript takes addmm apart, which rounds otherwise
        return lambda x: torch.mm(x, turned).add_(bias)
    return lambda x: torch.addmm(bias, x, turned)


def _is_plain(module: Linear, dtype: torch.dtype) -> bool:
    return isinstance(module, nn.Linear) and dtype == torch.float32


def _is_packed(module: Linear, dtype: torch.dtype) -> bool:
    return _is_plain(module, dtype) and _packs(module.weight)


def _packs(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or weight.numel() < PACKED_FROM or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _packed(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR_ROWS)
    return packed
