"""The model configuration: every departure from GPT-2 is a separate field."""

from typing import Literal, Self

from pydantic import Field, model_validator

from gptcore.config.params import Section

LONGEST_BLOCK = 1 << 20  # tokens
OF_TRAINING = ("dropout", "activation_checkpointing")  # the fields that do not change what the weights mean


class ModelConfig(Section):
    n_layer: int = Field(gt=0, le=1024, description="Blocks")
    n_head: int = Field(gt=0, le=1024, description="Attention heads per block")
    n_embd: int = Field(gt=0, le=1 << 16, description="Width of the residual stream; a multiple of n_head")
    block_size: int = Field(gt=0, le=LONGEST_BLOCK, description="Longest context, in tokens")
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
    bigram_buckets: int = Field(
        ge=0, le=1 << 24, description="Rows of a hashed bigram embedding (modded-nanogpt); 0 is off"
    )
    logit_softcap: float = Field(ge=0, description="Logits pass c*tanh(x/c) (Gemma 2, 2024); 0 is off")
    sliding_window: int = Field(
        ge=0,
        le=LONGEST_BLOCK,
        description="Tokens each query sees in all but every fourth block and the last (Gemma 2, 2024); 0 is all",
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

    def contradictions(self, start: Self) -> list[str]:
        """The fields in which a model with the weights of `start` must agree with it, and does not."""
        fields = [name for name in type(self).model_fields if name not in OF_TRAINING]
        return [
            f"model.{name} is {getattr(self, name)} and the start's {getattr(start, name)}"
            for name in fields
            if getattr(self, name) != getattr(start, name)
        ]

    def has_value_embedding(self, layer: int) -> bool:
        return self.value_embeddings and layer % 2 == 1

    def window(self, layer: int) -> int:
        """Tokens that a query of block `layer` sees; 0 is all."""
        sees_all = layer % 4 == 3 or layer == self.n_layer - 1
        return 0 if sees_all else self.sliding_window
