"""Choose the micro-batch size: as many sequences as fit. It changes the result only by the order of float sums."""

import os

import torch

from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.training import distributed, sharding
from gptcore.training.train import TrainState

# Activations kept for the backward pass, in floats per token and block, rounded up from measurements: 32 times the
# width (norms, q, k, v before and after rotation, attention's output, the hidden layer before and after its
# activation), and for each head the scores of the previous positions. The loss needs the same memory for any size.
FLOATS_PER_WIDTH, FLOATS_PER_SCORE = 32, 1


def largest_micro_batch(state: TrainState) -> int:
    """Sequences per forward pass that fit into each rank's memory, at most a rank's share of a batch.

    A GPU tries sizes until one fits. A CPU would swap instead of failing, so there the size is estimated for half the
    memory. A GPU with a sharded model estimates too: an out-of-memory error on one rank would leave the others waiting.
    Raises UserError when not even one sequence fits.
    """
    share = distributed.largest_share(state.batches.batch_size)
    if state.device.type == "cpu" or sharding.in_parts(state.model.wte.weight):
        per_sequence = activation_bytes_per_sequence(state.model.config)
        return distributed.least(max(1, min(share, _memory_bytes(state.device) // 2 // per_sequence)))
    for size in halves(share):
        fits = _fits(state, size)
        state.model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        if fits:
            return distributed.least(size)
    raise UserError(f"one sequence of {state.batches.block_size} tokens does not fit into the GPU: lower block_size")


def _memory_bytes(device: torch.device) -> int:
    """Total memory, as free memory varies by chance. On a CPU, this rank's share of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // distributed.count_here()


def halves(size: int) -> list[int]:
    """12 -> 12, 6, 3, 2, 1."""
    return [size] if size == 1 else [size, *halves(-(-size // 2))]


def activation_bytes_per_sequence(config: ModelConfig) -> int:
    floats_per_token = FLOATS_PER_WIDTH * config.n_embd + FLOATS_PER_SCORE * config.n_head * config.block_size
    return 4 * config.block_size * config.n_layer * floats_per_token


def _fits(state: TrainState, size: int) -> bool:
    """Whether a forward and a backward pass of `size` sequences leave room for the optimizer's two moments."""
    ids, targets = (each[:size] for each in state.batches[0])
    try:
        moments = [torch.empty_like(each) for each in state.model.parameters() for _ in range(2)]
        with state.autocast():
            loss = state.model(ids.to(state.device), targets.to(state.device))  # without the other ranks
        loss.backward()
        del moments
    except torch.OutOfMemoryError:
        return False
    return True
