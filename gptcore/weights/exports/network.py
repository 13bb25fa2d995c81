"""The GPT as plain tensor operations with a cache from outside: what other runtimes read.

It imports torch alone and has the names of `GPT`'s weights. `onnx.py` and `pt2.py` trace it, and its text begins the
model code that `huggingface.py` writes. It only infers: no dropout, no fused kernels of ours.

Shapes: B batch, T new ids of each row, K keys (T and what the cache holds), C n_embd, H n_head, D head_dim = C / H,
V vocab_size.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# (layer, keys, values) of the new ids -> those of all ids so far; each (B, H, .., D)
Store = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


def normalize(x: Tensor) -> Tensor:
    """RMSNorm without parameters."""
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()


class Norm(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        has_weight = config.norm == "layernorm"
        self.weight = nn.Parameter(torch.ones(config.n_embd)) if has_weight else None
        self.bias = nn.Parameter(torch.zeros(config.n_embd)) if has_weight and config.bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return normalize(x)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    def __init__(self, config: Any, layer: int) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        self.head_dim = config.n_embd // config.n_head
        sees_all = layer % 4 == 3 or layer == config.n_layer - 1
        self.window = 0 if sees_all else config.sliding_window
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        if config.value_embeddings and layer % 2 == 1:
            self.value_mix = nn.Parameter(torch.tensor([0.5, 0.5]))

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, seen: Tensor, distance: Tensor, values: Tensor | None,
        store: Store,
    ) -> Tensor:  # fmt: skip
        heads = (*x.shape[:2], self.config.n_head, self.head_dim)
        q, k, v = (each.reshape(heads) for each in self.c_attn(x).split(self.config.n_embd, dim=-1))
        if self.config.qk_norm:
            q, k = normalize(q), normalize(k)
        if values is not None:
            v = self.value_mix[0] * v + self.value_mix[1] * values.reshape(heads)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        k, v = store(self.layer, k, v)
        if self.window:
            seen = seen & (distance < self.window)
        scale = self.config.attention_scale or self.head_dim**-0.5
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)
        projected: Tensor = self.c_proj(y.transpose(1, 2).reshape(x.shape))
        return projected


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions of x (B, H, T, D), pair by pair; cos, sin (.., T, D/2)."""
    one, other = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((one * cos - other * sin, one * sin + other * cos), dim=-1).flatten(-2)


class MLP(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.activation = config.activation
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        if self.activation == "relu2":
            x = F.relu(x).square()
        else:
            x = F.gelu(x, approximate="tanh" if self.activation == "gelu_tanh" else "none")
        projected: Tensor = self.c_proj(x)
        return projected


class Block(nn.Module):
    def __init__(self, config: Any, layer: int) -> None:
        super().__init__()
        self.ln_1, self.attn = Norm(config), Attention(config, layer)
        self.ln_2, self.mlp = Norm(config), MLP(config)
        self.residual_mix = nn.Parameter(torch.tensor([1.0, 0.0])) if config.residual_scalars else None

    def forward(self, x: Tensor, x0: Tensor, *of_attention: Any) -> Tensor:
        if self.residual_mix is not None:
            x = self.residual_mix[0] * x + self.residual_mix[1] * x0
        x = x + self.attn(self.ln_1(x), *of_attention)
        output: Tensor = x + self.mlp(self.ln_2(x))
        return output


class Network(nn.Module):
    """`config` has the fields of gptcore's ModelConfig."""

    def __init__(self, config: Any, vocab_size: int) -> None:
        super().__init__()
        self.config, width = config, config.n_embd
        self.wte = nn.Embedding(vocab_size, width)
        self.wpe = nn.Embedding(config.block_size, width) if config.position == "learned" else None
        self.wbe = nn.Embedding(config.bigram_buckets, width) if config.bigram_buckets else None
        tables = config.n_layer // 2 if config.value_embeddings else 0
        self.wve = nn.ModuleList(nn.Embedding(vocab_size, width) for _ in range(tables))
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = Norm(config)
        self.lm_head = nn.Linear(width, vocab_size, bias=False)

    def forward(
        self, ids: Tensor, previous: Tensor, positions: Tensor, keys: int, store: Store, real: Tensor | None = None
    ) -> Tensor:
        """Logits (B, T, V) of ids (B, T) at `positions` (T,) or (B, T).

        `previous` (B, 1) holds the id before the first of `ids`; at position 0 any. `keys` is K. `real` (B, K) is False
        at padding, which stands on the left.
        """
        x = self.wte(ids)
        if self.wpe is not None:
            x = x + self.wpe(positions)
        if self.wbe is not None:
            x = x + self.wbe(self._bigrams(ids, previous, positions))
        x = x0 = normalize(x) if self.config.embedding_norm else x
        rotary = self._rotary(positions, x) if self.config.position == "rope" else None
        query = torch.arange(keys - ids.shape[1], keys, device=ids.device)
        distance = query[:, None] - torch.arange(keys, device=ids.device)
        seen = distance >= 0
        if real is not None:  # padding sees itself: a softmax over nothing is NaN
            seen = (seen & real[:, None, None, :]) | (distance == 0)
        for layer, block in enumerate(self.h):
            values = self.wve[layer // 2](ids) if self.config.value_embeddings and layer % 2 == 1 else None
            x = block(x, x0, rotary, seen, distance, values, store)
        logits: Tensor = self.lm_head(self.ln_f(x)).float()
        cap = self.config.logit_softcap
        return cap * torch.tanh(logits / cap) if cap else logits

    def _rotary(self, positions: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (.., 1, T, D/2)."""
        width = self.config.n_embd // self.config.n_head
        exponents = torch.arange(0, width, 2, device=positions.device) / width
        angles = positions.float().unsqueeze(-1) * self.config.rope_base**-exponents
        return angles.cos().to(x.dtype).unsqueeze(-3), angles.sin().to(x.dtype).unsqueeze(-3)

    def _bigrams(self, ids: Tensor, previous: Tensor, positions: Tensor) -> Tensor:
        """The bucket of each (previous id, id); bucket 0 at position 0."""
        before = torch.cat((previous, ids), dim=1)[:, :-1]
        hashed = ((before * 36313) ^ (ids * 27191)) % (self.config.bigram_buckets - 1) + 1
        return torch.where(positions == 0, torch.zeros_like(hashed), hashed)
