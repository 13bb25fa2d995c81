"""Causal self-attention: rotary positions, QK-norm, value embeddings, sliding windows.

Shapes: B batch, T time, C n_embd, H n_head, D head_dim = C / H.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptcore.model.config import ModelConfig
from gptcore.model.dropout import dropout
from gptcore.model.norm import normalize

QUERY_BLOCK = 128  # for attention on a CPU; shorter blocks skip more masked keys, longer ones multiply faster


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to x (B, T, .., D), pair by pair; cos, sin (T, .., D/2). Su et al. 2021, RoFormer."""
    pairs = x.unflatten(-1, (-1, 2))
    if x.device.type == "cpu":  # one pass; GPU compilers do not support complex numbers
        rotated: Tensor = torch.view_as_real(torch.view_as_complex(pairs.float()) * torch.complex(cos, sin))
    else:
        first, second = pairs.unbind(-1)
        rotated = torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return rotated.flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, rate: float, scale: float, window: int) -> Tensor:
    """Causal attention of q, k, v (B, H, T, D), each query to the last `window` positions (0: to all).

    `rate` is the dropout rate on the attention weights.
    """
    if q.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return _attend_in_blocks(q, k, v, rate, scale, window)
    if not window or window >= q.size(2):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True, scale=scale)
    bias = _causal_bias(0, q.size(2), 0, q.size(2), window, q.dtype, q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=rate, scale=scale)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, rate: float, scale: float, window: int) -> Tensor:
    """The same in bfloat16 matrix products, one block of queries at a time, skipping keys that the block cannot see.

    Torch's own CPU kernel computes in float32, and its backward pass takes two to three times as long.
    """
    T = q.size(2)
    q, k, v = ((q * scale).bfloat16(), k.bfloat16(), v.bfloat16())
    blocks = []
    for first in range(0, T, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, T)
        start = max(first - window + 1, 0) if window else 0
        scores = q[:, :, first:last] @ k[:, :, start:last].mT
        scores += _causal_bias(first, last, start, last, window, scores.dtype, scores.device)
        blocks.append(dropout(scores.softmax(-1), rate) @ v[:, :, start:last])
    return torch.cat(blocks, dim=2) if len(blocks) > 1 else blocks[0]


@lru_cache(maxsize=64)
def _causal_bias(
    first: int, last: int, start: int, end: int, window: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The additive mask for queries first..last against keys start..end: 0 where visible, -inf elsewhere."""
    ahead = torch.arange(first, last, device=device)[:, None] - torch.arange(start, end, device=device)
    seen = (ahead >= 0) & (ahead < window) if window else ahead >= 0
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, -math.inf)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.scale = config.attention_scale or config.head_dim**-0.5
        self.window = config.window(layer)
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        if config.has_value_embedding(layer):
            self.value_mix = nn.Parameter(torch.tensor([0.5, 0.5]))

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, value_embedding: Tensor | None) -> Tensor:
        B, T, C = x.shape
        heads = (self.config.n_head, self.config.head_dim)
        # process queries and keys together as far as possible
        qk, v = self.c_attn(x).view(B, T, 3, *heads).split((2, 1), dim=2)
        if self.config.qk_norm:
            qk = normalize(qk)
        if rotary:
            qk = rotate(qk, *rotary)
        v = v.squeeze(2)
        if value_embedding is not None:
            v = self.value_mix[0] * v + self.value_mix[1] * value_embedding.view(v.shape)
        q, k, v = (each.transpose(1, 2) for each in (*qk.unbind(2), v))  # (B, H, T, D)
        rate = self.config.dropout if self.training else 0.0
        y = attend(q, k, v, rate, self.scale, self.window)
        return dropout(self.c_proj(y.transpose(1, 2).reshape(B, T, C)), rate)
