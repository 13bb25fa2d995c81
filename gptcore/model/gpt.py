"""The GPT: embeddings, MLP, block, head, loss, FLOPs. Attention is in attention.py, the fields in config.py.

Every departure from GPT-2 is a separate field. With all of them off the model is GPT-2 (Radford et al. 2019) with
GPT-2's parameter names, so weights map one to one; `conf/architecture/modern.yaml` turns them on and cites sources.

Shapes: B batch, T time, C n_embd, H n_head, D head_dim = C / H, V vocab_size.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gptcore.model.activation import relu_squared
from gptcore.model.attention import FLEX_HEAD_DIM, Attention, Mask, apart_mask, window_mask
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts
from gptcore.model.dropout import dropout
from gptcore.model.layers import Embedding, Linear
from gptcore.model.loss import Kernel, in_one_kernel, in_slices, linear_cross_entropy
from gptcore.model.norm import Norm, normalize

RECOMPILE_LIMIT = 64


class MLP(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        if self.config.activation == "relu2":
            x = relu_squared(x)
        else:
            x = F.gelu(x, approximate="tanh" if self.config.activation == "gelu_tanh" else "none")
        return dropout(self.c_proj(x), self.config.dropout if self.training else 0.0)


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.recomputes = config.activation_checkpointing
        self.ln_1 = Norm(config)
        self.attn = Attention(config, layer)
        self.ln_2 = Norm(config)
        self.mlp = MLP(config)
        self.residual_mix = nn.Parameter(torch.tensor([1.0, 0.0])) if config.residual_scalars else None

    def forward(self, *inputs: Mask | tuple[Tensor, Tensor]) -> Tensor:
        """Arguments as for `_output`."""
        if self.recomputes and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(self._output, *inputs, use_reentrant=False)
            return recomputed
        return self._output(*inputs)  # type: ignore[arg-type]

    def _output(
        self,
        x: Tensor,
        x0: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        mask: Mask,
        value_embedding: Tensor | None,
    ) -> Tensor:
        if self.residual_mix is not None:
            x = self.residual_mix[0] * x + self.residual_mix[1] * x0
        x = x + self.attn(self.ln_1(x), rotary, mask, value_embedding)
        output: Tensor = x + self.mlp(self.ln_2(x))
        return output


class GPT(nn.Module):
    """`GPT(config, vocab_size)(ids)` returns logits (B, T, V); with targets it returns the mean loss in nats.

    With the seed None its weights are undefined, until `fill` or `load_state_dict` defines them.
    """

    cos: Tensor
    sin: Tensor
    loss_kernel: Kernel

    def __init__(self, config: ModelConfig, vocab_size: int, seed: int | None = 0) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.compiled, self.loss_kernel = False, in_slices
        self.wte = Embedding(vocab_size, config.n_embd)
        self.wpe = Embedding(config.block_size, config.n_embd) if config.position == "learned" else None
        self.wbe = Embedding(config.bigram_buckets, config.n_embd) if config.bigram_buckets else None
        self.wve = nn.ModuleList(
            Embedding(vocab_size, config.n_embd) for layer in range(config.n_layer) if config.has_value_embedding(layer)
        )
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = Norm(config)
        self.lm_head = Linear(config.n_embd, vocab_size, bias=False)
        if config.position == "rope":
            frequency = config.rope_base ** -(torch.arange(0, config.head_dim, 2) / config.head_dim)
            angle = torch.outer(torch.arange(config.block_size), frequency)
            self.register_buffer("cos", angle.cos(), persistent=False)
            self.register_buffer("sin", angle.sin(), persistent=False)
        if seed is not None:
            self._initialize(torch.Generator().manual_seed(seed))
        if config.tied_head:
            self.lm_head.weight = self.wte.weight

    @torch.no_grad()
    def _initialize(self, generator: torch.Generator) -> None:
        """GPT-2: normal 0.02, residual projections divided by sqrt(2 n_layer). zero_init: as in modded-nanogpt.

        An embedding that is the head too starts at 0.02, so that the first logits are small.
        """
        zero_init = self.config.zero_init
        for name, parameter in self.named_parameters():
            if name.endswith("_mix") or ".ln_" in name or name.startswith("ln_f"):
                continue
            if name.endswith("bias") or (
                zero_init and (name.endswith("c_proj.weight") or name in ("lm_head.weight", "wbe.weight"))
            ):
                parameter.zero_()
            elif zero_init and name.startswith("wve" if self.config.tied_head else ("wte", "wve")):
                parameter.normal_(0.0, 1.0, generator=generator)
            elif zero_init and parameter.dim() == 2 and name.startswith("h."):
                bound = math.sqrt(3 / parameter.size(1))  # uniform of variance 1 / fan_in
                parameter.uniform_(-bound, bound, generator=generator)
            else:
                residual = name.endswith("c_proj.weight")
                scale = 0.02 / math.sqrt(2 * self.config.n_layer) if residual else 0.02
                parameter.normal_(0.0, scale, generator=generator)

    def forward(self, ids: Tensor, targets: Tensor | None = None, starts: Tensor | None = None) -> Tensor:
        """ids, targets (B, T) int64; T at most block_size.

        `starts` (B, T): where in its row the record of each position starts. Each record is then computed as if it were
        alone, and the loss is the mean over the targets that are not negative.
        """
        T = ids.size(1)
        positions = None if starts is None else torch.arange(T, device=ids.device) - starts  # (B, T)
        x = self.wte(ids)  # (B, T, C)
        if self.wpe is not None:
            x = x + (self.wpe.weight[:T] if positions is None else self.wpe(positions))
        if self.wbe is not None:
            x = x + self.wbe(self.bigrams(ids, positions))
        x = normalize(x) if self.config.embedding_norm else x
        x = x.to(_residual_dtype(x))
        x = x0 = dropout(x, self.config.dropout if self.training else 0.0)
        rotary = self._rotary(T, positions) if self.config.position == "rope" else None
        masks = {window: self._mask(T, window, ids.device, starts) for window in {0, self.config.sliding_window}}
        tables = iter(self.wve)
        for layer, block in enumerate(self.h):
            value_embedding = next(tables)(ids) if self.config.has_value_embedding(layer) else None
            x = block(x, x0, rotary, masks[self.config.window(layer)], value_embedding)
        x = self.ln_f(x)
        if targets is not None:
            return linear_cross_entropy(
                x.flatten(0, 1), self.lm_head.weight, targets.flatten(), self.config.logit_softcap, self.loss_kernel,
                counts_all=starts is None,
            )  # fmt: skip
        logits: Tensor = self.lm_head(x).float()  # (B, T, V)
        if self.config.logit_softcap:
            logits = self.config.logit_softcap * torch.tanh(logits / self.config.logit_softcap)
        return logits

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Compile each block's forward and the loss with torch, in place, so that parameter names do not change."""
        import torch._dynamo  # takes a second

        # Past its limit, torch warns and stops compiling. Blocks are of five kinds, micro-batches of a few sizes.
        torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
        # DDP exchanges gradients between blocks as it is: torch need not split their graphs for that
        torch._dynamo.config.optimize_ddp = False
        for block in self.h:
            block.forward = torch.compile(block.forward, dynamic=False, backend=backend)
        self.loss_kernel = torch.compile(in_one_kernel, dynamic=False, fullgraph=True, backend=backend)
        self.compiled = True

    def _rotary(self, T: int, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        """The tables' rows for T positions, or for `positions` (B, T)."""
        rows = slice(T) if positions is None else positions
        return self.cos[rows, ..., None, None, :], self.sin[rows, ..., None, None, :]

    def _mask(self, T: int, window: int, device: torch.device, starts: Tensor | None) -> Mask:
        flex = self._takes_flex_attention(device)
        if starts is not None:  # a BlockMask for each batch pays where blocks run compiled, which is in training
            return apart_mask(starts, window, flex and self.training)
        return window_mask(T, window, device, flex)

    def _takes_flex_attention(self, device: torch.device) -> bool:
        drops = self.training and self.config.dropout > 0
        return self.compiled and device.type == "cuda" and self.config.head_dim >= FLEX_HEAD_DIM and not drops

    def bigrams(self, ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """Hash each (previous id, id) into a bucket; the first position, also of a record within a row, has no previous
        id and uses bucket 0.
        """
        found = F.pad(bigram(ids[:, :-1], ids[:, 1:], self.config.bigram_buckets), (1, 0))
        return found if positions is None else found.masked_fill(positions == 0, 0)

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def flops_per_token(self) -> int:
        """Forward and backward, where all weights are trained."""
        return counts(self.config, self.vocab_size).flops_per_token


def bigram(previous: Tensor, ids: Tensor, buckets: int) -> Tensor:
    """The bucket of each id with the one before it, from 1 on."""
    return ((previous * 36313) ^ (ids * 27191)) % (buckets - 1) + 1


def _residual_dtype(x: Tensor) -> torch.dtype:
    """bfloat16 where a GPU computes in it: each block reads and writes the residual stream several times."""
    bfloat16 = x.is_cuda and torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") == torch.bfloat16
    return torch.bfloat16 if bfloat16 else x.dtype
