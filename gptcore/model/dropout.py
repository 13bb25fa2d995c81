"""Dropout (Srivastava et al. 2014) whose random numbers cost a CPU next to nothing.

Torch draws them one by one in a slow generator: in nanoGPT's Shakespeare model with dropout that is a third of a step.
Here a fast generator, seeded from torch's, gives sixteen bits for each element.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 1 << 16


def dropout(x: Tensor, rate: float) -> Tensor:
    """x with each element zero with probability `rate`, to the nearest 65536th, and scaled by 1 / (1 - rate) else."""
    if not rate:
        return x
    return F.dropout(x, rate) if x.device.type != "cpu" else x * _mask(x, rate)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _mask(x: Tensor, rate: float) -> Tensor:
    seed = int(torch.randint(1 << 62, ()))
    draws = np.random.SFC64(seed).random_raw(-(-x.numel() // 4)).view(np.int16)
    dropped = round(rate * LEVELS)
    kept = torch.from_numpy(draws)[: x.numel()].view(x.shape) >= dropped - LEVELS // 2
    return kept.to(x.dtype).mul_(LEVELS / (LEVELS - dropped))
