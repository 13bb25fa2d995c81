"""A training state on a workspace's tokens, on the device and in the way that the settings say."""

from pathlib import Path

import torch

from gptcore.micro_batch import largest_micro_batch
from gptcore.model import ModelConfig
from gptcore.optim import OptimConfig
from gptcore.settings import settings
from gptcore.tokens import document_starts, open_tokens, read_meta
from gptcore.train import TrainConfig, TrainState


def new_state(model: ModelConfig, optim: OptimConfig, train: TrainConfig, tokens: Path) -> TrainState:
    """At step 0, on the training split of the folder `tokens`. Raises UserError."""
    device = settings().torch_device()
    if settings().deterministic:
        torch.use_deterministic_algorithms(True)
    documents = document_starts(tokens, "train") if train.order == "documents" else None
    vocab_size = read_meta(tokens).vocab_size
    return TrainState(model, optim, train, open_tokens(tokens, "train"), vocab_size, device, documents)


def make_ready(state: TrainState) -> None:
    """Choose the micro-batch, unless the state came from a checkpoint, which has one; compile. Raises UserError."""
    if settings().micro_batch:
        state.micro_batch = settings().micro_batch
    elif state.step == 0:
        state.micro_batch = largest_micro_batch(state)
    if settings().compiles():
        state.model.compile_blocks()
