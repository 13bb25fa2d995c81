"""Linear layers for one row and for many: what torch's own give."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gptcore.generation.linear import PACKED_FOR_ROWS, PACKED_FROM, added_product, product, product_then

WIDTH = 512


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_one_row_in_parts_is_torchs_product(threads: int, bias: bool) -> None:
    """Also of a number of outputs that threads do not share evenly, as GPT-2's 50,257 ids."""
    before, outputs = torch.get_num_threads(), PACKED_FROM // WIDTH + 5
    module = nn.Linear(WIDTH, outputs, bias=bias)
    torch.set_num_threads(threads)
    try:
        for rows, slots in ((1, 1), (4, 1), (1, PACKED_FOR_ROWS), (4, PACKED_FOR_ROWS)):
            x, residual = torch.randn(rows, WIDTH), torch.randn(rows, outputs)
            with torch.inference_mode():
                expected = module(x)
                kind = torch.float32, slots
                torch.testing.assert_close(product(module, *kind)(x), expected)
                torch.testing.assert_close(added_product(module, *kind)(residual.clone(), x), residual + expected)
                torch.testing.assert_close(product_then("gelu", module, *kind)(x), F.gelu(expected))
                torch.testing.assert_close(product_then("relu2", module, *kind)(x), F.relu(expected).square())
    finally:
        torch.set_num_threads(before)
