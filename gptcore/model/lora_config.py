"""The section `lora` of params.yaml: train an adapter of a model instead of the model. Imports no torch."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from gptcore.config.params import Section
from gptcore.errors import UserError
from gptcore.model.config import ModelConfig

Target = Literal["q", "k", "v", "proj", "mlp"]
Base = Literal["float32", "nf4"]
# The matrices of a block, and the target that each equal part of its rows belongs to
MATRICES: Final[dict[str, tuple[Target, ...]]] = {
    "attn.c_attn": ("q", "k", "v"), "attn.c_proj": ("proj",), "mlp.c_fc": ("mlp",), "mlp.c_proj": ("mlp",),
}  # fmt: skip


class LoraConfig(Section):
    rank: int = Field(
        ge=0, le=1 << 16, description="Of the product that is added to a matrix; 0 trains all weights, and no adapter"
    )
    alpha: float = Field(gt=0, description="The product is multiplied by alpha / rank")
    dropout: float = Field(ge=0, lt=1, description="Share of the product's inputs dropped in training; 0 is off")
    targets: tuple[Target, ...] = Field(
        min_length=1, description="Matrices: queries, keys, values, attention's output (proj), both of the MLP"
    )
    base: Base = Field(
        description="How the blocks' frozen matrices are held; nf4 takes 4.5 bits a weight and rounds them "
        "(Dettmers et al. 2023)"
    )
    learning_rate: float = Field(gt=0, description="Peak, with AdamW; optim has its betas, eps, clip and schedule")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({*self.targets}) < len(self.targets):
            raise ValueError(f"targets names {', '.join(self.targets)}; name each matrix once")
        if self.base == "nf4" and not self.rank:
            raise ValueError("base nf4 cannot be trained itself: set a rank, or base=float32")
        return self

    def if_any(self) -> Self | None:
        """None where all weights are trained."""
        return self if self.rank else None

    @property
    def ranks(self) -> dict[str, int]:
        """Of the adapter of each matrix that has one: a fused matrix has one for each part."""
        parts = {name: sum(each in self.targets for each in of) for name, of in MATRICES.items()}
        return {name: self.rank * count for name, count in parts.items() if count}

    def require_start(self, start: str) -> None:
        """Raises UserError."""
        if not start:
            raise UserError(
                f"params.yaml: lora.rank {self.rank} trains an adapter of train.start, and there is none: name one, "
                "such as train.start=gpt@champion, or set lora.rank=0 to train all weights"
            )

    def require_fits(self, model: ModelConfig) -> None:
        """Raises UserError."""
        if self.rank > model.n_embd:
            raise UserError(
                f"params.yaml: lora.rank {self.rank} is above model.n_embd {model.n_embd}: a product of that rank has "
                "more weights than the matrix; lower it, or set lora.rank=0 to train the matrix"
            )
