"""Causal self-attention: rotary positions, QK-norm, value embeddings, sliding windows.

Shapes: B batch, T time, C n_embd, H n_head, D head_dim = C / H.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Union

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptcore.model.block_attention import attend_in_blocks, causal_bias, keeps_scores
from gptcore.model.config import ModelConfig
from gptcore.model.dropout import dropout
from gptcore.model.layers import Linear
from gptcore.model.norm import normalize

if TYPE_CHECKING:  # imports torch's compiler, a second
    from torch.nn.attention.flex_attention import BlockMask

Mask = Union[Tensor, "BlockMask", None]

FLEX_HEAD_DIM = 16  # FlexAttention's smallest


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to x (B, T, .., D), pair by pair; cos, sin (T, .., D/2). Su et al. 2021, RoFormer."""
    pairs = x.unflatten(-1, (-1, 2))
    rotated: Tensor
    if x.device.type == "cpu":  # one pass; GPU compilers do not support complex numbers
        rotated = torch.view_as_real(torch.view_as_complex(pairs.float()) * torch.complex(cos, sin)).flatten(-2)
    else:  # compiled, each thread reads the element that it writes; the other of the pair is in the same cache line
        signed = torch.stack((-sin, sin), dim=-1).flatten(-2)
        rotated = x * cos.repeat_interleave(2, -1) + pairs.flip(-1).flatten(-2) * signed
    return rotated


def attend(q: Tensor, k: Tensor, v: Tensor, rate: float, scale: float, window: int, mask: Mask) -> Tensor:
    """Causal attention of q, k, v (B, H, T, D), each query to the last `window` positions (0: to all).

    `rate` is the dropout rate on the attention weights, `mask` the `window_mask` or `apart_mask` of these T positions.
    """
    if mask is None and _in_blocks(q, rate, window):
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else q.dtype
        return attend_in_blocks(q, k, v, rate, scale, window, dtype)
    if mask is None:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True, scale=scale)
    if isinstance(mask, Tensor):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate, scale=scale)
    from torch.nn.attention.flex_attention import flex_attention

    y: Tensor = flex_attention(q, k, v.to(q.dtype), block_mask=mask, scale=scale)
    return y


def window_mask(T: int, window: int, device: torch.device, flex: bool = False) -> Mask:
    """The mask of T positions that `attend` takes for `window`. One serves all blocks of a pass.

    It is None where `attend` needs none, and a matrix (T, T) that is added to the scores for torch's own kernels, which
    read all of it. With `flex` it is a `BlockMask` for FlexAttention, a kernel that is compiled for a GPU and skips
    what the window hides; that kernel has no dropout (Dong et al. 2024).
    """
    if not window or window >= T:
        return None
    if flex:
        return _block_mask(T, window, device)
    if device.type == "cpu":
        return None
    autocast = torch.is_autocast_enabled(device.type)
    return causal_bias(T, 0, window, torch.get_autocast_dtype(device.type) if autocast else torch.float32, device)


def apart_mask(starts: Tensor, window: int, flex: bool = False) -> Mask:
    """For records packed in rows, which query sees which key: one of its own record, within `window`.

    It is a matrix (B, 1, T, T), or with `flex` a `BlockMask`, which skips what lies in other records.
    """
    if flex:
        return _apart_blocks(starts, window)
    position = torch.arange(starts.size(1), device=starts.device)
    before = position[:, None] - position
    seen = (starts[:, :, None] == starts[:, None, :]) & (before >= 0)
    return (seen & (before < window) if window else seen)[:, None]


def _apart_blocks(starts: Tensor, window: int) -> "BlockMask":
    """Made anew for each batch. What is compiled for one serves all: `starts` is an input of the kernel."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = (starts[batch, query] == starts[batch, key]) & (query >= key)
        return seen & (query - key < window) if window else seen

    B, T = starts.shape
    return create_block_mask(sees, B, None, T, T, device=str(starts.device))


@lru_cache(maxsize=8)
def _block_mask(T: int, window: int, device: torch.device) -> "BlockMask":
    """Made once, and outside inference mode: it serves passes with and without gradients."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < window)

    with torch.inference_mode(False):
        return create_block_mask(sees, None, None, T, T, device=str(device))


def floats_per_score(device: torch.device, rate: float, T: int) -> float:
    """What `attend` keeps for the backward pass for each of the scores (B, H, T, T) at most.

    On a CPU, a byte where it drops, and the scores themselves of a few positions.
    """
    if device.type == "cpu":
        return 0.25 * (rate > 0) + keeps_scores(T)
    return 0.0 if device.type == "cuda" else 1.0


def _in_blocks(q: Tensor, rate: float, window: int) -> bool:
    """Whether torch's own kernel for CPUs, which computes in float32, is slower."""
    return q.device.type == "cpu" and (torch.is_autocast_enabled("cpu") or rate > 0 or 0 < window < q.size(2))


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.scale = config.attention_scale or config.head_dim**-0.5
        self.window = config.window(layer)
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = Linear(config.n_embd, config.n_embd, bias=config.bias)
        if config.has_value_embedding(layer):
            self.value_mix = nn.Parameter(torch.tensor([0.5, 0.5]))

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, mask: Mask, value_embedding: Tensor | None
    ) -> Tensor:
        """`mask` is that of the T positions for the window of this block, as `attend` takes it."""
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
        y = attend(q, k, v, rate, self.scale, self.window, mask)
        return dropout(self.c_proj(y.transpose(1, 2).reshape(B, T, C)), rate)
