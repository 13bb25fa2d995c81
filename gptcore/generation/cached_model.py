"""The model's forward pass with a cache of keys and values, held against `GPT.forward` by its tests.

A small model's step takes the time of its calls, so there are few: rows are flat, views are taken with their strides.

Shapes: S slots, R rows of a pass, A of them that attend, T new ids of each row, N = R T, P places of the cache,
C n_embd, H n_head, D head_dim, V vocab_size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gptcore.generation.linear import PACKED_FOR_ROWS, Layer, added_product, product, product_then, table_of
from gptcore.model.gpt import GPT, Block
from gptcore.model.norm import Norm

PLACES = 32  # attention reads a multiple of so many keys: masked ones at the end then change no bit of the result


@dataclass(frozen=True)
class _Block:
    norm_1: Layer
    qkv: Layer
    project: Callable[[Tensor, Tensor], Tensor]
    norm_2: Layer
    widen: Layer
    narrow: Callable[[Tensor, Tensor], Tensor]
    window: int
    scale: float
    residual: Tensor | None  # the share of x; that of x0 is in `CachedModel.shares`
    values: Layer | None  # the table of value embeddings, and the shares of values and table
    value_mix: tuple[float, float]


class Pass(NamedTuple):
    """New ids (N,) of rows `first` to `first + rows`, with the ids before them and their positions.

    Of single ids, only the first `attending` rows are of use: the others are there for the shape of the matrices.

    Keys and values go to `places` of their slots, those of a single row to the places from `at` on. Each query sees its
    row's keys up to its own position, and `keys` of them are read: those up to the last position, unless more are
    `masked`. The id before position 0 does not matter.
    """

    ids: Tensor
    before: Tensor
    positions: Tensor
    places: Tensor
    first: int
    rows: int
    attending: int
    keys: int
    at: int
    masked: bool = True


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
        self.wte = table_of(model.wte)
        self.wpe = table_of(model.wpe) if model.wpe else None
        self.wbe = table_of(model.wbe) if model.wbe else None
        tables, rows = map(table_of, model.wve), 1 if slots == 1 else PACKED_FOR_ROWS
        self.blocks = [
            _packed(block, next(tables) if config.has_value_embedding(layer) else None, dtype, rows)
            for layer, block in enumerate(model.h)
            if isinstance(block, Block)
        ]
        self.norm, self.head = _norm(model.ln_f), product(model.lm_head, rows=rows)
        self.lines = {block.window: self._lines(block.window) for block in self.blocks}
        self.rotations = torch.complex(model.cos, model.sin) if config.position == "rope" else None
        mixes: list[Tensor] = [
            each.residual_mix for each in model.h if isinstance(each, Block) and each.residual_mix is not None
        ]
        self.shares = torch.stack(mixes)[:, 1, None, None] if mixes else None  # (L, 1, 1)
        self.unsayable = torch.tensor(unsayable or [], dtype=torch.long, device=self.device)

    def forward(self, new: Pass) -> Tensor:
        """The last norm's output (N, C). Call it in inference mode."""
        config, R, A = self.config, new.rows, new.attending
        C, H, D = config.n_embd, config.n_head, config.head_dim
        N = new.ids.size(0)
        T = N // R
        x = self.wte(new.ids)
        if self.wpe:
            x = x + self.wpe(new.positions)
        if self.wbe:
            x = x + self.wbe(self._bigrams(new))
        if config.embedding_norm:
            x = torch.rms_norm(x, (C,))
        starts = None if self.shares is None else (self.shares * x).unbind()
        rotation = None if self.rotations is None else self.rotations.index_select(0, new.positions)[:, None, None]
        rows = self.cache.narrow(2, new.first, A)
        is_one = R == 1  # a copy takes half the time of a scatter
        written = (rows.narrow(4, new.at, T) if is_one else rows).unbind()  # each (2, A, H, P, D), of one row T places
        read = rows.narrow(4, 0, new.keys).flatten(0, 1).unbind()  # keys, values, keys ..; each (A, H, keys, D)
        into = None if is_one else new.places.narrow(0, 0, A * T).view(A, 1, T, 1).expand(2, A, H, T, D)
        of_queries = (A, H, T, D), (T * 3 * C, D, 3 * C, 1)
        of_keys_and_values = (2, A, H, T, D), (C, T * 3 * C, D, 3 * C, 1), C
        padded = torch.zeros(N, C, device=self.device) if A < R else None
        masks = {window: self._seen(window, new) for window in self.lines}
        for layer, block in enumerate(self.blocks):
            if block.residual is not None and starts:
                x = torch.addcmul(starts[layer], x, block.residual)
            qkv = block.qkv(block.norm_1(x))  # (N, 3 C)
            if config.qk_norm or rotation is not None:
                qk = qkv.as_strided((N, 2, H, D), (3 * C, C, D, 1))
                if config.qk_norm:
                    qk.copy_(torch.rms_norm(qk, (D,)))
                if rotation is not None:  # as `attention.rotate`, in place
                    torch.view_as_complex(qk.unflatten(-1, (-1, 2))).mul_(rotation)
            if block.values:
                own, table = block.value_mix
                qkv.narrow(1, 2 * C, C).mul_(own).add_(block.values(new.ids), alpha=table)
            kv, q = qkv.as_strided(*of_keys_and_values), qkv.as_strided(*of_queries)
            if into is None:
                written[layer].copy_(kv)
            else:
                written[layer].scatter_(3, into, kv)
            y = F.scaled_dot_product_attention(
                q, read[2 * layer], read[2 * layer + 1], attn_mask=masks[block.window], scale=block.scale
            )
            y = (y if T == 1 else y.transpose(1, 2)).reshape(A * T, C)
            if padded is not None:
                padded.narrow(0, 0, A).copy_(y)
            x = block.project(x, y if padded is None else padded)
            x = block.narrow(x, block.widen(block.norm_2(x)))
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """(N, V) in float32, -inf for ids that cannot be said."""
        logits = self.head(hidden)
        if self.config.logit_softcap:
            logits = logits.div_(self.config.logit_softcap).tanh_().mul_(self.config.logit_softcap)
        return logits.index_fill_(-1, self.unsayable, -math.inf) if len(self.unsayable) else logits

    def clear(self, slot: int) -> None:
        """Make a slot usable again that holds NaN."""
        self.cache[:, :, slot] = 0

    def _bigrams(self, new: Pass) -> Tensor:
        pairs = torch.stack((new.before, new.ids), dim=1)
        return self.model.bigrams(pairs, new.positions[:, None])[:, 1]

    def _lines(self, window: int) -> Tensor:
        """Masks: row `P - 1 - p` has 0 where a query at position p sees a key, else -inf. Rows share 2 P numbers."""
        P = self.places
        line = torch.full((2 * P,), -math.inf, device=self.device)
        line[P - window if 0 < window < P else 0 : P] = 0
        return line.as_strided((P, P), (1, 1))

    def _seen(self, window: int, new: Pass) -> Tensor | None:
        """(A, 1, T, keys); None where all see all."""
        if not (new.masked or window):
            return None
        rows = self.lines[window].narrow(1, 0, new.keys).index_select(0, self.places - 1 - new.positions)
        return rows.view(new.rows, 1, -1, new.keys).narrow(0, 0, new.attending)


def _packed(block: Block, values: Layer | None, dtype: torch.dtype, rows: int) -> _Block:
    attention, mlp, mix = block.attn, block.mlp, block.residual_mix
    return _Block(
        norm_1=_norm(block.ln_1),
        qkv=product(attention.c_attn, dtype, rows),
        project=added_product(attention.c_proj, dtype, rows),
        norm_2=_norm(block.ln_2),
        widen=product_then(mlp.config.activation, mlp.c_fc, dtype, rows),
        narrow=added_product(mlp.c_proj, dtype, rows),
        window=attention.window,
        scale=attention.scale,
        residual=None if mix is None else mix.detach()[0],
        values=values,
        value_mix=_pair(attention.value_mix) if values else (1.0, 0.0),
    )


def _norm(module: Norm) -> Layer:
    weight, bias = module.weight, module.bias
    if weight is None:
        return lambda x: torch.rms_norm(x, x.shape[-1:])
    shape = weight.shape
    return lambda x: torch.native_layer_norm(x, shape, weight, bias, 1e-5)[0]


def _pair(mix: Tensor) -> tuple[float, float]:
    first, second = mix.tolist()
    return first, second
