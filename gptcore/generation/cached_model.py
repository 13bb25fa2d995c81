"""The model's forward pass with a cache of keys and values, held against `GPT.forward` by its tests.

A small model's step takes the time of its calls, so there are few: rows are flat, and the queries, keys and values of
all layers lie in one tensor, whose views serve all passes of the same shape.

Shapes: S slots, R rows of a pass, A of them that attend, T new ids of each row, N = R T, P places of the cache,
C n_embd, H n_head, D head_dim, V vocab_size.
"""

import logging
import math
import subprocess
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gptcore.generation.linear import (
    PACKED_FOR_ROWS,
    Layer,
    added_product,
    bias_of,
    product,
    product_into,
    product_then,
    table_of,
)
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT, Block, bigram
from gptcore.model.norm import Norm

log = logging.getLogger(__name__)
PLACES = 32  # attention reads a multiple of so many keys: masked ones at the end then change no bit of the result


@dataclass(frozen=True)
class _Block:
    norm_1: Layer
    qkv: Callable[[Tensor, Tensor], object]
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
    """New ids (N,) of rows `first` to `first + rows`, `length` of each, with the ids before them and their positions.

    Of single ids, only the first `attending` rows are of use: the others are there for the shape of the matrices.

    Keys and values go to `places`, counted over all slots: place p of slot s is s P + p. Each query sees its row's keys
    up to its own position, and `keys` of them are read: those up to the last position, unless more are `masked`. The id
    before position 0 does not matter.
    """

    ids: Tensor
    before: Tensor
    positions: Tensor
    places: Tensor
    first: int
    rows: int
    length: int
    attending: int
    keys: int
    masked: bool = True


class Views(NamedTuple):
    """Of the memory that a pass writes to; passes of one shape share them. Those in tuples: one for each layer."""

    products: tuple[Tensor, ...]  # (N, 3 C): those of one layer
    values: tuple[Tensor, ...]  # (N, C)
    queries: tuple[Tensor, ...]  # (A, H, T, D)
    kept: tuple[Tensor, ...]  # (2, H, N, D): the new keys and values
    heads: tuple[Tensor, ...]  # (N, 2, H, D): queries and keys
    pairs: tuple[Tensor, ...]  # (N, 2, H, D / 2): the same in complex numbers
    written: tuple[Tensor, ...]  # (2, H, S P, D): the cache of a layer
    read: Tensor  # (2 L, S, H, P, D): the cache; keys, values, keys of the next ..
    padded: Tensor  # (N, C): what attention gives, and zeros for the rows that do not attend


