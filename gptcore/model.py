"""The GPT, whole: embeddings, attention, MLP, block, head, loss, FLOPs.

One model, every departure from GPT-2 a field of its own. All off it is GPT-2 (Radford et al. 2019) with GPT-2's names,
so weights map one to one; `conf/architecture/modern.yaml` turns them on, each with its source.

Shapes: B batch, T time, C n_embd, H n_head, D head_dim = C / H, V vocab_size.
"""

import math
from functools import lru_cache
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gptcore.dropout import dropout
from gptcore.loss import linear_cross_entropy
from gptcore.params import Section

QUERY_BLOCK = 128  # of attention on a CPU; shorter ones skip more unseen keys, longer ones multiply faster


class ModelConfig(Section):
    n_layer: int = Field(gt=0, description="Blocks")
    n_head: int = Field(gt=0, description="Attention heads per block")
    n_embd: int = Field(gt=0, description="Width of the residual stream; a multiple of n_head")
    block_size: int = Field(gt=0, description="Longest context, in tokens")
    dropout: float = Field(ge=0, lt=1, description="Share of activations dropped in training; 0 is off")
    bias: bool = Field(description="Biases in linear layers and LayerNorm, as GPT-2 has them")
    norm: Literal["layernorm", "rmsnorm"] = Field(description="rmsnorm has no parameters (Zhang & Sennrich 2019)")
    position: Literal["learned", "rope"] = Field(description="Learned table, or rotary (Su et al. 2021)")
    rope_base: float = Field(gt=1, description="Longest rotary wavelength over 2 pi, in tokens")
    activation: Literal["gelu", "gelu_tanh", "relu2"] = Field(
        description="gelu_tanh is GPT-2's approximation, nanoGPT takes the exact gelu; relu2 is ReLU squared "
        "(So et al. 2021, Primer)"
    )
    qk_norm: bool = Field(description="RMSNorm on queries and keys (Henry et al. 2020)")
    attention_scale: float = Field(
        ge=0, description="Factor on q.k; 0 is 1/sqrt(head_dim). 0.12 suits qk_norm (modded-nanogpt)"
    )
    tied_head: bool = Field(description="Output head shares the token embedding's weights, as in GPT-2")
    zero_init: bool = Field(description="Output projections and head start at zero (modded-nanogpt)")
    embedding_norm: bool = Field(description="Norm right after the embedding (modded-nanogpt)")
    residual_scalars: bool = Field(description="Each block reads a*x + b*x0, both learned (modded-nanogpt)")
    value_embeddings: bool = Field(
        description="Token embeddings mixed into every second block's values (modded-nanogpt)"
    )
    bigram_buckets: int = Field(ge=0, description="Rows of a hashed bigram embedding (modded-nanogpt); 0 is off")
    logit_softcap: float = Field(ge=0, description="Logits pass c*tanh(x/c) (Gemma 2, 2024); 0 is off")
    sliding_window: int = Field(
        ge=0, description="Tokens each query sees in all but every fourth block and the last (Gemma 2, 2024); 0 is all"
    )
    activation_checkpointing: bool = Field(
        description="Recompute each block in the backward pass: less memory, a third more arithmetic (Chen et al. 2016)"
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}")
        if self.position == "rope" and self.head_dim % 2:
            raise ValueError(f"rotary positions need an even head width, n_embd / n_head is {self.head_dim}")
        if self.bigram_buckets == 1:
            raise ValueError("bigram_buckets is 0 (off) or at least 2: bucket 0 is for the first position")
        return self

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head

    def has_value_embedding(self, layer: int) -> bool:
        return self.value_embeddings and layer % 2 == 1

    def window(self, layer: int) -> int:
        """Tokens that a query of block `layer` sees; 0 is all."""
        sees_all = layer % 4 == 3 or layer == self.n_layer - 1
        return 0 if sees_all else self.sliding_window


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on x (B, T, .., D), pair by pair; cos, sin (T, .., D/2). Su et al. 2021, RoFormer."""
    pairs = x.unflatten(-1, (-1, 2))
    if x.device.type == "cpu":  # one pass; compilers for GPUs cannot take complex numbers apart
        rotated: Tensor = torch.view_as_real(torch.view_as_complex(pairs.float()) * torch.complex(cos, sin))
    else:
        first, second = pairs.unbind(-1)
        rotated = torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return rotated.flatten(-2)


def normalize(x: Tensor) -> Tensor:
    """RMSNorm without parameters over the last dimension; float32 out (Zhang & Sennrich 2019)."""
    if x.device.type == "cpu":
        normalized: Tensor = _Normalize.apply(x)  # type: ignore[no-untyped-call]
        return normalized
    return F.rms_norm(x.float(), (x.size(-1),))


class _Normalize(torch.autograd.Function):
    """RMSNorm in four passes and its gradient in four: torch has no kernel of its own for CPUs and takes twice that."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
        scale = square.div_(x.size(-1)).add_(torch.finfo(torch.float32).eps).sqrt_()
        y: Tensor = x / scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        y, scale = ctx.saved_tensors
        along = (gradients[0] * y).mean(-1, keepdim=True)
        return torch.addcmul(gradients[0], y, along, value=-1).div_(scale)


