"""Dropout (Srivastava et al. 2014) with cheap random numbers on a CPU.

Torch draws them one by one from a slow generator: a third of a step in nanoGPT's Shakespeare model with dropout. Here a
fast generator, seeded from torch's, provides sixteen bits per element. Compiled code and GPUs keep torch's dropout: the
compiler understands it, and both draw fast. (`torch.compiler.disable` would import torch._dynamo, 1 s, in every run.)
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 1 << 16


def dropout(x: Tensor, rate: float) -> Tensor:
    """Zero each element with probability `rate`, to the nearest 65536th; scale the others by 1 / (1 - rate)."""
    if not rate:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, rate)
    return x * _mask(x, rate)


def _mask(x: Tensor, rate: float) -> Tensor:
    seed = int(torch.randint(1 << 62, ()))
    draws = np.random.SFC64(seed).random_raw(-(-x.numel() // 4)).view(np.int16)
    dropped = round(rate * LEVELS)
    kept = torch.from_numpy(draws)[: x.numel()].view(x.shape) >= dropped - LEVELS // 2
    return kept.to(x.dtype).mul_(LEVELS / (LEVELS - dropped))
