"""nanoGPT's ckpt.pt, in a folder that its sample.py takes as --out_dir."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.exports.target import EXACT, Consumer, Target
from gptcore.weights.nanogpt import read_nanogpt, refuse_nanogpt, write_nanogpt

FILE = "ckpt.pt"


def target(kind: str) -> Target:
    return Target((), EXACT, _refuse, _write, _opened)


def _refuse(config: ModelConfig, tokenizer: Tokenizer) -> None:
    refuse_nanogpt(config)


def _write(folder: Path, model: GPT, tokenizer: Tokenizer) -> None:
    write_nanogpt(folder / FILE, model)


@contextmanager
def _opened(folder: Path, model: GPT) -> Iterator[Consumer]:
    """nanoGPT is no package, so our reader of its files stands in, with the weights that torch.load gives it."""
    theirs = read_nanogpt(folder / FILE).model(folder / FILE)
    yield Consumer("gptcore's reader of nanoGPT's files", torch.__version__, {"without cache": theirs})