def attend(q: Tensor, k: Tensor, v: Tensor, rate: float, scale: float, window: int) -> Tensor:
    """Causal attention of q, k, v (B, H, T, D), each query to the last `window` positions (0: to all).

    `rate` is that of dropout on the weights of the positions.
    """
    if q.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return _attend_in_blocks(q, k, v, rate, scale, window)
    if not window or window >= q.size(2):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True, scale=scale)
    bias = _causal_bias(0, q.size(2), 0, q.size(2), window, q.dtype, q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=rate, scale=scale)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, rate: float, scale: float, window: int) -> Tensor:
    """The same in bfloat16 matrix products, a block of queries at a time, without the keys that none of it sees.

    Torch's own CPU kernel computes in float32 and its backward pass takes two to three times as long.
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
    """What is added to the scores of queries first..last against keys start..end: 0, or -inf where unseen."""
    ahead = torch.arange(first, last, device=device)[:, None] - torch.arange(start, end, device=device)
    seen = (ahead >= 0) & (ahead < window) if window else ahead >= 0
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, -math.inf)


class Norm(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        if config.norm == "layernorm":
            self.weight = nn.Parameter(torch.ones(config.n_embd))
            self.bias = nn.Parameter(torch.zeros(config.n_embd)) if config.bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return normalize(x)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


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
        # queries and keys go together as far as they can
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


class MLP(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        if self.config.activation == "relu2":
            x = F.relu(x).square()
        else:
            x = F.gelu(x, approximate="tanh" if self.config.activation == "gelu_tanh" else "none")
        return dropout(self.c_proj(x), self.config.dropout if self.training else 0.0)


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.ln_1 = Norm(config)
        self.attn = Attention(config, layer)
        self.ln_2 = Norm(config)
        self.mlp = MLP(config)
        if config.residual_scalars:
            self.residual_mix = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(
        self, x: Tensor, x0: Tensor, rotary: tuple[Tensor, Tensor] | None, value_embedding: Tensor | None
    ) -> Tensor:
        if hasattr(self, "residual_mix"):
            x = self.residual_mix[0] * x + self.residual_mix[1] * x0
        x = x + self.attn(self.ln_1(x), rotary, value_embedding)
        output: Tensor = x + self.mlp(self.ln_2(x))
        return output


class GPT(nn.Module):
    """`GPT(config, vocab_size)(ids)` gives logits (B, T, V); with targets it gives the mean loss in nats."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig, vocab_size: int, seed: int = 0) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.wte = nn.Embedding(vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd) if config.position == "learned" else None
        self.wbe = nn.Embedding(config.bigram_buckets, config.n_embd) if config.bigram_buckets else None
        self.wve = nn.ModuleList(
            nn.Embedding(vocab_size, config.n_embd)
            for layer in range(config.n_layer)
            if config.has_value_embedding(layer)
        )
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = Norm(config)
        self.lm_head = nn.Linear(config.n_embd, vocab_size, bias=False)
        if config.position == "rope":
            frequency = config.rope_base ** -(torch.arange(0, config.head_dim, 2) / config.head_dim)
            angle = torch.outer(torch.arange(config.block_size), frequency)
            self.register_buffer("cos", angle.cos(), persistent=False)
            self.register_buffer("sin", angle.sin(), persistent=False)
        self._initialize(torch.Generator().manual_seed(seed))
        if config.tied_head:
            self.lm_head.weight = self.wte.weight

    @torch.no_grad()
    def _initialize(self, generator: torch.Generator) -> None:
        """GPT-2: normal 0.02, residual projections smaller by sqrt(2 n_layer). zero_init: as in modded-nanogpt."""
        zero_init = self.config.zero_init
        for name, parameter in self.named_parameters():
            if name.endswith("_mix") or ".ln_" in name or name.startswith("ln_f"):
                continue
            if name.endswith("bias") or (
                zero_init and (name.endswith("c_proj.weight") or name in ("lm_head.weight", "wbe.weight"))
            ):
                parameter.zero_()
            elif zero_init and name.startswith(("wte", "wve")):
                parameter.normal_(0.0, 1.0, generator=generator)
            elif zero_init and parameter.dim() == 2 and name.startswith("h."):
                bound = math.sqrt(3 / parameter.size(1))  # uniform of variance 1 / fan_in
                parameter.uniform_(-bound, bound, generator=generator)
            else:
                residual = name.endswith("c_proj.weight")
                scale = 0.02 / math.sqrt(2 * self.config.n_layer) if residual else 0.02
                parameter.normal_(0.0, scale, generator=generator)

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        """ids, targets (B, T) int64; T at most block_size."""
        T = ids.size(1)
        x = self.wte(ids)  # (B, T, C)
        if self.wpe is not None:
            x = x + self.wpe.weight[:T]
        if self.wbe is not None:
            x = x + self.wbe(self._bigrams(ids))
        x = normalize(x) if self.config.embedding_norm else x
        x = x0 = dropout(x, self.config.dropout if self.training else 0.0)
        rotary = (self.cos[:T, None, None], self.sin[:T, None, None]) if self.config.position == "rope" else None
        tables = iter(self.wve)
        for layer, block in enumerate(self.h):
            value_embedding = next(tables)(ids) if self.config.has_value_embedding(layer) else None
            if self.config.activation_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, x0, rotary, value_embedding, use_reentrant=False)
            else:
                x = block(x, x0, rotary, value_embedding)
        x = self.ln_f(x)
        if targets is not None:
            return linear_cross_entropy(
                x.flatten(0, 1), self.lm_head.weight, targets.flatten(), self.config.logit_softcap
            )
        logits: Tensor = self.lm_head(x).float()  # (B, T, V)
        if self.config.logit_softcap:
            logits = self.config.logit_softcap * torch.tanh(logits / self.config.logit_softcap)
        return logits

    def compile_blocks(self) -> None:
        """Have torch compile each block; in place, so no parameter's name changes."""
        for block in self.h:
            block.compile(dynamic=False)

    def _bigrams(self, ids: Tensor) -> Tensor:
        """A bucket for each (previous id, id); the first position has no previous and takes bucket 0."""
        buckets = self.config.bigram_buckets
        pairs = ((ids[:, :-1] * 36313) ^ (ids[:, 1:] * 27191)) % (buckets - 1) + 1
        return F.pad(pairs, (1, 0))

    @torch.inference_mode()
    def sample(
        self, prompt_ids: list[int], n_tokens: int, temperature: float, top_k: int, seed: int, stop_id: int = -1
    ) -> list[int]:
        """The ids that follow `prompt_ids`, at most `n_tokens`, `stop_id` ends them. top_k 0 is all of V."""
        device, training = self.wte.weight.device, self.training
        self.eval()
        generator = torch.Generator().manual_seed(seed)
        ids = list(prompt_ids)
        for _ in range(n_tokens):
            context = torch.tensor([ids[-self.config.block_size :]], device=device)
            logits = self(context)[0, -1].cpu()
            if temperature == 0:
                choice = int(logits.argmax())
            else:
                if top_k:
                    logits[logits < logits.topk(min(top_k, self.vocab_size)).values[-1]] = -math.inf
                choice = int(torch.multinomial((logits / temperature).softmax(0), 1, generator=generator))
            if choice == stop_id:
                break
            ids.append(choice)
        self.train(training)
        return ids[len(prompt_ids) :]

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def flops_per_token(self) -> int:
        """Forward and backward: 6 per matrix weight, and 12 C T a block for attention (PaLM, 2022, appendix B).

        A sliding window counts as T all the same, and so does what causality leaves out: the convention of the field.
        """
        blocks = sum(
            parameter.numel() for name, parameter in self.named_parameters() if "h." in name and parameter.dim() == 2
        )
        matrices = blocks + self.lm_head.weight.numel()
        return 6 * matrices + 12 * self.config.n_layer * self.config.n_embd * self.config.block_size
