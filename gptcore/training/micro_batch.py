"""Choose the micro-batch size: as many sequences as fit, and on a CPU no more than it is faster with.

It changes the result only by the order of float sums, and by which elements dropout zeroes.
"""

from collections.abc import Iterable

import torch

from gptcore.errors import UserError
from gptcore.model.attention import floats_per_score
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts
from gptcore.model.lora import trained
from gptcore.ranks import distributed
from gptcore.training import sharding
from gptcore.training.memory import memory_bytes
from gptcore.training.train import TrainState

# Activations kept for the backward pass, in floats per token and block, rounded up from measurements: 32 times the
# width (norms, q, k, v before and after rotation, attention's output, the hidden layer before and after its
# activation), and for each head what attention keeps of the scores of the previous positions. A block that is
# recomputed keeps what it reads: twice the width. The loss needs the same memory for any size.
FLOATS_PER_WIDTH, FLOATS_PER_WIDTH_RECOMPUTED = 32, 2
# A size is not even tried, as each one compiles anew, if by this estimate it needs so many times the memory
HOPELESS = 4
# Tokens per forward pass and thread of a CPU. More need more memory and are no faster: in nanoGPT's Shakespeare model,
# a step takes as long with half as many as with four times as many
TOKENS_PER_THREAD = 2048
BYTES_PER_PARAMETER = 12  # weights, gradients and Muon's moment; AdamW has two
BYTES_PER_FROZEN = 4  # it is read in float32, even where four bits of it stay


def largest_micro_batch(state: TrainState) -> int:
    """Sequences per forward pass that fit into each rank's memory, at most a rank's share and `state.micro_batch`.

    A CUDA GPU tries sizes until one fits. A CPU would swap instead of failing, and Apple's GPUs share its memory, so
    there the size is estimated for half the memory. A GPU with a sharded model estimates too: an out-of-memory error on
    one rank would leave the others waiting. Raises UserError when not even one sequence fits.
    """
    most = min(state.micro_batch, distributed.largest_share(state.batches.batch_size))
    memory, needed = _rank_memory_bytes(state.device), activation_bytes_per_sequence(state)
    if state.device.type != "cuda" or sharding.in_parts(state.model.wte.weight):
        return distributed.least(max(1, min(most, memory // 2 // needed)))
    hopeful = (size for size in halves(most) if size * needed < HOPELESS * memory)
    return distributed.least(first_that_fits(state, hopeful))


def useful_micro_batch(state: TrainState) -> int:
    """Sequences per forward pass, at most `state.micro_batch`, beyond which a device is no faster."""
    if state.device.type != "cpu":
        return state.micro_batch
    useful = TOKENS_PER_THREAD * torch.get_num_threads() // state.batches.block_size
    return distributed.least(max(1, min(state.micro_batch, useful)))


def first_that_fits(state: TrainState, sizes: Iterable[int]) -> int:
    for size in sizes:
        fits = _fits(state, size)
        state.free_gradients()
        if fits:
            return size
    raise UserError(f"one sequence of {state.batches.block_size} tokens does not fit into the GPU: lower block_size")


def require_memory(config: ModelConfig, vocab_size: int, device: torch.device, frozen: bool = False) -> None:
    """Raises UserError for a model that cannot be trained in this memory, before any of it is allocated."""
    parameters = counts(config, vocab_size).parameters
    needed = (BYTES_PER_FROZEN if frozen else BYTES_PER_PARAMETER) * parameters // sharding.parts()
    memory = _rank_memory_bytes(device)
    if needed > memory:
        raise UserError(
            f"to train {parameters:,} parameters takes at least {needed / 1e9:,.1f} GB in each rank, and there are "
            f"{memory / 1e9:,.1f} GB: lower n_layer, n_embd, block_size or bigram_buckets of the model"
        )


def _rank_memory_bytes(device: torch.device) -> int:
    """The memory of this rank: its GPU's, or its share of the machine's."""
    return memory_bytes(device) // (1 if device.type == "cuda" else distributed.count_here())


def halves(size: int) -> list[int]:
    """12 -> 12, 6, 3, 2, 1."""
    return [size] if size == 1 else [size, *halves(-(-size // 2))]


def activation_bytes_per_sequence(state: TrainState) -> int:
    config = state.model.config
    block = FLOATS_PER_WIDTH * config.n_embd
    per_score = floats_per_score(state.device, config.dropout, config.block_size)
    block += round(per_score * config.n_head * config.block_size)
    if config.activation_checkpointing:
        block += FLOATS_PER_WIDTH_RECOMPUTED * config.n_embd * config.n_layer
    else:
        block *= config.n_layer
    return 4 * config.block_size * block


def _fits(state: TrainState, size: int) -> bool:
    """Whether a forward and a backward pass of `size` sequences leave room for the optimizer's two moments."""
    ids = torch.zeros((size, state.batches.block_size), dtype=torch.long, device=state.device)
    try:
        moments = [torch.empty_like(each) for each in trained(state.model).values() for _ in range(2)]
        # as a step does, compiled if it is, but without the other ranks, which may fit another size
        with sharding.gradients_exchanged(state.spread, now=False):
            with state.autocast():
                loss = state.spread(ids, ids)
            loss.backward()
        del moments
    except torch.OutOfMemoryError:
        return False
    return True
