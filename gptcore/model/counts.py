"""Parameters and FLOPs of a model as formulas of its fields, without torch: `gptcore configure` prints them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from gptcore.model.config import ModelConfig
from gptcore.model.lora_config import MATRICES

# (inputs, outputs) of a block's matrices in widths, in the order in which a block takes them
SHAPES: Final = {"attn.c_attn": (1, 3), "attn.c_proj": (1, 1), "mlp.c_fc": (1, 4), "mlp.c_proj": (4, 1)}


@dataclass(frozen=True)
class Counts:
    embeddings: int  # parameters in tables (tokens, positions, bigrams, values) and in the head, tied or not
    blocks: int  # in all the rest: the blocks, and the last norm
    trained: int  # all of these, or those of an adapter instead
    flops_per_token: int  # forward and backward

    @property
    def parameters(self) -> int:
        return self.embeddings + self.blocks


def counts(config: ModelConfig, vocab_size: int, ranks: Mapping[str, int] | None = None) -> Counts:
    """FLOPs are 6 per matrix weight, and 12 C T per block for attention (PaLM, 2022, appendix B).

    By convention T counts in full, whatever a sliding window or the causal mask leaves out. `ranks` are those of the
    adapter that is trained instead of the model, of each adapted matrix of a block (see LoraConfig.ranks): frozen
    weights have 4 FLOPs, as they need no gradient, and what comes before the first adapter has no backward pass.
    """
    width, layers = config.n_embd, config.n_layer
    value_tables = sum(map(config.has_value_embedding, range(layers)))
    rows = vocab_size * (1 if config.tied_head else 2) + config.bigram_buckets + vocab_size * value_tables
    rows += config.block_size if config.position == "learned" else 0
    matrices = sum(inputs * outputs for inputs, outputs in SHAPES.values()) * width**2 * layers
    norm = width * (1 + config.bias) if config.norm == "layernorm" else 0
    biases = 9 * width if config.bias else 0  # 3 + 1 + 4 + 1
    scalars = 2 * value_tables + (2 * layers if config.residual_scalars else 0)
    embeddings, blocks = rows * width, matrices + (2 * norm + biases) * layers + norm + scalars
    weights, attention = matrices + vocab_size * width, 4 * width * config.block_size
    if ranks is None:
        return Counts(embeddings, blocks, embeddings + blocks, 6 * weights + 3 * attention * layers)
    trained = computed = 0
    for name, rank in ranks.items():
        inputs, outputs = (width * each for each in SHAPES[name])
        trained += layers * rank * (inputs + outputs // len(MATRICES[name]))
        computed += layers * rank * (inputs + outputs)  # zeros fill up the factor of a fused matrix
    flops = 4 * weights + 6 * computed + 3 * attention * layers - _without_backward(ranks, width, attention)
    return Counts(embeddings, blocks, trained, flops)


def _without_backward(ranks: Mapping[str, int], width: int, attention: int) -> int:
    """FLOPs that the first block saves: nothing needs the gradient of what its first adapted matrix reads."""
    before = [*takewhile(lambda name: name not in ranks, SHAPES)]
    first = [*SHAPES][len(before)]
    saved = sum(SHAPES[name][0] * SHAPES[name][1] for name in (*before, first)) * width**2
    saved += ranks[first] * SHAPES[first][0] * width
    return 2 * saved + (2 * attention if before else 0)
