"""The model's forward pass with a cache of keys and values, held against `GPT.forward` by its tests.

Shapes: S slots, R rows of a pass (all slots, or one), T new ids of each row, P places of the cache, C n_embd, H n_head,
D head_dim, V vocab_size.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptcore.generation.linear import Layer, layer_of
from gptcore.model.attention import Attention
from gptcore.model.gpt import GPT, MLP, Block
from gptcore.model.norm import Norm

PLACES = 32  # attention reads a multiple of so many keys: masked ones at the end then change no bit of the result


@dataclass(frozen=True)
class _Block:
    norm_1: Layer
    qkv: Layer
    project: Layer
    norm_2: Layer
    widen: Layer
    narrow: Layer
    window: int
    scale: float
    residual: tuple[float, float] | None
    value_mix: tuple[float, float]
    values: nn.Module | None  # the table of value embeddings
    cached: Tensor  # (2 S H P, D): keys, then values


@dataclass(frozen=True)
class Pass:
    """New ids (R, T) of rows `first` to `first + R`, at `positions` (R, T).

    `before` (R, 1) holds the ids before them, None at the start of a text. Keys and values go to `places` (R, T) of
    their slots; each query sees its row's keys up to its own position, and `keys` of them are read.
    """

    ids: Tensor
    before: Tensor | None
    positions: Tensor
    places: Tensor
    first: int
    keys: int


class CachedModel:
    """Takes the weights as they are now; a model that trains on needs a new one."""

    @torch.inference_mode()
    def __init__(
        self, model: GPT, slots: int, unsayable: list[int] | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        """`unsayable` are ids whose logits become -inf. Blocks multiply in `dtype`; the head does not."""
        config = model.config
        self.config, self.slots, self.model = config, slots, model
        self.device = model.wte.weight.device
        self.places = -(-config.block_size // PLACES) * PLACES + 1  # nothing looks into the last
        shape = (config.n_layer, 2, slots, config.n_head, self.places, config.head_dim)
        # zeros, as what is masked is multiplied by 0, and 0 x NaN is not 0; numpy's take no memory until written to
        self.cache = torch.from_numpy(np.zeros(shape, np.float32)).to(self.device)
        tables = iter(model.wve)
        self.blocks = [
            _packed(block, self.cache[layer], next(tables) if config.has_value_embedding(layer) else None, dtype)
            for layer, block in enumerate(model.h)
            if isinstance(block, Block)
        ]
        self.norm, self.head = _norm(model.ln_f), layer_of(model.lm_head)
        self.windows = {block.window for block in self.blocks}
        self.numbers = torch.arange(self.places, device=self.device)
        heads = torch.arange(2 * slots * config.n_head, device=self.device) * self.places
        self.starts = heads.view(2, slots, config.n_head, 1)  # of each slot's keys and values in `_Block.cached`
        self.rotations = torch.complex(model.cos, model.sin) if config.position == "rope" else None
        self.seen = torch.zeros((), device=self.device)
        self.hidden = torch.full((), -math.inf, device=self.device)
        self.unsayable = torch.tensor(unsayable or [], dtype=torch.long, device=self.device)

    def forward(self, new: Pass) -> Tensor:
        """The last norm's output (R, T, C). Call it in inference mode."""
        config, model = self.config, self.model
        R, T = new.ids.shape
        x = model.wte(new.ids)
        if model.wpe is not None:
            x = x + torch.embedding(model.wpe.weight, new.positions)
        if model.wbe is not None:
            x = x + model.wbe(self._bigrams(new))
        x = x0 = torch.rms_norm(x, x.shape[-1:]) if config.embedding_norm else x
        rotation = None if self.rotations is None else self.rotations[new.positions][:, :, None, None]
        into = (self.starts.narrow(1, new.first, R) + new.places[:, None]).flatten()
        cached = self.cache.narrow(2, new.first, R).narrow(4, 0, new.keys).flatten(0, 1).unbind()
        masks = {window: self._mask(new, window) for window in self.windows}
        heads = (R, T, 3, config.n_head, config.head_dim)
        for block, keys, values in zip(self.blocks, cached[::2], cached[1::2], strict=True):
            if block.residual:
                x = torch.add(x * block.residual[0], x0, alpha=block.residual[1])
            qkv = block.qkv(block.norm_1(x)).view(heads)
            if config.qk_norm or rotation is not None:
                qk = qkv.narrow(2, 0, 2)
                if config.qk_norm:
                    qk.copy_(torch.rms_norm(qk, qk.shape[-1:]))
                if rotation is not None:  # as `attention.rotate`, in place
                    torch.view_as_complex(qk.unflatten(-1, (-1, 2))).mul_(rotation)
            if block.values is not None:
                v, (own, table) = qkv.select(2, 2), block.value_mix
                v.mul_(own).add_(block.values(new.ids).view(v.shape), alpha=table)
            kinds = qkv.permute(2, 0, 3, 1, 4)  # (3, R, H, T, D)
            block.cached.index_copy_(0, into, kinds.narrow(0, 1, 2).reshape(-1, config.head_dim))
            y = F.scaled_dot_product_attention(
                kinds.select(0, 0), keys, values, attn_mask=masks[block.window], scale=block.scale
            )
            x = x + block.project(y.transpose(1, 2).reshape(R, T, config.n_embd))
            x = x + block.narrow(self._activate(block.widen(block.norm_2(x))))
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """(.., V) in float32, -inf for ids that cannot be said."""
        logits = self.head(hidden).float()
        if self.config.logit_softcap:
            logits = torch.tanh(logits / self.config.logit_softcap) * self.config.logit_softcap
        return logits.index_fill_(-1, self.unsayable, -math.inf) if len(self.unsayable) else logits

    def clear(self, slot: int) -> None:
        """Make a slot usable again that holds NaN."""
        self.cache[:, :, slot] = 0

    def _bigrams(self, new: Pass) -> Tensor:
        if new.before is None:
            return self.model.bigrams(new.ids)
        return self.model.bigrams(torch.cat((new.before, new.ids), dim=1))[:, 1:]

    def _mask(self, new: Pass, window: int) -> Tensor | None:
        """(R, 1, T, keys): 0 where a query sees a key; None where all see all."""
        numbers, positions = self.numbers[: new.keys], new.positions[:, None, :, None]
        if new.ids.numel() == 1 and not window:
            return None
        seen = numbers <= positions
        if window:
            seen &= numbers > positions - window
        return torch.where(seen, self.seen, self.hidden)

    def _activate(self, x: Tensor) -> Tensor:
        if self.config.activation == "relu2":
            return F.relu(x).square()
        return F.gelu(x, approximate="tanh" if self.config.activation == "gelu_tanh" else "none")


def _packed(block: Block, cache: Tensor, values: nn.Module | None, dtype: torch.dtype) -> _Block:
    attention: Attention = block.attn
    mlp: MLP = block.mlp
    mix = block.residual_mix
    return _Block(
        norm_1=_norm(block.ln_1),
        qkv=layer_of(attention.c_attn, dtype),
        project=layer_of(attention.c_proj, dtype),
        norm_2=_norm(block.ln_2),
        widen=layer_of(mlp.c_fc, dtype),
        narrow=layer_of(mlp.c_proj, dtype),
        window=attention.window,
        scale=attention.scale,
        residual=None if mix is None else _pair(mix),
        value_mix=_pair(attention.value_mix) if values is not None else (1.0, 0.0),
        values=values,
        cached=cache.flatten(0, 3),
    )


def _norm(module: Norm) -> Layer:
    weight, bias = module.weight, module.bias
    if weight is None:
        return lambda x: torch.rms_norm(x, x.shape[-1:])
    shape = weight.shape
    return lambda x: torch.layer_norm(x, shape, weight, bias, 1e-5)


def _pair(mix: Tensor) -> tuple[float, float]:
    first, second = mix.tolist()
    return first, second