class CachedModel:
    """Takes the weights as they are now; a model that trains on needs a new one."""

    @torch.inference_mode()
    def __init__(
        self, model: GPT, slots: int, unsayable: list[int] | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        """`unsayable` are ids whose logits become -inf. Blocks multiply in `dtype`; the head does not."""
        config = model.config
        self.config, self.slots, self.model = config, slots, model
        self.device, self.dtype = model.wte.weight.device, dtype
        self.places = -(-config.block_size // PLACES) * PLACES + 1  # nothing looks into the last
        self.attend = _one_query(self.device) if self.device.type == "cuda" else None
        self._make_cache()
        self.wte = table_of(model.wte)
        self.wpe = table_of(model.wpe) if model.wpe else None
        self.wbe = table_of(model.wbe) if model.wbe else None
        self.rms_norm = _rms_norm(config.n_embd, self.device)
        self.root_of_head = root_mean_square(config.head_dim, self.device)
        tables, rows = map(table_of, model.wve), 1 if slots == 1 else PACKED_FOR_ROWS
        self.blocks = [
            _packed(block, self.rms_norm, next(tables) if config.has_value_embedding(layer) else None, dtype, rows)
            for layer, block in enumerate(model.h)
            if isinstance(block, Block)
        ]
        self.norm, self.head = _norm(model.ln_f, self.rms_norm), product(model.lm_head, rows=rows)
        self.lines = {block.window: self._lines(block.window) for block in self.blocks}
        self.rotations = torch.complex(model.cos, model.sin) if config.position == "rope" else None
        mixes: list[Tensor] = [
            each.residual_mix for each in model.h if isinstance(each, Block) and each.residual_mix is not None
        ]
        self.shares = torch.stack(mixes)[:, 1, None, None] if mixes else None  # (L, 1, 1)
        self.unsayable = torch.tensor(unsayable, device=self.device) if unsayable else None

    def sibling(self) -> "CachedModel":
        """Another with the same packed weights and a cache of its own."""
        made = copy(self)
        made._make_cache()
        return made

    @torch.inference_mode()
    def _make_cache(self) -> None:
        config, device = self.config, self.device
        shape = (config.n_layer, 2, config.n_head, self.slots, self.places, config.head_dim)
        # zeros, as what is masked is multiplied by 0, and 0 x NaN is not 0; numpy's take no memory until written to
        on_cpu = device.type == "cpu"
        self.cache = torch.from_numpy(np.zeros(shape, np.float32)) if on_cpu else torch.zeros(shape, device=device)
        # of the last two shapes, as prompts and steps take turns
        self.views = lru_cache(maxsize=2)(partial(_views, config, self.cache))

    def forward(self, new: Pass, views: Views | None = None) -> Tensor:
        """The last norm's output (N, C). Call it in inference mode. `views` are those of the shape, if at hand."""
        config, R, T, A = self.config, new.rows, new.length, new.attending
        N, C = R * T, config.n_embd
        x = self.wte(new.ids)
        if self.wpe:
            x = x + self.wpe(new.positions)
        if self.wbe:
            x = x + self.wbe(self._bigrams(new))
        if config.embedding_norm:
            x = self.rms_norm(x)
        starts = None if self.shares is None else (self.shares * x).unbind()
        rotation = None if self.rotations is None else self.rotations.index_select(0, new.positions)[:, None, None]
        views = views or self.views(N, R, A)
        read = views.read.narrow(1, new.first, A).narrow(3, 0, new.keys).unbind()  # (A, H, keys, D)
        attend = self.attend if T == 1 else None
        masks = {} if attend else {window: self._seen(window, new) for window in self.lines}
        for layer, block in enumerate(self.blocks):
            if block.residual is not None and starts:
                x = torch.addcmul(starts[layer], x, block.residual)
            block.qkv(block.norm_1(x), views.products[layer])
            if config.qk_norm:
                heads = views.heads[layer]
                heads.div_(self.root_of_head(heads))
            if rotation is not None:
                views.pairs[layer].mul_(rotation)  # as `attention.rotate`
            if block.values:
                own, table = block.value_mix
                views.values[layer].mul_(own).add_(block.values(new.ids), alpha=table)
            views.written[layer].index_copy_(2, new.places, views.kept[layer])
            keys, values = read[2 * layer : 2 * layer + 2]
            queries = views.queries[layer]
            if attend:
                y = attend(queries, keys, values, new.positions, block.scale, block.window)
            else:
                mask = masks[block.window]
                y = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=block.scale)
                y = (y if T == 1 else y.transpose(1, 2)).reshape(-1, C)
            if A < R:
                views.padded.narrow(0, 0, A).copy_(y)
                y = views.padded
            x = block.project(x, y)
            x = block.narrow(x, block.widen(block.norm_2(x)))
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """(N, V) in float32, -inf for ids that cannot be said."""
        logits = self.head(hidden)
        if self.config.logit_softcap:
            logits = logits.div_(self.config.logit_softcap).tanh_().mul_(self.config.logit_softcap)
        return logits if self.unsayable is None else logits.index_fill_(-1, self.unsayable, -math.inf)

    def next_logits(self, new: Pass) -> Tensor:
        return self.logits(self.forward(new))

    def clear(self, slot: int) -> None:
        """Make a slot usable again that holds NaN."""
        self.cache[:, :, :, slot] = 0

    def _bigrams(self, new: Pass) -> Tensor:
        found = bigram(new.before, new.ids, self.config.bigram_buckets)
        return found.masked_fill_(new.positions == 0, 0)

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


def _one_query(device: torch.device) -> Callable[..., Tensor] | None:
    """The kernel of `one_query.py`; None where it cannot be compiled."""
    try:
        from gptcore.generation.one_query import attend

        row = torch.ones(1, 1, 1, 16, device=device)
        attend(row, row, row, torch.zeros(1, dtype=torch.long, device=device), 1.0, 0)
    except (ImportError, RuntimeError, subprocess.CalledProcessError) as error:
        log.warning("generation is slower than it could be, as Triton compiles nothing here: %s", error)
        return None
    return attend


def _views(config: ModelConfig, cache: Tensor, N: int, R: int, A: int) -> Views:
    device, L, C, H, D = cache.device, config.n_layer, config.n_embd, config.n_head, config.head_dim
    T, row = N // R, 3 * C
    products = torch.empty(L, N, row, device=device)
    heads = products.as_strided((L, N, 2, H, D), (N * row, row, C, D, 1))
    return Views(
        products.unbind(),
        products.narrow(2, 2 * C, C).unbind(),
        products.as_strided((L, A, H, T, D), (N * row, T * row, D, row, 1)).unbind(),
        products.as_strided((L, 2, H, N, D), (N * row, C, D, row, 1), C).unbind(),
        heads.unbind(),
        torch.view_as_complex(heads.unflatten(-1, (-1, 2))).unbind() if config.position == "rope" else (),
        cache.flatten(3, 4).unbind(),
        cache.transpose(2, 3).flatten(0, 1),
        torch.zeros(N, C, device=device),
    )


def _packed(block: Block, rms_norm: Layer, values: Layer | None, dtype: torch.dtype, rows: int) -> _Block:
    attention, mlp, mix = block.attn, block.mlp, block.residual_mix
    return _Block(
        norm_1=_norm(block.ln_1, rms_norm),
        qkv=product_into(attention.c_attn, dtype, rows),
        project=added_product(attention.c_proj, dtype, rows),
        norm_2=_norm(block.ln_2, rms_norm),
        widen=product_then(mlp.config.activation, mlp.c_fc, dtype, rows),
        narrow=added_product(mlp.c_proj, dtype, rows),
        window=attention.window,
        scale=attention.scale,
        residual=None if mix is None else mix.detach()[0],
        values=values,
        value_mix=_pair(attention.value_mix) if values else (1.0, 0.0),
    )


def _norm(module: Norm, rms_norm: Layer) -> Layer:
    if module.weight is None:
        return rms_norm
    weight, bias = module.weight.detach(), bias_of(module)
    shape = weight.shape
    return lambda x: torch.native_layer_norm(x, shape, weight, bias, 1e-5)[0]


def _rms_norm(size: int, device: torch.device) -> Layer:
    if device.type == "cuda":
        return lambda x: torch.rms_norm(x, (size,))
    root = root_mean_square(size, device)
    return lambda x: x / root(x)


def root_mean_square(size: int, device: torch.device) -> Layer:
    """What RMSNorm divides by, (.., 1): in three calls, of which `torch.rms_norm` takes eight on a CPU.

    Each rounds a row alike, whatever is beside it; `hypot` would not, as torch has two of them.
    """
    eps = torch.tensor(torch.finfo(torch.float32).eps, device=device)

    def root(x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, 2, -1, True)
        return torch.addcmul(eps, length, length, value=1 / size).sqrt_()

    return root


def _pair(mix: Tensor) -> tuple[float, float]:
    first, second = mix.tolist()
    return first, second
