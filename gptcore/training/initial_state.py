"""Create a training state for a workspace's tokens, on the device that the settings select."""

import os
from importlib import import_module

import torch

from gptcore.config.paths import STREAM, Paths
from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.files import SUMS, read_sums
from gptcore.model.config import ModelConfig
from gptcore.model.fill import fill
from gptcore.model.folder import load_export
from gptcore.model.gpt import GPT
from gptcore.model.lora_config import LoraConfig
from gptcore.ranks import distributed
from gptcore.tokens.token_files import PairTokens, document_starts, open_tokens, read_meta
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.training.config import OptimConfig, TrainConfig
from gptcore.training.micro_batch import largest_micro_batch, require_memory, useful_micro_batch
from gptcore.training.pair_batches import pair_batches
from gptcore.training.stream_batches import StreamBatches
from gptcore.training.train import TrainState


def new_state(
    model: ModelConfig, optim: OptimConfig, train: TrainConfig, paths: Paths, lora: LoraConfig | None = None
) -> TrainState:
    """A state at step 0, on the training split of data/tokens or the stream it describes. Raises UserError."""
    tokens = paths.tokens
    device = settings().torch_device()
    if settings().deterministic:
        torch.use_deterministic_algorithms(True)
        os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"  # the compiler reads it when it is imported
    documents = document_starts(tokens, "train") if train.order == "documents" else None
    vocab_size = read_meta(tokens).vocab_size
    require_memory(model, vocab_size, device, frozen=lora is not None)
    compiler = "inductor" if settings().compiles() else None
    if lora:
        lora.require_start(train.start)
    begun = started(model, train, paths) if train.start else None
    found = open_tokens(tokens, "train")
    state = TrainState(model, optim, train, found, vocab_size, device, documents, compiler, begun, lora)
    if isinstance(found, PairTokens):
        batch_size = state.batches.batch_size
        state.batches = pair_batches(found, paths, model.block_size, batch_size, train.order, train.seed)
    if (tokens / STREAM).exists():
        # imported by name, so that training on token files does not depend on the stream's code; stream.json records
        # which code reads it
        stream = import_module("gptcore.corpus.stream").Stream(tokens / STREAM, paths)
        state.batches = StreamBatches(
            stream, Tokenizer.load(tokens / "tokenizer.json"), model.block_size, state.batches.batch_size,
            train.order, train.seed, stream.meta.data.shuffle_tokens,
        )  # fmt: skip
    return state


def started(model: ModelConfig, train: TrainConfig, paths: Paths) -> GPT:
    """A model as params.yaml has it, with the weights of data/start. Raises UserError if the two do not fit.

    Every rank reads them: after the check they are the same, bit for bit.
    """
    folder = paths.start / "model"
    if not (folder / SUMS).exists() or read_sums(folder)["model.safetensors"] != train.start_sha256:
        raise UserError(f"{folder} does not hold the weights with train.start_sha256; `dvc repro start` brings them")
    theirs, tokenizer = load_export(folder)
    if differing := model.contradictions(theirs.config):
        raise UserError(f"{differing[0]}; `gptcore configure train.start={train.start}` takes the start's")
    if tokenizer != Tokenizer.load(paths.tokens / "tokenizer.json"):
        raise UserError(
            f"{paths.tokens} was made with another tokenizer than that of the start {train.start}, so it cannot read "
            "it; `gptcore configure tokenize.tokenizer=start` takes the start's"
        )
    return fill(GPT(model, theirs.vocab_size, seed=None), theirs.state_dict(), folder)


def make_ready(state: TrainState) -> None:
    """Choose the micro-batch size, at most the one that a checkpoint has restored. Raises UserError."""
    if settings().micro_batch:
        state.micro_batch = settings().micro_batch
        return
    if not state.step:  # a run keeps its size on a machine with other threads
        state.micro_batch = useful_micro_batch(state)
    restored, state.micro_batch = state.micro_batch, largest_micro_batch(state)
    if state.step and state.micro_batch < min(restored, distributed.largest_share(state.batches.batch_size)):
        here = f"{state.micro_batch} sequences go through the model at once"
        print(f"{here}, where the checkpoint has {restored}: so many do not fit into the memory here", flush=True)
