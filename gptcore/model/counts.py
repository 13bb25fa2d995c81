"""Parameters and FLOPs of a model as formulas of its fields, without torch: `gptcore configure` prints them."""

from dataclasses import dataclass

from gptcore.model.config import ModelConfig


@dataclass(frozen=True)
class Counts:
    embeddings: int  # parameters in tables (tokens, positions, bigrams, values) and in the head, tied or not
    blocks: int  # in all the rest: the blocks, and the last norm
    flops_per_token: int  # forward and backward

    @property
    def parameters(self) -> int:
        return self.embeddings + self.blocks


def counts(config: ModelConfig, vocab_size: int) -> Counts:
    """FLOPs are 6 per matrix weight, and 12 C T per block for attention (PaLM, 2022, appendix B).

    By convention T counts in full, whatever a sliding window or the causal mask leaves out.
    """
    width, layers = config.n_embd, config.n_layer
    value_tables = sum(map(config.has_value_embedding, range(layers)))
    rows = vocab_size * (1 if config.tied_head else 2) + config.bigram_buckets + vocab_size * value_tables
    rows += config.block_size if config.position == "learned" else 0
    matrices = 12 * width**2 * layers  # 3 + 1 in attention, 4 + 4 in the MLP
    norm = width * (1 + config.bias) if config.norm == "layernorm" else 0
    biases = 9 * width if config.bias else 0  # 3 + 1 + 4 + 1
    scalars = 2 * value_tables + (2 * layers if config.residual_scalars else 0)
    return Counts(
        embeddings=rows * width,
        blocks=matrices + (2 * norm + biases) * layers + norm + scalars,
        flops_per_token=6 * (matrices + vocab_size * width) + 12 * layers * width * config.block_size,
    )
